"""What a probe finds in a file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """`format` is the real one, from the bytes: jpeg, png, bmp, webp, gif, tiff, ... Pixels are as displayed."""

    format: str
    width: int
    height: int
    has_alpha: bool
    size_bytes: int


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """`container` is mp4, mov, webm, ...; `duration_s` is that of the video stream."""

    container: str
    codec: str
    width: int
    height: int
    duration_s: float
    fps: float
    has_audio: bool
    size_bytes: int


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """`format` is wav, mp3, ogg, ..."""

    format: str
    duration_s: float
    size_bytes: int


MediaInfo = ImageInfo | VideoInfo | AudioInfo


class UnreadableMediaError(ValueError):
    """The bytes are not what they should be: no image, truncated, no video stream. The message says which."""
