"""The listing of `inbox/`, sorted into settings files, images and the rest.

What belongs here: which kind of file a key is, by its name alone. What does not: what stands in the files.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from wan_pipeline.bucket import Bucket, BucketObject
from wan_pipeline.shots.keys import INBOX, is_image

YAML_ENDINGS = frozenset({"yaml", "yml"})
DEFAULTS_STEM = "_defaults"
_SUGGESTIONS_PER_LISTING = 50  # comparing names is slow, and a folder may hold very many
_NAMES_COMPARED = 2000


@dataclass(slots=True)
class Inbox:
    """Everything below `inbox/` by key; and by stem (the key without its ending) the yamls and images of that name."""

    objects: dict[str, BucketObject] = field(default_factory=dict[str, BucketObject])
    defaults: dict[str, list[str]] = field(default_factory=dict[str, "list[str]"])  # by folder
    yamls: dict[str, list[str]] = field(default_factory=dict[str, "list[str]"])
    images: dict[str, list[str]] = field(default_factory=dict[str, "list[str]"])

    def add(self, item: BucketObject) -> None:
        """The next of the listing. A hidden file (a part of its name begins with a dot) is neither image nor yaml: think of
        `._cat.png`."""
        key = item.key
        self.objects[key] = item
        stem, ending = stem_of(key)
        if not stem:
            return
        if ending in YAML_ENDINGS:
            folder, _, name = stem.rpartition("/")
            if name.lower() == DEFAULTS_STEM:
                self.defaults.setdefault(folder, []).append(key)
            else:
                self.yamls.setdefault(stem, []).append(key)
        elif is_image(key):
            self.images.setdefault(stem, []).append(key)

    def yaml_objects(self) -> list[BucketObject]:
        groups = (*self.yamls.values(), *self.defaults.values())
        return [self.objects[key] for group in groups for key in group]


def stem_of(key: str) -> tuple[str, str]:
    """A key without its ending, and the ending in lower case; two empty texts for what can be neither image nor yaml."""
    stem, dot, ending = key.rpartition(".")
    if "/." in key or not dot or "/" in ending:
        return "", ""
    return stem, ending.lower()


def is_defaults(key: str) -> bool:
    """Is this a `_defaults.yaml`, however it is written?"""
    stem, ending = stem_of(key)
    return ending in YAML_ENDINGS and stem.rpartition("/")[2].lower() == DEFAULTS_STEM


def composed(key: str) -> str:
    """The same for keys that differ only in how their letters are composed."""
    return key if key.isascii() else unicodedata.normalize("NFC", key)


def read_inbox(bucket: Bucket) -> Inbox:
    """One listing."""
    inbox = Inbox()
    for item in bucket.list(INBOX):
        inbox.add(item)
    return inbox


class Names:
    """Finds what a path may have meant. Built when the first path is not in the listing."""

    def __init__(self, objects: Mapping[str, BucketObject]) -> None:
        self._objects = objects
        self._composed: dict[str, str] | None = None
        self._folders: dict[str, list[str]] = {}
        self._by_name: dict[str, str] = {}
        self._suggested = 0

    def existing(self, key: str) -> str | None:
        """The key in the listing that `key` means: itself, or the one that differs only in how its letters are composed
        (a Mac writes é as e and an accent); None where there is neither."""
        if key in self._objects:
            return key
        return self._indexed().get(composed(key))

    def remedy(self, file: str, key: str) -> str:
        """What to do about a path in `file` that names `key`, where nothing stands."""
        self._indexed()
        here = posixpath.dirname(file)
        for other in (key.removeprefix(f"{here}/"), f"{INBOX}{key.removeprefix(f'{here}/')}"):
            if other in self._objects:
                return f"Paths are relative to the yaml: write {posixpath.relpath(other, here)}"
        folder, _, name = key.rpartition("/")
        names = self._folders.get(folder, [])
        self._suggested += 1
        if self._suggested <= _SUGGESTIONS_PER_LISTING and len(names) <= _NAMES_COMPARED:
            lowered = {other.lower(): other for other in names}
            close = get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
            if close:
                return f"Did you mean {posixpath.relpath(f'{folder}/{lowered[close[0]]}', here)}?"
        if name in self._by_name:
            return f"Did you mean {posixpath.relpath(self._by_name[name], here)}?"
        return f"Put it there, or correct the path (relative to {file})"

    def _indexed(self) -> dict[str, str]:
        if self._composed is None:
            self._composed = {}
            for key in self._objects:
                folder, _, name = key.rpartition("/")
                self._folders.setdefault(folder, []).append(name)
                self._by_name.setdefault(name, key)
                if not key.isascii():
                    self._composed.setdefault(composed(key), key)
        return self._composed
