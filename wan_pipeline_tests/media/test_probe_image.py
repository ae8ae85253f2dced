"""What the image probe promises: the truth about the bytes, no surprise for the machine, and one kind of error."""

from __future__ import annotations

import io
import math
import random
import struct
import subprocess
import sys
import warnings
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wan_pipeline.bucket import BucketError
from wan_pipeline.media import png
from wan_pipeline.media.info import ImageInfo, UnreadableMediaError
from wan_pipeline.media.probe import MAX_DECODED_PIXELS, probe_image
from wan_pipeline_tests.media.samples import image_bytes, picture, video_bytes, wav_bytes


def probe(data: bytes, **options: int) -> ImageInfo:
    return probe_image(io.BytesIO(data), len(data), **options)


def _reason(data: bytes) -> str:
    with pytest.raises(UnreadableMediaError) as error:
        probe(data)
    return str(error.value)


@pytest.mark.parametrize(
    ("pillow", "name"),
    [
        ("JPEG", "jpeg"),
        ("PNG", "png"),
        ("BMP", "bmp"),
        ("WEBP", "webp"),
        ("GIF", "gif"),
        ("TIFF", "tiff"),
        ("AVIF", "avif"),
        ("JPEG2000", "jpeg2000"),
        ("MPO", "jpeg"),  # several JPEGs in one file, as some cameras save; it is a JPEG to everybody
    ],
)
def test_the_format_is_that_of_the_bytes(pillow: str, name: str) -> None:
    options = {"save_all": True, "append_images": [picture()]} if pillow == "MPO" else {}
    data = image_bytes(pillow, 301, 203, **options)
    assert probe(data) == ImageInfo(name, 301, 203, has_alpha=False, size_bytes=len(data))


@pytest.mark.parametrize(
    ("format", "mode", "options", "alpha"),
    [
        ("PNG", "RGBA", {}, True),
        ("PNG", "LA", {}, True),
        ("PNG", "RGB", {}, False),
        ("PNG", "L", {}, False),
        ("PNG", "1", {}, False),
        ("PNG", "P", {}, False),
        ("PNG", "P", {"transparency": 3}, True),
        ("PNG", "RGB", {"transparency": (1, 2, 3)}, True),
        ("PNG", "I;16", {}, False),
        ("WEBP", "RGBA", {}, True),
        ("WEBP", "RGBA", {"lossless": True}, True),
        ("WEBP", "RGB", {"lossless": True}, False),
        ("WEBP", "RGB", {}, False),
        ("GIF", "RGBA", {}, True),
        ("GIF", "P", {}, False),
        ("TIFF", "RGBA", {}, True),
        ("AVIF", "RGBA", {}, True),
        ("JPEG", "CMYK", {}, False),
        ("JPEG", "L", {}, False),
        ("JPEG", "RGB", {"progressive": True}, False),
    ],
)
def test_alpha_is_seen_where_there_is_some(format: str, mode: str, options: dict, alpha: bool) -> None:
    target = io.BytesIO()
    image = picture(mode="L").convert("I;16") if mode == "I;16" else picture().convert(mode)
    if alpha and mode in ("RGBA", "LA"):
        image.putalpha(Image.linear_gradient("L").point(lambda value: 255 * (value > 99)).resize(image.size))
    image.save(target, format, **options)
    assert probe(target.getvalue()).has_alpha is alpha


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_width_and_height_are_as_displayed(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = image_bytes(format, 300, 200, exif=exif)
    found = probe(data)
    assert (found.width, found.height) == ((200, 300) if orientation >= 5 else (300, 200))


@pytest.mark.parametrize("exif", [b"Exif\0\0broken", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0" + b"\xff" * 40])
def test_broken_exif_is_no_orientation(exif: bytes) -> None:
    assert probe(image_bytes("JPEG", 300, 200, exif=exif)).width == 300


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.97])
def test_a_truncated_image_is_found(format: str, part: float) -> None:
    data = image_bytes(format, 640, 480)
    reason = _reason(data[: int(len(data) * part)])
    assert "truncated or damaged" in reason or "header is broken" in reason


def test_a_png_is_whole_by_its_checksums_and_damage_anywhere_is_found() -> None:
    """Every byte of it is in a checksum, or is one."""
    data = image_bytes("PNG", 64, 48)
    assert png.is_whole(io.BytesIO(data))
    for at in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[at] ^= 0x10
        assert not png.is_whole(io.BytesIO(bytes(damaged)))
        assert not png.is_whole(io.BytesIO(data[:at]))


def test_a_whole_png_is_not_decoded_and_a_doubtful_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    monkeypatch.setattr("wan_pipeline.media.probe._decode", lambda image: decoded.append(image.format))
    whole = image_bytes("PNG")
    assert (probe(whole).width, decoded) == (320, [])
    probe(whole[:-1])
    text = b"tEXtSoftware\0x"
    late = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    probe(whole[:-12] + late + whole[-12:])
    assert decoded == ["PNG", "PNG"]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 2, "quality": 60}, {"mode": "CMYK"}])
