"""From the bucket's listing to shots: every shot there is, with its order or with the reasons why it has none.

What belongs here: which files make a shot, its key, its version, its times. What does not: YAML and its schema
(spec.py), inheritance and the model's word (resolution.py), and what is in the media files (inspection).
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wan_pipeline.bucket import Bucket, BucketObject
from wan_pipeline.problems import Problem
from wan_pipeline.providers.base import CommonSettings, Model, Role, Slot
from wan_pipeline.shots.clashes import with_unique_keys
from wan_pipeline.shots.inbox import DEFAULTS_STEM, Inbox, read_inbox
from wan_pipeline.shots.inheritance import Merged
from wan_pipeline.shots.keys import INBOX, is_taken_image
from wan_pipeline.shots.resolution import OWN_IMAGE, FindModel, Resolution, Resolver
from wan_pipeline.shots.settling import settled
from wan_pipeline.shots.shot import Shot
from wan_pipeline.shots.spec import Level, Sidecar
from wan_pipeline.shots.yaml_cache import YamlCache

__all__ = ["Discovery", "FindModel", "YamlCache", "discover", "discover_whole", "settled"]


def discover(
    bucket: Bucket,
    default_model: str | None,
    cache: YamlCache | None = None,
    find_model: FindModel | None = None,
) -> list[Shot]:
    """Every shot below `inbox/`, those with problems included, sorted by key; no two have the same one.

    `default_model` is for shots that name none. Whoever lists again and again hands in the same `cache`. Raises
    BucketError where the bucket cannot be listed or read; a mistake in somebody's files is never raised.
    """
    return discover_whole(bucket, default_model, cache, find_model).shots


@dataclass(frozen=True, slots=True)
class Discovery:
    """All shots of a listing; and of each yaml that names inputs, the keys that it names, as it names them."""

    shots: list[Shot]
    named: Mapping[str, frozenset[str]]


def discover_whole(
    bucket: Bucket,
    default_model: str | None,
    cache: YamlCache | None = None,
    find_model: FindModel | None = None,
) -> Discovery:
    """See `discover`; with what the yamls name beside it."""
    inbox = read_inbox(bucket)
    sidecars = (YamlCache() if cache is None else cache).sidecars(bucket, inbox.yaml_objects())
    resolver = Resolver(inbox.objects, default_model, find_model or catalog_model)
    named = {file: names for file, sidecar in sidecars.items() if (names := frozenset(sidecar.all_named()))}
    named_by: dict[str, set[str]] = {}
    for file, names in named.items():
        for key in names:
            named_by.setdefault(resolver.names.existing(key) or key, set()).add(file)
    return Discovery(with_unique_keys(Maker(inbox, sidecars, resolver, named_by).shots()), named)


def catalog_model(model_id: str) -> Model:
    """The catalog's model of that name. Raises ProblemsError where it has none."""
    from wan_pipeline.providers.catalog import find_model

    return find_model(model_id)


