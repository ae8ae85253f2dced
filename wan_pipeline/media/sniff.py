"""A guess, for messages only, at what a file is that is not what it should be."""

from __future__ import annotations

_MAGIC = (
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x1aE\xdf\xa3", "a WebM or Matroska video"),
    (b"ID3", "an MP3 sound file"),
    (b"\xff\xfb", "an MP3 sound file"),
    (b"OggS", "an Ogg sound file"),
    (b"fLaC", "a FLAC sound file"),
    (b"#EXTM3U", "a playlist"),
    (b"<svg", "an SVG drawing"),
    (b"<!DOCTYPE html", "a web page"),
    (b"<html", "a web page"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"mif1", b"msf1")
HEAD_BYTES = 4096


def describe(head: bytes) -> str:
    """What the first bytes look like, e.g. `a PDF`, `plain text`; `nothing known` where they say nothing."""
    if not head:
        return "an empty file"
    if head[4:8] == b"ftyp":
        if head[8:12] in _HEIF_BRANDS:
            return "a HEIC image"
        return "an AVIF image" if head[8:12] in (b"avif", b"avis") else "an MP4 or MOV video"
    if head.startswith(b"RIFF"):
        return {b"WEBP": "a WebP image", b"WAVE": "a WAV sound file", b"AVI ": "an AVI video"}.get(
            head[8:12], "a RIFF file"
        )
    for magic, name in _MAGIC:
        if head.lower().startswith(magic.lower()):
            return name
    try:
        text = head[:HEAD_BYTES].decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not just a character cut in two at the end
            return "nothing known"
        text = head[: error.start].decode()
    return (
        "plain text"
        if all(character.isprintable() or character in "\r\n\t\f" for character in text)
        else "nothing known"
    )
