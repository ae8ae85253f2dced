"""The still picture that stands for a video: in lists, in Dagster's UI, beside the file in the bucket.

What does not belong here: reading the video (proof.py).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

MAX_WIDTH_PX = 640
_AT_S = 0.5  # past a fade-in's first black pictures, near enough to the beginning to be quick
_EFFORT = 2  # WebP's, of 0 to 6: 4, its default, takes twice the time for 3 % fewer bytes


def chosen_picture(first: VideoFrame, rest: Iterator[VideoFrame]) -> VideoFrame:
    """The picture half a second in, or the last one."""
    chosen = first
    while chosen.pts is None or chosen.time < _AT_S:
        following = next(rest, None)
        if following is None:
            break
        chosen = following
    return chosen


def drawn(picture: VideoFrame) -> bytes:
    """The picture as a WebP at most 640 px wide, the right way up."""
    turn = picture.rotation
    width, height = picture.width, picture.height
    shown_width = height if turn % 180 else width
    scale = min(1.0, MAX_WIDTH_PX / shown_width)
    small = picture.reformat(width=max(round(width * scale), 1), height=max(round(height * scale), 1), format="rgb24")
    image = small.to_image()
    if turn:
        image = image.rotate(turn, expand=True)  # both count degrees against the clock
    target = io.BytesIO()
    image.save(target, "WEBP", quality=80, method=_EFFORT)
    return target.getvalue()
