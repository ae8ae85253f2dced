"""The verification of finished videos: passes what was ordered, names what was not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wan_pipeline.media.info import UnreadableMediaError, VideoInfo
from wan_pipeline.media.verify import CheckItem, verify_video

GOOD = VideoInfo("mp4", "h264", 1280, 720, 5.0, 24.0, has_audio=False, size_bytes=1_000_000)


def _items(info: VideoInfo, **ordered) -> dict[str, CheckItem]:
    items = verify_video(info, **{"duration_s": 5, "resolution": "720p", "has_audio": False, **ordered})
    assert [item.name for item in items] == ["playable", "seconds", "size", "sound"]
    return {item.name: item for item in items}


def _failed(info: VideoInfo, **ordered) -> set[str]:
    return {name for name, item in _items(info, **ordered).items() if not item.passed}


def test_what_was_ordered_passes() -> None:
    assert _failed(GOOD) == set()


@pytest.mark.parametrize(
    ("seconds", "passes"),
    [(5.06, True), (4.94, True), (5.5, True), (4.5, True), (5.51, False), (4.0, False), (6.0, False), (0.0, False)],
)
def test_seconds(seconds: float, passes: bool) -> None:
    assert ("seconds" not in _failed(replace(GOOD, duration_s=seconds))) is passes


@pytest.mark.parametrize(
    ("width", "height", "resolution", "passes"),
    [
        (1280, 720, "720p", True),
        (720, 1280, "720p", True),
        (960, 720, "720p", True),  # 4:3 by the short side
        (1104, 832, "720p", True),  # 4:3 by the number of pixels
        (960, 960, "720p", True),  # 1:1 by the number of pixels
        (720, 720, "720p", True),
        (1280, 704, "720p", True),  # a multiple of 64
        (1920, 1080, "1080p", True),
        (1920, 1088, "1080p", True),
        (1440, 1440, "1080p", True),
        (1080, 1920, "1080p", True),
        (1280, 720, "1080p", False),
        (960, 960, "1080p", False),
        (1920, 1080, "720p", False),
        (1440, 1440, "720p", False),
        (854, 480, "720p", False),
        (640, 640, "720p", False),
        (1280, 720, "4k", False),
    ],
)
def test_size(width: int, height: int, resolution: str, passes: bool) -> None:
    assert ("size" not in _failed(replace(GOOD, width=width, height=height), resolution=resolution)) is passes


@pytest.mark.parametrize(
    ("found", "ordered", "passes"),
    [
        (True, True, True),
        (False, False, True),
        (True, False, False),
        (False, True, False),
        (True, None, True),
        (False, None, True),
    ],
)
def test_sound(found: bool, ordered: bool | None, passes: bool) -> None:
    assert ("sound" not in _failed(replace(GOOD, has_audio=found), has_audio=ordered)) is passes


def test_each_answer_says_what_was_measured_and_what_was_ordered() -> None:
    items = _items(replace(GOOD, duration_s=3.02, width=854, height=480, has_audio=True))
    assert items["playable"].detail == "mp4, h264, 24 pictures per second"
    assert "3.02 s, ordered 5 s" in items["seconds"].detail
    assert "854 x 480 px, ordered 720p" in items["size"].detail
    assert items["sound"].detail == "with sound, ordered without sound"


def test_nothing_passes_of_a_video_that_cannot_be_read() -> None:
    items = verify_video(UnreadableMediaError("it is truncated"), duration_s=5, resolution="720p", has_audio=None)
    assert [item.name for item in items] == ["playable", "seconds", "size", "sound"]
    assert not any(item.passed for item in items)
    assert items[0].detail == "it is truncated"
