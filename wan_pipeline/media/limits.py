"""Limits on input files as values: what a model's document allows, and the check of a probed file against it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wan_pipeline.media.info import AudioInfo, ImageInfo, MediaInfo, VideoInfo
from wan_pipeline.problems import Problem

_MB = 1_000_000  # the documents' "MB" is not said to be 2**20: the smaller reading is safe
_SECONDS_SLACK = 0.05
_ALIASES = {"jpg": "jpeg", "tif": "tiff", "qt": "mov", "wave": "wav"}


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """None or empty means: the document sets no such limit. Aspect is the larger side over the smaller (8.0 = 1:8..8:1)."""

    formats: frozenset[str] = frozenset()
    min_side_px: int | None = None
    max_side_px: int | None = None
    max_aspect: float | None = None
    max_bytes: int | None = None
    alpha_allowed: bool = True


@dataclass(frozen=True, slots=True)
class ClipLimits:
    """Limits on an input video."""

    containers: frozenset[str] = frozenset()
    min_duration_s: float | None = None
    max_duration_s: float | None = None
    min_side_px: int | None = None
    max_side_px: int | None = None
    max_aspect: float | None = None
    max_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """Limits on an input sound file."""

    formats: frozenset[str] = frozenset()
    min_duration_s: float | None = None
    max_duration_s: float | None = None
    max_bytes: int | None = None


MediaLimits = ImageLimits | ClipLimits | AudioLimits


def check_limits(info: MediaInfo, limits: MediaLimits) -> list[Problem]:
    """Everything about the file that the limits do not allow; `file` and `field` are left for the caller to fill.

    A file of the wrong kind (a video where an image is wanted) is one problem.
    """
    match info, limits:
        case ImageInfo(), ImageLimits():
            return list(_image(info, limits))
        case VideoInfo(), ClipLimits():
            return list(_clip(info, limits))
        case AudioInfo(), AudioLimits():
            return list(_audio(info, limits))
        case _:
            found, wanted = _KINDS[type(info)], _KINDS[type(limits)]
            return [_problem(found, f"{found} cannot serve here: {wanted} is wanted", f"Give {wanted}.")]


_KINDS: dict[type, str] = {
    ImageInfo: "an image",
    ImageLimits: "an image",
    VideoInfo: "a video",
    ClipLimits: "a video",
    AudioInfo: "a sound file",
    AudioLimits: "a sound file",
}


def _image(info: ImageInfo, limits: ImageLimits) -> Iterator[Problem]:
    yield from _format("image", info.format, limits.formats)
    yield from _pixels(info, limits)
    if info.has_alpha and not limits.alpha_allowed:
        yield _problem(
            f"{info.format} with transparency",
            "the image has an alpha channel, which is not allowed",
            "Save it without transparency, on an opaque background.",
        )
    yield from _bytes(info.size_bytes, limits.max_bytes)


def _clip(info: VideoInfo, limits: ClipLimits) -> Iterator[Problem]:
    yield from _format("video", info.container, limits.containers)
    yield from _seconds(info.duration_s, limits.min_duration_s, limits.max_duration_s)
    yield from _pixels(info, limits)
    yield from _bytes(info.size_bytes, limits.max_bytes)


def _audio(info: AudioInfo, limits: AudioLimits) -> Iterator[Problem]:
    yield from _format("sound", info.format, limits.formats)
    yield from _seconds(info.duration_s, limits.min_duration_s, limits.max_duration_s)
    yield from _bytes(info.size_bytes, limits.max_bytes)


def _format(kind: str, found: str, allowed: frozenset[str]) -> Iterator[Problem]:
    names = {_ALIASES.get(name.lower(), name.lower()) for name in allowed}
    if names and _ALIASES.get(found, found) not in names:
        shown = ", ".join(sorted(names))
        yield _problem(found, f"the {kind} format {found} is not allowed", f"Convert it to one of: {shown}.")


def _pixels(info: ImageInfo | VideoInfo, limits: ImageLimits | ClipLimits) -> Iterator[Problem]:
    short_px, long_px = sorted((info.width, info.height))
    size = f"{info.width} x {info.height} px"
    low, high = limits.min_side_px, limits.max_side_px
    if (low is not None and short_px < low) or (high is not None and long_px > high):
        allowed = _range(None if low is None else f"{low} px", None if high is None else f"{high} px")
        yield _problem(size, f"width and height must each be {allowed}", "Scale or crop it.")
    if limits.max_aspect is not None and long_px > limits.max_aspect * short_px:
        ratio = f"{long_px / short_px:.2f}:1" if short_px else "without end"
        widest = f"{limits.max_aspect:g}"
        yield _problem(
            f"{size}, {ratio}",
            f"the longer side may be at most {widest} times the shorter one",
            "Crop it, or add a border.",
        )


def _seconds(found_s: float, least_s: float | None, most_s: float | None) -> Iterator[Problem]:
    # Encoders end on whole frames: a sound or video "of 30 s" may last 30.02 s.
    low_ok = least_s is None or found_s >= least_s - _SECONDS_SLACK
    high_ok = most_s is None or found_s <= most_s + _SECONDS_SLACK
    if not (low_ok and high_ok):
        allowed = _range(None if least_s is None else f"{least_s:g} s", None if most_s is None else f"{most_s:g} s")
        yield _problem(f"{found_s:.2f} s", f"it must last {allowed}", "Shorten it." if low_ok else "Give a longer one.")


def _bytes(found: int, most: int | None) -> Iterator[Problem]:
    if most is not None and found > most:
        value = f"{found} bytes, {found / _MB:.2f} MB"
        yield _problem(
            value, f"the file is larger than {most} bytes ({most / _MB:g} MB)", "Compress it or scale it down."
        )


def _range(low: str | None, high: str | None) -> str:
    if low is not None and high is not None:
        return f"from {low} to {high}"
    return f"at least {low}" if low is not None else f"at most {high}"


def _problem(value: str, message: str, remedy: str) -> Problem:
    return Problem("", "", value, message, remedy)
