"""Which shots an object can concern that is new, changed or gone.

What belongs here: the rule, over what the index knows of yamls and shots, and when it cannot tell. It may name too many
shots, never too few. What does not: what the objects are now (scoped.py finds that out).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from wan_pipeline.shots.discovery import entry_name
from wan_pipeline.shots.inbox import YAML_ENDINGS, composed, is_defaults, stem_of
from wan_pipeline.shots.keys import INBOX, is_image, key_fault
from wan_pipeline.shots.scoped import Namers, UncertainError
from wan_pipeline.shots.spec import Sidecar

_MOST = 5_000  # shots; to find more of them one by one takes longer than to find all


@dataclass(frozen=True)
class Known:
    """What the index knows: who names a key, which shots come from objects of a stem (key and origin), which keys are
    there before and after the change alike."""

    namers: Namers
    of_stems: Callable[[Collection[str]], Iterable[tuple[str, str]]]
    unchanged: Callable[[Collection[str]], Collection[str]]


def affected(
    changed: Collection[str], named_before: Mapping[str, Collection[str]], now: Mapping[str, Sidecar], known: Known
) -> set[str]:
    """The keys of the shots that these objects may concern.

    `named_before`: what those of them that are yamls have named; `now`: what they say, if they are there. Raises
    UncertainError where it may be any shot, or more than are worth finding one by one.
    """
    if any(is_defaults(key) for key in changed):
        raise UncertainError("a _defaults.yaml has changed")
    yamls = {key for key in changed if stem_of(key)[1] in YAML_ENDINGS}
    files = yamls | _naming(changed, known)
    if any(is_defaults(file) for file in files):
        raise UncertainError("an input has changed that a _defaults.yaml names")
    named = {name for file in yamls for name in (*named_before.get(file, ()), *_named(now.get(file)))}
    _require_plain(named, known)
    images = {key for key in (*changed, *named) if is_image(key)}
    stems = {stem for key in (*files, *images) if (stem := stem_of(key)[0]).startswith(INBOX)}
    keys = {stem.removeprefix(INBOX) for stem in stems}
    keys |= {key for key, origin in known.of_stems(stems) if stem_of(origin)[0] in stems}
    for file, sidecar in now.items():
        name = stem_of(file)[0].removeprefix(INBOX)
        keys |= {entry_name(name, entry) for entry in sidecar.entries or ()}
    if len(keys) > _MOST:
        raise UncertainError(f"{len(keys)} shots are concerned")
    if faulty := next((key for key in keys if key_fault(key) is not None), None):
        raise UncertainError(f"{faulty!r} is shown under another key")
    return keys


def _naming(changed: Collection[str], known: Known) -> set[str]:
    """The yamls that name one of these."""
    files: set[str] = set()
    for file, named in known.namers(changed):
        if named not in changed:  # which of several such objects is meant depends on all of them
            raise UncertainError(f"{file} names {named}, composed in another way")
        files.add(file)
    return files


def _named(sidecar: Sidecar | None) -> Iterable[str]:
    return () if sidecar is None else sidecar.all_named()


def _require_plain(named: Collection[str], known: Known) -> None:
    """A name that is not an object's may mean another one, whose letters are composed in another way."""
    unsure = {key for key in named if not key.isascii() or composed(key) != key}
    if unsure and (rest := unsure - set(known.unchanged(unsure))):
        raise UncertainError(f"{min(rest)} may be composed in another way")
