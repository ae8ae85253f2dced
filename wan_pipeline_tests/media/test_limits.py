"""Limits: what a document allows passes, what it does not is named, with what was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.media.info import AudioInfo, ImageInfo, MediaInfo, VideoInfo
from wan_pipeline.media.limits import AudioLimits, ClipLimits, ImageLimits, MediaLimits, check_limits

IMAGE = ImageInfo("jpeg", 1280, 720, has_alpha=False, size_bytes=500_000)
CLIP = VideoInfo("mp4", "h264", 1280, 720, 5.0, 24.0, has_audio=True, size_bytes=4_000_000)
SOUND = AudioInfo("wav", 5.0, 800_000)

# ShortAPI's wan-2.7 document
IMAGE_LIMITS = ImageLimits(
    formats=frozenset({"jpeg", "png", "bmp", "webp"}),
    min_side_px=240,
    max_side_px=8000,
    max_aspect=8.0,
    max_bytes=20_000_000,
    alpha_allowed=False,
)
CLIP_LIMITS = ClipLimits(
    containers=frozenset({"mp4", "mov"}),
    min_duration_s=2.0,
    max_duration_s=10.0,
    min_side_px=240,
    max_side_px=4096,
    max_aspect=8.0,
    max_bytes=100_000_000,
)
SOUND_LIMITS = AudioLimits(
    formats=frozenset({"wav", "mp3"}), min_duration_s=2.0, max_duration_s=30.0, max_bytes=15_000_000
)


@pytest.mark.parametrize(("info", "limits"), [(IMAGE, IMAGE_LIMITS), (CLIP, CLIP_LIMITS), (SOUND, SOUND_LIMITS)])
def test_what_is_allowed_passes(info: MediaInfo, limits: MediaLimits) -> None:
    assert check_limits(info, limits) == []


@pytest.mark.parametrize(
    ("info", "limits", "value", "message", "remedy"),
    [
        (replace(IMAGE, format="gif"), IMAGE_LIMITS, "gif", "image format gif is not allowed", "bmp, jpeg, png, webp"),
        (replace(IMAGE, width=239), IMAGE_LIMITS, "239 x 720 px", "from 240 px to 8000 px", "Scale"),
        (replace(IMAGE, width=8001, height=8000), IMAGE_LIMITS, "8001 x 8000 px", "from 240 px to 8000 px", "Scale"),
        (replace(IMAGE, width=20_000, height=20_000), IMAGE_LIMITS, "20000 x 20000 px", "to 8000 px", "Scale"),
        (replace(IMAGE, width=2001, height=250), IMAGE_LIMITS, "8.00:1", "at most 8 times the shorter", "Crop"),
        (replace(IMAGE, width=250, height=2100), IMAGE_LIMITS, "8.40:1", "at most 8 times the shorter", "Crop"),
        (replace(IMAGE, format="png", has_alpha=True), IMAGE_LIMITS, "png with transparency", "alpha", "opaque"),
        (
            replace(IMAGE, size_bytes=20_000_001),
            IMAGE_LIMITS,
            "20000001 bytes",
            "larger than 20000000 bytes",
            "Compress",
        ),
        (replace(CLIP, container="webm"), CLIP_LIMITS, "webm", "video format webm is not allowed", "mov, mp4"),
        (replace(CLIP, duration_s=1.5), CLIP_LIMITS, "1.50 s", "from 2 s to 10 s", "longer"),
        (replace(CLIP, duration_s=10.6), CLIP_LIMITS, "10.60 s", "from 2 s to 10 s", "Shorten"),
        (replace(CLIP, height=200), CLIP_LIMITS, "1280 x 200 px", "from 240 px to 4096 px", "Scale"),
        (replace(CLIP, size_bytes=100_000_001), CLIP_LIMITS, "100000001 bytes", "100 MB", "Compress"),
        (replace(SOUND, format="ogg"), SOUND_LIMITS, "ogg", "sound format ogg is not allowed", "mp3, wav"),
        (replace(SOUND, duration_s=1.0), SOUND_LIMITS, "1.00 s", "from 2 s to 30 s", "longer"),
        (replace(SOUND, duration_s=31.0), SOUND_LIMITS, "31.00 s", "from 2 s to 30 s", "Shorten"),
        (CLIP, IMAGE_LIMITS, "a video", "a video cannot serve here: an image is wanted", "Give an image"),
        (SOUND, CLIP_LIMITS, "a sound file", "a video is wanted", "Give a video"),
        (IMAGE, SOUND_LIMITS, "an image", "a sound file is wanted", "Give a sound file"),
        (replace(SOUND, duration_s=1.0), AudioLimits(min_duration_s=2.0), "1.00 s", "at least 2 s", "longer"),
        (replace(IMAGE, width=9000), ImageLimits(max_side_px=8000), "9000 x 720 px", "at most 8000 px", "Scale"),
    ],
)
def test_what_is_not_allowed_is_named(
    info: MediaInfo, limits: MediaLimits, value: str, message: str, remedy: str
) -> None:
    (problem,) = check_limits(info, limits)
    assert (problem.file, problem.field) == ("", "")
    assert value in problem.value
    assert message in problem.message
    assert remedy in problem.remedy


def test_everything_wrong_is_told_at_once() -> None:
    bad = ImageInfo("gif", 9000, 100, has_alpha=True, size_bytes=30_000_000)
    assert len(check_limits(bad, IMAGE_LIMITS)) == 5


def test_without_limits_everything_passes() -> None:
    assert check_limits(ImageInfo("tiff", 1, 99_999, has_alpha=True, size_bytes=10**10), ImageLimits()) == []
    assert check_limits(replace(CLIP, container="flv", duration_s=9999.0), ClipLimits()) == []
    assert check_limits(replace(SOUND, format="ogg"), AudioLimits()) == []


def test_the_borders_belong_to_what_is_allowed() -> None:
    for width, height in [(240, 240), (8000, 8000), (1920, 240), (240, 1920), (8000, 1000)]:
        assert check_limits(replace(IMAGE, width=width, height=height, size_bytes=20_000_000), IMAGE_LIMITS) == []
    for seconds in (2.0, 10.0, 10.04):  # encoders end on whole pictures
        assert check_limits(replace(CLIP, duration_s=seconds), CLIP_LIMITS) == []


def test_jpg_in_a_document_means_jpeg() -> None:
    assert check_limits(IMAGE, ImageLimits(formats=frozenset({"JPG", "PNG"}))) == []


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_pixels_and_aspect_are_judged_exactly(width: int, height: int) -> None:
    found = check_limits(replace(IMAGE, width=width, height=height), IMAGE_LIMITS)
    within = all(240 <= side <= 8000 for side in (width, height))
    narrow = max(width, height) <= 8 * min(width, height)
    assert len(found) == (not within) + (not narrow)
