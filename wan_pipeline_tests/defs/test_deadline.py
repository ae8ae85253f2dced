"""A tick that runs out of time reads no further, and loses nothing of what it has read."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from wan_pipeline.bucket import FolderBucket
from wan_pipeline.defs.deadline import OutOfTimeError, readable_until
from wan_pipeline.shots.discovery import YamlCache, discover

SHOTS = 300


class CountingBucket(FolderBucket):
    """`stop_after` reads, the time is up."""

    reads = 0
    stop_after = SHOTS + 1

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        self.reads += 1
        if self.reads > self.stop_after:
            raise OutOfTimeError
        return super().read(key, start, length)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number in range(SHOTS):
        (inbox / f"{number:03d}.jpg").write_bytes(b"x")
        (inbox / f"{number:03d}.yaml").write_text("prompt: A prompt.\n")
    return tmp_path


def test_what_was_read_when_the_time_was_up_is_not_read_again(folder: Path) -> None:
    cache = YamlCache()
    late = CountingBucket(folder)
    late.stop_after = 200
    with pytest.raises(OutOfTimeError):
        discover(late, None, cache)

    rest = CountingBucket(folder)
    shots = discover(rest, None, cache)

    assert len(shots) == SHOTS
    assert rest.reads == SHOTS - 200


def test_after_the_deadline_nothing_is_listed_or_read(folder: Path) -> None:
    key = "inbox/000.yaml"
    bucket = readable_until(FolderBucket(folder), time.monotonic() - 1)
    for access in (lambda: list(bucket.list("inbox/")), lambda: bucket.read(key), lambda: bucket.open(key)):
        with pytest.raises(OutOfTimeError):
            access()
    assert bucket.exists(key)  # what takes no time is not refused


def test_before_the_deadline_the_bucket_is_itself(folder: Path) -> None:
    own = FolderBucket(folder)
    bucket = readable_until(own, time.monotonic() + 60)
    assert list(bucket.list()) == list(own.list())
    assert bucket.read("inbox/000.yaml") == own.read("inbox/000.yaml")
    assert bucket.url == own.url
