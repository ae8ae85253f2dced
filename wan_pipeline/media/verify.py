"""Is a finished video what was ordered? Each question by name, with what was measured and what was ordered."""

from __future__ import annotations

from dataclasses import dataclass

from wan_pipeline.media.info import UnreadableMediaError, VideoInfo

# Generators make whole pictures at rates of their own (81 at 16/s are 5.06 s) and pad sound to its frames; a second that
# is missing, the least that is billed, is far outside.
SECONDS_TOLERANCE = 0.5
_SHORT_SIDE_PX = {"720p": 720, "1080p": 1080}
_PIXELS = {"720p": 1280 * 720, "1080p": 1920 * 1080}
_SIDE_TOLERANCE_PX = 16  # encoders want multiples of 16
_PIXELS_TOLERANCE = 0.10


@dataclass(frozen=True, slots=True)
class CheckItem:
    """One question's answer. `name` is playable, seconds, size or sound."""

    name: str
    passed: bool
    detail: str


def verify_video(
    info: VideoInfo | UnreadableMediaError, *, duration_s: int, resolution: str, has_audio: bool | None
) -> list[CheckItem]:
    """The four answers, in this order: playable, seconds, size, sound. `has_audio` None: either will do.

    Give the probe's error for a video that cannot be read: then nothing passes.
    """
    if isinstance(info, UnreadableMediaError):
        rest = [
            CheckItem(name, False, "not measured: the video is not playable") for name in ("seconds", "size", "sound")
        ]
        return [CheckItem("playable", False, str(info)), *rest]
    return [
        CheckItem("playable", True, f"{info.container}, {info.codec}, {info.fps:g} pictures per second"),
        CheckItem(
            "seconds",
            abs(info.duration_s - duration_s) <= SECONDS_TOLERANCE,
            f"{info.duration_s:.2f} s, ordered {duration_s} s (± {SECONDS_TOLERANCE} s)",
        ),
        _size(info, resolution),
        _sound(info, has_audio),
    ]


def _size(info: VideoInfo, resolution: str) -> CheckItem:
    """By the short side (AI/ML API's document: "the short side of the video frame determines the resolution"), or by the
    number of pixels: a square picture at 720p may come as 960 x 960. The documents leave both open."""
    short_px, pixels = _SHORT_SIDE_PX.get(resolution), _PIXELS.get(resolution)
    found = f"{info.width} x {info.height} px"
    if short_px is None or pixels is None:
        return CheckItem("size", False, f"{found}, ordered {resolution}, which is no known size")
    by_side = abs(min(info.width, info.height) - short_px) <= _SIDE_TOLERANCE_PX
    by_pixels = abs(info.width * info.height - pixels) <= _PIXELS_TOLERANCE * pixels
    ordered = f"ordered {resolution} (short side {short_px} ± {_SIDE_TOLERANCE_PX} px, or {pixels} pixels ± 10 %)"
    return CheckItem("size", by_side or by_pixels, f"{found}, {ordered}")


def _sound(info: VideoInfo, has_audio: bool | None) -> CheckItem:
    found = "with sound" if info.has_audio else "without sound"
    if has_audio is None:
        return CheckItem("sound", True, f"{found}, not ordered either way")
    ordered = "with sound" if has_audio else "without sound"
    return CheckItem("sound", info.has_audio == has_audio, f"{found}, ordered {ordered}")
