"""How a file of a folder bucket is filled, under a temporary name; `FolderBucket` publishes it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from wan_pipeline.bucket.base import BucketError

_WRITE_BACK_BYTES = 8 << 20


class FileWriter:
    """See `BucketWriter`. `told` makes a BucketError of what the disk says."""

    def __init__(self, stream: BinaryIO, path: Path, told: Callable[[OSError, str], BucketError]) -> None:
        self._stream = stream
        self._path = path
        self._told = told
        self._is_read = False
        self._sent_off = 0
        self.size_bytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> int:
        try:
            written = self._stream.write(data)
            self.size_bytes += written
            if self._is_read:
                self._stream.flush()
            if self.size_bytes - self._sent_off >= _WRITE_BACK_BYTES:
                self._send_off()
        except OSError as error:
            raise self._told(error, "cannot be written") from error
        return written

    def landed(self) -> BinaryIO:
        self._is_read = True
        try:
            return self._path.open("rb")
        except OSError as error:
            raise self._told(error, "cannot be read back") from error

    def _send_off(self) -> None:
        """Has the kernel begin to bring these bytes to the disk, so that the sync at the end has little left to wait for."""
        if hasattr(os, "posix_fadvise"):  # Linux
            length = self.size_bytes - self._sent_off
            with suppress(OSError):  # a file system that takes no advice
                os.posix_fadvise(self._stream.fileno(), self._sent_off, length, os.POSIX_FADV_DONTNEED)
        self._sent_off = self.size_bytes
