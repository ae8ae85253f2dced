"""Buckets for these tests: a real folder, filled from a dict, and a listing in memory for what is only about numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from wan_pipeline.bucket import Bucket, BucketObject, FolderBucket, ObjectNotFoundError
from wan_pipeline.shots.discovery import YamlCache, discover
from wan_pipeline.shots.shot import Shot

FLASH = "wavespeed/wan-2.6-i2v-flash"
WAN27 = "shortapi/wan-2.7-i2v"
R2V = "shortapi/wan-2.6-r2v"
AIML = "aimlapi/wan-2.6-i2v"
READY = f"model: {FLASH}\nprompt: It moves.\n"  # a _defaults.yaml under which any image is ready
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)

Files = Mapping[str, str | bytes]


def folder_bucket(folder: Path, files: Files) -> FolderBucket:
    """A folder below `folder` with these files, given by their keys below `inbox/`."""
    for key, content in files.items():
        path = folder / "inbox" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, (NOON.timestamp(), NOON.timestamp()))
    return FolderBucket(folder)


class ListedBucket:
    """Objects in memory, given by their keys below `inbox/`: keys that no file system takes, and very many of them."""

    def __init__(self, files: Files) -> None:
        self.contents = {
            f"inbox/{key}": text.encode() if isinstance(text, str) else text for key, text in files.items()
        }
        self.etags = {key: str(hash(content)) for key, content in self.contents.items()}
        self.modified_at = dict.fromkeys(self.contents, NOON)
        self.reads = 0

    def list(self, prefix: str = "") -> Iterator[BucketObject]:
        for key in sorted(self.contents):
            if key.startswith(prefix):
                yield BucketObject(key, len(self.contents[key]), self.modified_at[key], self.etags[key])

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        self.reads += 1
        if key not in self.contents:
            raise ObjectNotFoundError(key)
        return self.contents[key]

    def put(self, key: str, content: str) -> None:
        key = f"inbox/{key}"
        self.contents[key] = content.encode()
        self.etags[key] = self.etags.get(key, "") + "'"
        self.modified_at[key] = self.modified_at.get(key, NOON) + timedelta(seconds=1)


def listed(files: Files) -> Bucket:
    return cast(Bucket, ListedBucket(files))


def shots_of(files: Files, default_model: str | None = None, cache: YamlCache | None = None) -> dict[str, Shot]:
    """The shots of an inbox, by key, from the real catalog."""
    return by_key(discover(listed(files), default_model, cache))


def by_key(shots: list[Shot]) -> dict[str, Shot]:
    assert [shot.key for shot in shots] == sorted({shot.key for shot in shots})
    for shot in shots:
        assert (shot.order is None) == bool(shot.problems)
        assert all(problem.file for problem in shot.problems)
    return {shot.key: shot for shot in shots}
