"""A bucket that stops being read when a tick's time is up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from wan_pipeline.bucket import Bucket, BucketObject


class OutOfTimeError(Exception):
    """The deadline has passed."""


def readable_until(bucket: Bucket, deadline: float) -> Bucket:
    """The bucket, but that each listed object and each read raises OutOfTimeError after `deadline` (`time.monotonic`)."""
    return cast(Bucket, ReadableUntil(bucket, deadline))


class ReadableUntil:
    """See `readable_until`."""

    def __init__(self, bucket: Bucket, deadline: float) -> None:
        self._bucket = bucket
        self._deadline = deadline

    def list(self, prefix: str = "", start_after: str = "") -> Iterator[BucketObject]:
        # not every bucket can begin in the middle
        items = self._bucket.list(prefix, start_after) if start_after else self._bucket.list(prefix)
        for item in items:
            self.check_time()
            yield item

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        self.check_time()
        return self._bucket.read(key, start, length)

    def open(self, key: str) -> BinaryIO:
        self.check_time()
        return self._bucket.open(key)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bucket, name)

    def check_time(self) -> None:
        """Raises OutOfTimeError after the deadline."""
        if time.monotonic() > self._deadline:
            raise OutOfTimeError
