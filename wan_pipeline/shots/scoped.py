"""A few shots found without the whole listing: from the objects near their keys, and from what is known of the yamls.

What belongs here: which objects can concern a shot of a given key, and when that cannot be told. Then the rules are those
of the whole (discovery.py), over the part. What does not: where it is kept which yaml names which input.

All that a shot depends on lies near its key (its image, its yaml, a yaml one level up with `shots:`, the `_defaults.yaml`
above) or is named there, but for one thing: an image that any yaml names is no shot of its own. For that the caller
answers (`Namers`), from the last whole listing.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Iterable

from wan_pipeline.bucket import Bucket, BucketObject
from wan_pipeline.bucket.siblings import TooManyError, find_objects, siblings
from wan_pipeline.shots.clashes import with_unique_keys
from wan_pipeline.shots.discovery import Maker, catalog_model, entry_name
from wan_pipeline.shots.inbox import Inbox, Names, composed, is_defaults, stem_of
from wan_pipeline.shots.keys import INBOX, key_fault
from wan_pipeline.shots.resolution import FindModel, Resolver
from wan_pipeline.shots.shot import Shot
from wan_pipeline.shots.spec import Sidecar
from wan_pipeline.shots.yaml_cache import YamlCache

Namers = Callable[[Collection[str]], Iterable[tuple[str, str]]]
"""Of these keys, which yaml names one of them, however its letters are composed: (yaml, the key as it names it)."""

_MOST_NEAR = 2_000  # objects of one beginning; a folder of `frame.00001.png` and so on has very many


class UncertainError(Exception):
    """Only the whole listing can tell."""


def discover_some(
    bucket: Bucket,
    keys: Collection[str],
    namers: Namers,
    default_model: str | None,
    cache: YamlCache | None = None,
    find_model: FindModel | None = None,
) -> list[Shot]:
    """The shots of these keys, as `discover` would give them; a key of no shot is left out.

    Raises UncertainError where only the whole listing can tell: names that break the key rule, a missing input (what may be
    meant is looked for everywhere), letters composed in another way than they are named. Raises BucketError.
    """
    wanted = frozenset(key for key in keys if key_fault(key) is None)
    if any("%" in key or "~" in key for key in wanted):  # may stand for another name (keys.encoded_key)
        raise UncertainError("an encoded key")
    if not wanted:
        return []
    cache = YamlCache() if cache is None else cache
    try:
        inbox = _near(bucket, wanted)
        sidecars = cache.some(bucket, inbox.yaml_objects())
        named_by = _named_by(bucket, inbox, sidecars, namers, cache)
        inputs = {key for yaml in _own_and_inherited(inbox, sidecars, wanted) for key in yaml.all_named()}
        missing = inputs - inbox.objects.keys()
        if missing:
            inbox.objects.update(find_objects(bucket, missing, _MOST_NEAR))
    except TooManyError as error:
        raise UncertainError(f"very many objects begin with {error}") from None
    names = _CertainNames(inbox.objects)
    resolver = Resolver(inbox.objects, default_model, find_model or catalog_model, names)
    return with_unique_keys(Maker(inbox, sidecars, resolver, named_by, wanted).shots())


class _CertainNames(Names):
    """What is not in the part may be in the whole."""

    def existing(self, key: str) -> str | None:
        if key in self._objects:
            return key
        raise UncertainError(f"{key} is not there")


def _near(bucket: Bucket, wanted: Collection[str]) -> Inbox:
    """The images and yamls of these names, the yamls that may have them as an entry, the `_defaults.yaml` above."""
    stems = {INBOX + key for key in wanted}
    stems |= {posixpath.dirname(stem) for stem in stems} - {INBOX.rstrip("/")}
    folders: set[str] = set()
    for stem in stems:
        folder = posixpath.dirname(stem)
        while folder and folder not in folders:
            folders.add(folder)
            folder = posixpath.dirname(folder)
    beginnings = {f"{stem}." for stem in stems} | {f"{folder}/_{d}" for folder in folders for d in "dD"}
    inbox = Inbox()
    for item in siblings(bucket, beginnings, _MOST_NEAR):
        if stem_of(item.key)[0] in stems or is_defaults(item.key):
            inbox.add(item)
    return inbox


def _named_by(
    bucket: Bucket, inbox: Inbox, sidecars: dict[str, Sidecar], namers: Namers, cache: YamlCache
) -> dict[str, set[str]]:
    """By which yamls the images near are named, as they are now: those that the caller knows of are looked at again."""
    images = {key for keys in inbox.images.values() for key in keys}
    if not images:
        return {}
    others = {file for file, _ in namers(images)} - sidecars.keys()
    there: dict[str, BucketObject] = find_objects(bucket, others, _MOST_NEAR) if others else {}
    all_sidecars = sidecars | cache.some(bucket, [there[file] for file in sorted(there)])
    named_by: dict[str, set[str]] = {}
    like = {composed(image) for image in images}
    for file, sidecar in all_sidecars.items():
        for key in sidecar.all_named():
            if key in images:
                named_by.setdefault(key, set()).add(file)
            elif composed(key) in like:
                raise UncertainError(f"{file} names {key}")
    return named_by


def _own_and_inherited(inbox: Inbox, sidecars: dict[str, Sidecar], wanted: Collection[str]) -> Iterable[Sidecar]:
    """The yamls of these names and above, each with those of its entries that are wanted."""
    for keys in inbox.defaults.values():
        yield from (sidecars[key] for key in keys)
    for stem, yamls in inbox.yamls.items():
        name, first = stem.removeprefix(INBOX), sidecars[yamls[0]]
        if first.entries is None:
            if name in wanted:
                yield first
            continue
        entries = {entry: level for entry, level in first.entries.items() if entry_name(name, entry) in wanted}
        if entries:
            yield Sidecar(first.file, first.top, entries)
