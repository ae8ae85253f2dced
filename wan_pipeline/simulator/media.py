"""Reading input files: is it what it should be, within the document's limits, and which picture starts the video.

What belongs here: decoding and measuring bytes. What does not: fetching them, rendering.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

from wan_pipeline.simulator.orders import InputLimits, RefusalError

_MAX_PIXELS = 100_000_000  # more than any document allows; a bomb of 20,000 x 20,000 is never decoded
_SLACK_S = 0.05  # a clip of two seconds may measure 1.98: containers count in frames
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Examined:
    """A readable input. `picture` is an image file's bytes: the input itself, or a clip's first frame; None for sound."""

    width: int
    height: int
    picture: bytes | None


def examine(data: bytes, limits: InputLimits) -> Examined:
    """Reads the file for real. Raises RefusalError with the reason, which does not name the field."""
    if not data:
        raise RefusalError("the file is empty")
    if len(data) > limits.max_bytes:
        raise RefusalError(f"the file has {len(data)} bytes, more than {limits.max_bytes}")
    if limits.kind == "image":
        return _image(data, limits)
    return _clip(data, limits) if limits.kind == "clip" else _audio(data, limits)


def _image(data: bytes, limits: InputLimits) -> Examined:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            kind = "jpeg" if image.format == "MPO" else (image.format or "unknown").lower()
            width, height = image.size
            alpha = "A" in image.getbands() or "transparency" in image.info
            if limits.formats and kind not in limits.formats:
                raise RefusalError(f"the image is {kind}, not one of {_listed(limits)}")
            if kind == "png" and alpha and not limits.png_alpha:
                raise RefusalError("a PNG with an alpha channel is not supported")
            _check_size(width, height, limits)
            if width * height > _MAX_PIXELS:
                raise RefusalError(f"the image of {width}x{height} pixels is too large to process")
            image.load()
            if image.getexif().get(0x0112, 1) >= 5:  # shown turned by a quarter
                width, height = height, width
    except RefusalError:
        raise
    except UnidentifiedImageError:
        raise RefusalError("the file is not an image") from None
    except Image.DecompressionBombError:
        raise RefusalError("the image is too large to process") from None
    except Exception as error:  # noqa: BLE001 - Pillow's decoders raise whatever a broken file makes them raise
        raise RefusalError(f"the image cannot be read: {error}") from None
    return Examined(width, height, data)


def _clip(data: bytes, limits: InputLimits) -> Examined:
    import av
    import av.error

    try:
        with av.open(io.BytesIO(data), "r") as container:
            names = set(container.format.name.split(","))
            if limits.formats and not names & limits.formats:
                raise RefusalError(f"the clip is {container.format.name}, not one of {_listed(limits)}")
            if not container.streams.video:
                raise RefusalError("the file holds no video")
            stream = container.streams.video[0]
            if stream.duration is not None and stream.time_base is not None:
                duration_s = float(stream.duration * stream.time_base)
            else:
                duration_s = (container.duration or 0) / 1_000_000
            frame = next(container.decode(stream), None)
            if frame is None:
                raise RefusalError("the clip holds no frame")
            _check_seconds(duration_s, limits)
            _check_size(frame.width, frame.height, limits)
            picture = io.BytesIO()
            frame.to_image().convert("RGB").save(picture, "JPEG", quality=_JPEG_QUALITY)
            return Examined(frame.width, frame.height, picture.getvalue())
    except av.error.FFmpegError as error:
        raise RefusalError(f"the clip cannot be read: {error.strerror}") from None


def _audio(data: bytes, limits: InputLimits) -> Examined:
    import av
    import av.error

    try:
        with av.open(io.BytesIO(data), "r") as container:
            names = set(container.format.name.split(","))
            if limits.formats and not names & limits.formats:
                raise RefusalError(f"the audio is {container.format.name}, not one of {_listed(limits)}")
            if not container.streams.audio:
                raise RefusalError("the file holds no sound")
            samples = rate = 0
            for frame in container.decode(container.streams.audio[0]):
                samples, rate = samples + frame.samples, frame.sample_rate
            if not samples:
                raise RefusalError("the file holds no sound")
            _check_seconds(samples / rate, limits)
            return Examined(0, 0, None)
    except av.error.FFmpegError as error:
        raise RefusalError(f"the audio cannot be read: {error.strerror}") from None


def _check_size(width: int, height: int, limits: InputLimits) -> None:
    short, long = sorted((width, height))
    if (limits.min_side_px or 0) > short or long > (limits.max_side_px or long):
        bounds = f"[{limits.min_side_px}, {limits.max_side_px}]"
        raise RefusalError(f"width and height must be within {bounds} pixels, not {width}x{height}")
    if limits.max_aspect is not None and long > limits.max_aspect * short:
        raise RefusalError(f"the aspect ratio must be between 1:{limits.max_aspect:g} and {limits.max_aspect:g}:1")


def _check_seconds(duration_s: float, limits: InputLimits) -> None:
    low, high = limits.min_duration_s, limits.max_duration_s
    if (low is not None and duration_s < low - _SLACK_S) or (high is not None and duration_s > high + _SLACK_S):
        raise RefusalError(f"the duration must be {low:g} to {high:g} seconds, not {duration_s:.2f}")


def _listed(limits: InputLimits) -> str:
    return ", ".join(sorted(limits.formats)).upper()
