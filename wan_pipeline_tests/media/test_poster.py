"""Posters: small, the right way up, not the black of a fade-in."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from wan_pipeline.media.proof import prove
from wan_pipeline_tests.media.samples import video_bytes

RED, BLUE = (255, 0, 0), (0, 0, 255)


def _poster(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(prove(io.BytesIO(data), len(data))[1]))
    assert image.format == "WEBP"
    return image.convert("RGB")


def _film(pictures: list[np.ndarray], fps: int = 16, rotation: int = 0) -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as out:
        stream: Any = out.add_stream("libx264", rate=fps, options={"crf": "10"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return target.getvalue()


def _near(found: Any, wanted: tuple[int, int, int]) -> bool:
    return all(abs(a - b) < 60 for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1280, 720), (640, 360)), ((1080, 1920), (640, 1138)), ((320, 240), (320, 240)), ((960, 960), (640, 640))],
)
def test_a_poster_is_at_most_640_px_wide_and_not_distorted(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert _poster(video_bytes(0.5, *size)).size == expected


def test_a_poster_is_not_the_black_of_a_fade_in() -> None:
    black, white = np.zeros((64, 96, 3), np.uint8), np.full((64, 96, 3), 255, np.uint8)
    poster = _poster(_film([black] * 6 + [white] * 30))
    assert _near(poster.getpixel((40, 30)), (255, 255, 255))


def test_a_short_video_has_a_poster_too() -> None:
    assert _near(_poster(_film([np.full((64, 96, 3), BLUE, np.uint8)])).getpixel((5, 5)), BLUE)


@pytest.mark.parametrize(
    ("turn", "size", "top_left"),
    [(0, (96, 64), RED), (90, (64, 96), BLUE), (-90, (64, 96), RED), (180, (96, 64), BLUE)],
)
def test_a_turned_video_has_an_upright_poster(turn: int, size: tuple[int, int], top_left: tuple[int, int, int]) -> None:
    """Red on the left, blue on the right; a quarter turn against the clock brings the blue side up."""
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, :48], picture[:, 48:] = RED, BLUE
    poster = _poster(_film([picture] * 4, rotation=turn))
    assert poster.size == size
    assert _near(poster.getpixel((8, 8)), top_left)


def test_from_a_path_as_from_a_stream(tmp_path: Path) -> None:
    data = video_bytes(1.0)
    (tmp_path / "a.mp4").write_bytes(data)
    path = tmp_path / "a.mp4"
    assert prove(path, len(data)) == prove(str(path), len(data)) == prove(io.BytesIO(data), len(data))
