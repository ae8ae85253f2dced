"""The proof that a finished video plays, and its poster, out of one reading."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import BinaryIO

from wan_pipeline.media.info import VideoInfo
from wan_pipeline.media.poster import chosen_picture, drawn
from wan_pipeline.media.probe_av import first_picture, open_container, playable_track, video_info

# Of the whole process: more than there are processors would take no less time, and each takes tens of MB for its pictures.
_AT_ONCE = threading.BoundedSemaphore(os.cpu_count() or 1)


def prove(video: BinaryIO | str | Path, size_bytes: int) -> tuple[VideoInfo, bytes]:
    """What is in the video, and its poster (WebP). The file is opened once, and each picture decoded once.

    Raises UnreadableMediaError.
    """
    with _AT_ONCE, open_container(video) as (container, head):
        track = playable_track(container, head)
        pictures = container.decode(track)
        first = first_picture(pictures)
        chosen = chosen_picture(first, pictures)
        info = video_info(container, head, track, first, size_bytes)
        return info, drawn(chosen)
