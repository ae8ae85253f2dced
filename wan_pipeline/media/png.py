"""A PNG's chunks (W3C PNG, chapter 5), each with its length and a checksum, and what its picture inflates to (chapters 7,
8 and 10)."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PICTURE = frozenset({b"IDAT", b"fdAT", b"fcTL"})
_PIECE = 64 << 10  # read at a time
_INFLATED = 256 << 10  # inflated at a time: one such piece of nothing but zeros gives 64 MiB
_HEADER = struct.Struct(">IIBBBBB")
# By colour type: the samples of a pixel, and how many bits each may have (table 11.1)
_COLOURS = {0: (1, (1, 2, 4, 8, 16)), 2: (3, (8, 16)), 3: (1, (1, 2, 4, 8)), 4: (2, (8, 16)), 6: (4, (8, 16))}
# The passes of Adam7: the first column and row, and the steps to the next (8.2)
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def is_whole(stream: BinaryIO) -> bool:
    """Every chunk to the end is there as it was written, and the picture inflates to as much as its header asks for:
    nothing that was cut or damaged gives this. Its rows are not put together, which takes a decoder longer than the rest.
    False also where something else follows the picture's data: a decoder reads that.

    Raises ValueError where the picture comes to its end before that: a decoder may show it nevertheless.
    """
    stream.seek(0)
    if stream.read(8) != SIGNATURE:
        return False
    picture: _Picture | None = None
    in_picture = False
    while True:
        head = stream.read(8)
        left, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) != 8 or left >= 1 << 31:
            return False
        if (kind == b"IHDR") != (picture is None) or (kind == b"IHDR" and left != _HEADER.size):
            return False
        crc = zlib.crc32(kind)
        while left:
            piece = stream.read(min(left, _PIECE))
            if not piece:
                return False
            left -= len(piece)
            crc = zlib.crc32(piece, crc)
            if picture is None:
                size_bytes = _size(piece)
                if not size_bytes:
                    return False
                picture = _Picture(size_bytes)
            elif kind == b"IDAT" and not picture.takes(piece):
                return False
        if crc.to_bytes(4, "big") != stream.read(4) or picture is None:
            return False
        if kind == b"IEND":
            return picture.ends()
        in_picture = in_picture or kind == b"IDAT"
        if in_picture and kind not in _PICTURE:
            return False


class _Picture:
    """The compressed data of a picture that inflates to so many bytes. None of them is kept."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._left_bytes = size_bytes
        self._inflater = zlib.decompressobj()

    def takes(self, piece: bytes) -> bool:
        """False where it is no such data, or more than there should be."""
        while piece:
            if self._inflater.eof:
                return False
            try:
                self._left_bytes -= len(self._inflater.decompress(piece, _INFLATED))
            except zlib.error:
                return False
            if self._left_bytes < 0:
                return False
            piece = self._inflater.unconsumed_tail or self._inflater.unused_data
            if self._inflater.eof:
                self.ends()
        return True

    def ends(self) -> bool:
        """There is no more of it. False where the data does not say so too. Raises ValueError where it was too little."""
        if self._left_bytes:
            there = self._size_bytes - self._left_bytes
            raise ValueError(f"its picture ends after {there:,} of {self._size_bytes:,} bytes")
        return self._inflater.eof


def _size(header: bytes) -> int:
    """What the picture inflates to, each row with the byte that names its filter. 0: there is no such picture."""
    if len(header) != _HEADER.size:
        return 0
    width, height, depth, colour, compression, filtering, interlace = _HEADER.unpack(header)
    samples, depths = _COLOURS.get(colour, (0, ()))
    if depth not in depths or compression or filtering or interlace > 1:
        return 0
    passes = _ADAM7 if interlace else ((0, 0, 1, 1),)
    sizes = ((-((left - width) // across), -((top - height) // down)) for left, top, across, down in passes)
    return sum(rows * (1 + (columns * samples * depth + 7) // 8) for columns, rows in sizes if columns > 0 < rows)
