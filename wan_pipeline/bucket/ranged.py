"""A file for reading here and there over something that answers ranges: what `S3Bucket.open` gives.

Probes hop about in small steps, hashing reads straight on. So blocks are cached, and reading straight on fetches more
and more at once.
"""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

_BLOCK_BYTES = 256 << 10
_MOST_BLOCKS_AT_ONCE = 32  # 8 MiB
_BLOCKS_KEPT = 64  # 16 MiB


class RangedReader(io.RawIOBase):
    """`fetch(start, length)` gives that range of an object of `size_bytes`; its errors pass through."""

    def __init__(self, size_bytes: int, fetch: Callable[[int, int], bytes]) -> None:
        super().__init__()
        self._size = size_bytes
        self._fetch = fetch
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._next_block = -1  # the one behind the last fetch: a miss there means straight on
        self._at_once = 1

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if origin + offset < 0:
            raise ValueError(f"cannot seek to {origin + offset}, before the beginning")
        self._position = origin + offset
        return self._position

    def readinto(self, target: Any, /) -> int:
        with memoryview(target) as view, view.cast("B") as octets:
            wanted = min(len(octets), self._size - self._position)
            if wanted <= 0:
                return 0
            number, inside = divmod(self._position, _BLOCK_BYTES)
            piece = self._block(number)[inside : inside + wanted]
            octets[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _block(self, number: int) -> bytes:
        cached = self._blocks.get(number)
        if cached is not None:
            self._blocks.move_to_end(number)
            return cached
        self._at_once = min(self._at_once * 2, _MOST_BLOCKS_AT_ONCE) if number == self._next_block else 1
        start = number * _BLOCK_BYTES
        length = min(self._at_once * _BLOCK_BYTES, self._size - start)
        data = self._fetch(start, length)
        if len(data) != length:
            raise OSError(f"{len(data)} bytes came instead of {length} at {start}")
        for i in range(0, length, _BLOCK_BYTES):
            self._blocks[number + i // _BLOCK_BYTES] = data[i : i + _BLOCK_BYTES]
        self._next_block = number + -(-length // _BLOCK_BYTES)
        while len(self._blocks) > _BLOCKS_KEPT:
            self._blocks.popitem(last=False)
        return self._blocks[number]