def test_a_jpeg_that_lacks_its_last_bytes_is_found(options: dict) -> None:
    """It is decoded at an eighth of its size: that must not make the probe miss the end."""
    data = image_bytes("JPEG", 1600, 1200, **options)
    for missing in (40, 100, 1000):
        assert "truncated" in _reason(data[:-missing])


def _png(width: int, height: int, *data: bytes, depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    """With right checksums, and this data as its picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))
    palette = chunk(b"PLTE", bytes(range(6))) if colour == 3 else b""
    return png.SIGNATURE + header + palette + b"".join(chunk(b"IDAT", each) for each in data) + chunk(b"IEND", b"")


def _png_of(width: int, height: int) -> bytes:
    """A valid grey PNG of one colour."""
    packer = zlib.compressobj(9)
    row = b"\0" * (1 + (width + 7) // 8)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return _png(width, height, pixels, depth=1, colour=0)


_ROWS = (b"\0" + bytes(range(192))) * 48  # 64 x 48 px in RGB
_FLUSHED = zlib.compressobj()
_NO_END = _FLUSHED.compress(_ROWS[:-193]) + _FLUSHED.flush(zlib.Z_FULL_FLUSH)


@pytest.mark.parametrize(
    "data",
    [
        [],
        [b""],
        [b"no zlib stream at all"],
        [zlib.compress(b"")],
        [zlib.compress(_ROWS[:-1])],
        [zlib.compress(_ROWS[:-193])],  # Pillow shows it
        [zlib.compress(_ROWS[:-193]) + b"more"],
        [_NO_END],
        [zlib.compress(_ROWS)[:-20]],
        [zlib.compress(_ROWS)[:-4] + b"sum?"],
        [zlib.compress(_ROWS[:-193]), zlib.compress(_ROWS[-193:])],
    ],
    ids=["none", "empty", "text", "nothing", "byte", "row", "row, more", "no end", "cut", "sum", "two streams"],
)
def test_a_png_with_right_checksums_and_no_whole_picture_is_found(data: list[bytes]) -> None:
    assert "the PNG of 64 x 48 px is truncated or damaged" in _reason(_png(64, 48, *data))


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize(
    ("colour", "depth", "bits"),
    [(0, depth, depth) for depth in (1, 2, 4, 8, 16)]
    + [(3, depth, depth) for depth in (1, 2, 4, 8)]
    + [(2, 8, 24), (2, 16, 48), (4, 8, 16), (4, 16, 32), (6, 8, 32), (6, 16, 64)],
)
def test_how_much_a_png_has_to_inflate_to_is_known_for_every_kind(
    colour: int, depth: int, bits: int, interlace: int
) -> None:
    for width, height in ((1, 1), (2, 3), (3, 9), (5, 5), (13, 7), (640, 33)):
        adam7 = ((8, 8, 0, 0), (8, 8, 4, 0), (4, 8, 0, 4), (4, 4, 2, 0), (2, 4, 0, 2), (2, 2, 1, 0), (1, 2, 0, 1))
        size = 0
        for across, down, left, top in adam7 if interlace else ((1, 1, 0, 0),):
            columns, rows = len(range(left, width, across)), len(range(top, height, down))
            size += rows * (1 + math.ceil(columns * bits / 8)) if columns else 0
        packed = zlib.compress(bytes(size))
        split = [packed[at : at + 5] for at in range(0, len(packed), 5)]
        assert png.is_whole(io.BytesIO(_png(width, height, *split, depth=depth, colour=colour, interlace=interlace)))
        more = _png(width, height, zlib.compress(bytes(size + 1)), depth=depth, colour=colour, interlace=interlace)
        assert not png.is_whole(io.BytesIO(more))
        with pytest.raises(ValueError, match="its picture ends after"):
            less = zlib.compress(bytes(size - 1))
            png.is_whole(io.BytesIO(_png(width, height, less, depth=depth, colour=colour, interlace=interlace)))


def _jpeg_of(width: int, height: int) -> bytes:
    """A small JPEG whose header says it is large."""
    data = bytearray(image_bytes("JPEG", 16, 16))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def _webp_of(width: int, height: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 1
    data = bytearray(image_bytes("WEBP", 16, 16, exif=exif))  # metadata makes it the extended format
    assert data[12:16] == b"VP8X"
    data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (_png_of(20_000, 20_000), (20_000, 20_000)),
        (_jpeg_of(20_000, 20_000), (20_000, 20_000)),
        (_webp_of(16_383, 16_383), (16_383, 16_383)),
        (_jpeg_of(65_000, 2_000), (65_000, 2_000)),
    ],
    ids=["png", "jpeg", "webp", "wide"],
)
def test_an_image_too_large_to_decode_is_told_by_its_header(data: bytes, size: tuple[int, int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        found = probe(data)
    assert (found.width, found.height) == size


def test_the_bound_on_decoding_is_the_callers() -> None:
    data = image_bytes("JPEG", 400, 300)
    cut = data[: len(data) // 2]
    assert probe(cut, max_pixels=119_999).width == 400  # header only
    with pytest.raises(UnreadableMediaError):
        probe(cut, max_pixels=120_000)
    assert MAX_DECODED_PIXELS >= 8000 * 8000  # the largest that a document allows is decoded


_SMALL = """
import io, resource, sys
from pathlib import Path
from wan_pipeline.media.probe import probe_image
data = Path(sys.argv[1]).read_bytes()
probe_image(io.BytesIO(data[:0] + Path(sys.argv[2]).read_bytes()), 1)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20),) * 2)
print(probe_image(io.BytesIO(data), len(data)).width)
"""


def test_a_bomb_takes_no_memory(tmp_path) -> None:
    (tmp_path / "bomb").write_bytes(_png_of(20_000, 20_000))
    (tmp_path / "warm").write_bytes(image_bytes("PNG"))
    command = [sys.executable, "-c", _SMALL, str(tmp_path / "bomb"), str(tmp_path / "warm")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "20000\n", done.stderr


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"just some text, named .png\n", "it is no image: it looks like plain text"),
        ("größe\n".encode() * 1000, "plain text"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"<!doctype HTML><p>404", "a web page"),
        (b"PK\x03\x04....", "a ZIP archive"),
        (b"\0\0\0\x18ftypheic", "a HEIC image"),
        (random.Random(1).randbytes(500), "nothing known"),
        (wav_bytes(0.1), "a WAV sound file"),
        (video_bytes(0.2), "an MP4 or MOV video"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "plain text"),  # Pillow would run Ghostscript
    ],
)
def test_what_is_no_image_is_said_to_be_what_it_is(data: bytes, words: str) -> None:
    assert words in _reason(data)


def test_a_bucket_that_fails_is_not_an_unreadable_image() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 5000:
                raise BucketError("the bucket does not answer")
            return super().read(size)

    for format in ("JPEG", "PNG", "WEBP"):
        data = image_bytes(format, 640, 480)
        with pytest.raises(BucketError, match="does not answer"):
            stream = Broken(data)
            probe_image(stream, len(data))
            stream.seek(6000)
            stream.read()  # formats that Pillow reads in one go got it all


def test_the_stream_stays_open() -> None:
    stream = io.BytesIO(image_bytes("PNG"))
    probe_image(stream, 1)
    assert not stream.closed


_FILES = [image_bytes(format, 64, 48) for format in ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "AVIF", "JPEG2000")]


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(_FILES),
    st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=6)), max_size=6),
    st.floats(0, 1),
)
def test_damage_gives_an_answer_or_the_one_error(data: bytes, changes: list[tuple[int, bytes]], keep: float) -> None:
    broken = bytearray(data[: int(len(data) * keep)] if keep < 0.5 else data)
    for at, new in changes:
        if broken:
            at %= min(len(broken), 400)  # headers are where it hurts
            broken[at : at + len(new)] = new
    try:
        found = probe(bytes(broken))
    except UnreadableMediaError:
        return
    assert found.width > 0 and found.height > 0
