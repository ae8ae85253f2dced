"""The still picture that stands for a video: in lists, in Dagster's UI, beside the file in the bucket."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

from wan_pipeline.media.info import UnreadableMediaError
from wan_pipeline.media.probe_av import has_decoder, open_container, video_track

MAX_WIDTH_PX = 640
_AT_S = 0.5  # past a fade-in's first black pictures, near enough to the beginning to be quick


def make_poster(video: BinaryIO | str | Path) -> bytes:
    """A WebP at most 640 px wide, of the picture half a second in (the last one of a shorter video).

    Raises UnreadableMediaError.
    """
    with open_container(video) as (container, _):
        track = video_track(container)
        if track is None or not has_decoder(track):
            raise UnreadableMediaError("there is no video in it to make a poster of")
        track.thread_type = "AUTO"
        chosen = None
        for frame in container.decode(track):
            chosen = frame
            if frame.pts is not None and frame.time >= _AT_S:
                break
        if chosen is None:
            raise UnreadableMediaError("its video track has no picture to make a poster of")
        turn = chosen.rotation
        width, height = chosen.width, chosen.height
        shown_width = height if turn % 180 else width
        scale = min(1.0, MAX_WIDTH_PX / shown_width)
        image = chosen.reformat(
            width=max(round(width * scale), 1), height=max(round(height * scale), 1), format="rgb24"
        ).to_image()
    if turn:
        image = image.rotate(turn, expand=True)  # both count degrees against the clock
    target = io.BytesIO()
    image.save(target, "WEBP", quality=80, method=4)
    return target.getvalue()
