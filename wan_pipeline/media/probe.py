"""Finds out what is really in a file, by decoding it: ending and content type are not asked.

What belongs here: reading images, videos and sound into the values of info.py. What does not: whether that is allowed
(limits.py), or as ordered (verify.py). Streams' own errors (a bucket that does not answer) pass through.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from wan_pipeline.media import png
from wan_pipeline.media.info import ImageInfo, UnreadableMediaError
from wan_pipeline.media.probe_av import probe_audio, probe_video
from wan_pipeline.media.sniff import HEAD_BYTES, describe

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

__all__ = ["MAX_DECODED_PIXELS", "probe_audio", "probe_image", "probe_video"]

MAX_DECODED_PIXELS = 70_000_000  # just over 8000 x 8000, the most that any document allows; 280 MB as RGBA
_FORMATS = (
    "JPEG",
    "PNG",
    "BMP",
    "DIB",
    "WEBP",
    "GIF",
    "TIFF",
    "AVIF",
    "JPEG2000",
    "MPO",
)  # none that runs programs (EPS)
_NAMES = {"MPO": "jpeg", "DIB": "bmp"}
_ORIENTATION_TAG = 0x0112
_TURNED = frozenset({5, 6, 7, 8})  # EXIF orientations by a quarter turn
# What Pillow's readers raise for broken files, beside a plain RuntimeError
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
)


def probe_image(stream: BinaryIO, size_bytes: int, max_pixels: int = MAX_DECODED_PIXELS) -> ImageInfo:
    """The image in the stream. It is decoded in full, so that a truncated one is found (a PNG: where its chunks do not show
    that it is whole), up to `max_pixels`; of a larger one only the header is read, which is enough for the limits to
    refuse it.

    Raises UnreadableMediaError.
    """
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    if not head:
        raise UnreadableMediaError("the file is empty")
    webp = _webp_header(head, size_bytes)
    if webp is not None and webp.width * webp.height > max_pixels:
        return webp  # Pillow refuses, or allocates its canvas, while it reads the header
    with _broken_as(f"it begins like {describe(head)}, but its header is broken"):
        image = _identify(stream, head)
    if image is None:
        raise UnreadableMediaError(f"it is no image: it looks like {describe(head)}")
    with image:
        width, height = image.size
        if width * height <= max_pixels and not _is_whole_png(stream, image):
            _decode(image)
        if _is_turned(image):
            width, height = height, width
        name = image.format or ""
        return ImageInfo(
            format=_NAMES.get(name, name.lower()),
            width=width,
            height=height,
            has_alpha=image.has_transparency_data,
            size_bytes=size_bytes,
        )


def _identify(stream: BinaryIO, head: bytes) -> ImageFile | None:
    """Pillow's reader for the stream, or None. Not by Image.open, whose guard against large images is a global setting
    and lets nobody read their size."""
    from PIL import Image

    Image.init()
    for name in _FORMATS:
        if name not in Image.OPEN:
            continue
        factory, accept = Image.OPEN[name]
        if accept is not None and accept(head[:16]) is not True:  # False, or a text that says what Pillow lacks
            continue
        stream.seek(0)
        reader: Any = factory(stream, "")  # pyright: ignore[reportArgumentType]
        return reader
    return None


def _is_whole_png(stream: BinaryIO, image: ImageFile) -> bool:
    if image.format != "PNG":
        return False
    at = stream.tell()  # the reader's
    try:
        whole = png.is_whole(stream)
    except ValueError as error:
        raise UnreadableMediaError(f"{_damaged(image)} ({error})") from error
    stream.seek(at)
    return whole


def _decode(image: ImageFile) -> None:
    width, height = image.size
    with _broken_as(_damaged(image)):
        # A JPEG is decoded at an eighth of its size: all its data is read, so truncation shows, in a fraction of the time
        image.draft("L", (max(width // 8, 1), max(height // 8, 1)))
        image.load()


def _damaged(image: ImageFile) -> str:
    width, height = image.size
    return f"the {(image.format or 'image').upper()} of {width} x {height} px is truncated or damaged"


def _is_turned(image: ImageFile) -> bool:
    from PIL.Image import Image

    try:
        # not the PNG reader's own method, which decodes the whole image first
        return Image.getexif(image).get(_ORIENTATION_TAG) in _TURNED
    except _BROKEN:  # unreadable EXIF is no orientation, as browsers have it
        return False


@contextmanager
def _broken_as(words: str) -> Generator[None]:
    """Pillow's errors as UnreadableMediaError; a bucket's error, which is some other RuntimeError, passes."""
    from PIL.Image import DecompressionBombError

    try:
        yield
    except (*_BROKEN, RuntimeError, DecompressionBombError) as error:
        if isinstance(error, RuntimeError) and type(error) is not RuntimeError:
            raise
        raise UnreadableMediaError(f"{words} ({error})") from error


def _webp_header(head: bytes, size_bytes: int) -> ImageInfo | None:
    """Size and alpha from a WebP's first chunk (RFC 9649); None for anything else."""
    if not (head.startswith(b"RIFF") and head[8:12] == b"WEBP") or len(head) < 30:
        return None
    chunk = head[12:16]
    if chunk == b"VP8X":
        width = int.from_bytes(head[24:27], "little") + 1
        height = int.from_bytes(head[27:30], "little") + 1
        alpha = bool(head[20] & 0x10)
    elif chunk == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        width, height, alpha = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    elif chunk == b"VP8 ":
        width = int.from_bytes(head[26:28], "little") & 0x3FFF
        height = int.from_bytes(head[28:30], "little") & 0x3FFF
        alpha = False
    else:
        return None
    return ImageInfo("webp", width, height, alpha, size_bytes)