@dataclass(frozen=True, slots=True)
class _Inherited:
    """What a folder inherits: from which files, with which mistakes in them."""

    merged: Merged
    keys: tuple[str, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Source:
    """What one shot is made of. `name` is its own name before the key rule; `entry` its name in `shots:`."""

    name: str
    origin: str
    levels: tuple[Level, ...]
    yamls: tuple[str, ...]
    images: tuple[str, ...]
    entry: str | None = None
    problems: tuple[Problem, ...] = ()  # nothing is made of it beyond these


class Maker:
    """Makes the shots of an inbox. `named_by`: of each key that yamls' inputs name, which yamls; `wanted`: only the shots
    of these names are made, and the inbox need hold no more than what concerns them."""

    def __init__(
        self,
        inbox: Inbox,
        sidecars: Mapping[str, Sidecar],
        resolver: Resolver,
        named_by: Mapping[str, Collection[str]],
        wanted: Collection[str] | None = None,
    ) -> None:
        self._wanted = wanted
        self._inbox = inbox
        self._objects = inbox.objects
        self._sidecars = sidecars
        self._resolver = resolver
        self._inherited_by_folder: dict[str, _Inherited] = {}
        self._image_alone: dict[str, Resolution] = {}
        self._named_by = {key: frozenset(files) for key, files in named_by.items()}

    def shots(self) -> Iterator[Shot]:
        """Each shot under the name its files give it, which need not be unique nor keep the key rule."""
        for stem, yamls in self._inbox.yamls.items():
            for source in self._from_yamls(stem, yamls):
                if self._wanted is None or source.name in self._wanted:
                    yield self._shot(source)
        for stem, images in self._inbox.images.items():
            if stem in self._inbox.yamls or (self._wanted is not None and stem.removeprefix(INBOX) not in self._wanted):
                continue
            free = tuple(key for key in images if key not in self._named_by)
            if free:
                yield self._shot(_Source(stem.removeprefix(INBOX), free[0], (), (), free))

    # --- which files make a shot ---

    def _from_yamls(self, stem: str, yamls: Sequence[str]) -> Iterator[_Source]:
        name = stem.removeprefix(INBOX)
        images = tuple(self._inbox.images.get(stem, ()))
        first = self._sidecars[yamls[0]]
        problems = _mistaken_name(first, images)
        if len(yamls) > 1:
            problems += tuple(
                Problem(
                    key, "", "", f"the shot has {len(yamls)} settings files: {', '.join(yamls)}", "Keep one of them"
                )
                for key in yamls
            )
        problems += first.broken
        if problems:
            yield _Source(name, first.file, (), tuple(yamls), images, None, problems)
        elif first.entries is None:
            yield _Source(name, first.file, (first.top,), tuple(yamls), self._beside(first.file, images))
        else:
            images = self._beside(first.file, images)
            for entry, level in first.entries.items():
                problems = ()
                if "/" in entry:  # it would pass for a shot of a folder
                    message = f"line {first.top.lines.get(f'shots.{entry}', 0)}: the name holds a slash"
                    remedy = "Write the bare name: the shot's key is the file's and this one, joined by a slash"
                    problems = (Problem(first.file, f"shots.{entry}", entry, message, remedy),)
                yield _Source(
                    entry_name(name, entry), first.file, (first.top, level), tuple(yamls), images, entry, problems
                )

    def _beside(self, file: str, images: tuple[str, ...]) -> tuple[str, ...]:
        """The images of the yaml's name; of several, those that no other yaml speaks for."""
        if len(images) < 2:
            return images
        return tuple(key for key in images if self._named_by.get(key, frozenset()) <= {file})

    def _inherited(self, folder: str) -> _Inherited:
        """What every `_defaults.yaml` from `inbox/` down to this folder sets."""
        if folder not in self._inherited_by_folder:
            parent = self._inherited(posixpath.dirname(folder)) if "/" in folder else _Inherited(Merged(), (), ())
            keys = self._inbox.defaults.get(folder, [])
            merged, problems = parent.merged, parent.problems
            for key in keys:
                sidecar = self._sidecars[key]
                merged = merged.under(sidecar.top, own=False)
                problems += sidecar.broken + sidecar.top.problems
                if sidecar.entries is not None:
                    line = sidecar.top.lines.get("shots", 1)
                    remedy = "Move them to a yaml of another name"
                    problems += (Problem(key, "shots", "", f"line {line}: a _defaults.yaml names no shots", remedy),)
                if len(keys) > 1:
                    message = f"the folder has {len(keys)} of these: {', '.join(keys)}"
                    problems += (Problem(key, "", "", message, "Keep one of them"),)
            self._inherited_by_folder[folder] = _Inherited(merged, parent.keys + tuple(keys), problems)
        return self._inherited_by_folder[folder]

    # --- the shot ---

    def _shot(self, source: _Source) -> Shot:
        folder = posixpath.dirname(source.origin)
        inherited = self._inherited(folder)
        resolution = self._resolution(folder, inherited, source)
        image = source.images[0] if source.images else OWN_IMAGE
        inputs = {slot: key or image for slot, key in resolution.inputs.items()}
        image_in_use = image != OWN_IMAGE and resolution.uses_own_image
        own = {*source.yamls, *source.images, *self._named_by_own(source.levels)}
        sources = sorted(key for key in {*own, *inputs.values(), *inherited.keys} if key in self._objects)
        problems = resolution.problems
        if problems:
            problems = tuple(problem.at(source.origin) for problem in problems)
        problems = inherited.problems + source.problems + problems
        if image_in_use:
            problems += _image_problems(source.images)
        return Shot(
            key=source.name,
            origin=source.origin,
            model_id=resolution.model_id,
            settings=resolution.settings,
            inputs=inputs,
            order=None if problems else resolution.order,
            own_settings=_own_settings(source.levels, image if image_in_use else None),
            version=self._version(own, source.entry),
            last_modified=max(self._objects[key].modified_at for key in sources),
            sources=tuple(sources),
            own_inputs=tuple(key for key in sources if key in own and key not in source.yamls),
            campaign=resolution.campaign,
            not_before=resolution.not_before,
            problems=problems,
        )

    def _resolution(self, folder: str, inherited: _Inherited, source: _Source) -> Resolution:
        if (source.problems and not source.levels) or inherited.problems:
            # What is in force is not known: no model is asked, and no mistake shown that may only follow from that.
            known = tuple(problem for level in source.levels for problem in level.problems)
            inputs = {Slot(Role.FIRST_FRAME): OWN_IMAGE} if source.images else {}
            return Resolution(None, CommonSettings(), inputs, None, None, None, known)
        if source.levels:
            return self._resolver.resolve(inherited.merged, source.levels, source.images)
        if folder not in self._image_alone:
            self._image_alone[folder] = self._resolver.resolve(inherited.merged, (), source.images)
        return self._image_alone[folder]

    def _named_by_own(self, levels: Sequence[Level]) -> Iterator[str]:
        """The inputs that its own yaml gives it, whatever it inherits."""
        merged = Merged()
        for level in levels:
            merged = merged.under(level, own=True)
        for keys in merged.roles.values():
            yield from (self._resolver.names.existing(key) or key for key in keys)

    def _version(self, own: set[str], entry: str | None) -> str:
        parts = [entry]
        for key in sorted(own):
            found: BucketObject | None = self._objects.get(key)
            parts += [key, found.etag if found else None, str(found.size_bytes) if found else None]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def entry_name(name: str, entry: str) -> str:
    """The name of an entry of `shots:` in the file that makes the shots `name/...`; no two have the same."""
    return f"{name}/{entry.replace('/', '%2F')}"


def _image_problems(images: Sequence[str]) -> tuple[Problem, ...]:
    if len(images) > 1:
        message = f"several images make the same shot: {', '.join(images)}"
        return tuple(
            Problem(key, "", "", message, "Rename all but one, or name one in a yaml's inputs") for key in images
        )
    if not is_taken_image(images[0]):
        ending = images[0].rpartition(".")[2]
        remedy = "Save it as PNG or JPEG, and remove this one"
        return (Problem(images[0], "", ending, "no model takes images of this format", remedy),)
    return ()


def _mistaken_name(sidecar: Sidecar, images: Sequence[str]) -> tuple[Problem, ...]:
    """A `_default.yaml` that names no input, beside no image of that name, was hardly meant as a shot."""
    name = posixpath.basename(sidecar.file).rpartition(".")[0].lower()
    if images or sidecar.entries or sidecar.top.roles or name not in {"_default", "default", "defaults"}:
        return ()
    return (Problem(sidecar.file, "", name, "this makes a shot without inputs", f"Did you mean {DEFAULTS_STEM}.yaml?"),)


def _own_settings(levels: Sequence[Level], image: str | None) -> str:
    """What its own yaml says, with its entry merged in, as canonical JSON; nulls stand for what it un-sets."""
    own: dict[str, Any] = {}
    roles: dict[str, Any] | None = {}
    for level in levels:
        own |= {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in level.given.items()
        }
        if level.unset_inputs:
            roles = None
        if level.roles:
            roles = (roles or {}) | {str(role): keys for role, keys in level.roles.items()}
    if roles != {}:
        own["inputs"] = roles
    if image is not None:
        own["image"] = image
    return json.dumps(own, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
