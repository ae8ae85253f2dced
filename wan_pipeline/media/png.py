"""A PNG's chunks (W3C PNG, chapter 5): each says how long it is and carries a checksum."""

from __future__ import annotations

import zlib
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PICTURE = frozenset({b"IDAT", b"fdAT", b"fcTL"})


def is_whole(stream: BinaryIO) -> bool:
    """Every chunk to the end is there as it was written. Nothing that was cut or damaged gives this, and inflating the
    picture takes fifty times as long. False also where something else follows the picture's data: a decoder reads that.
    """
    stream.seek(0)
    if stream.read(8) != SIGNATURE:
        return False
    in_picture = False
    while True:
        head = stream.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        body = stream.read(length) if len(head) == 8 and length < 1 << 31 else b""
        if len(body) != length or zlib.crc32(body, zlib.crc32(kind)).to_bytes(4, "big") != stream.read(4):
            return False
        if kind == b"IEND":
            return in_picture
        in_picture = in_picture or kind == b"IDAT"
        if in_picture and kind not in _PICTURE:
            return False
