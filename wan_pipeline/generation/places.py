"""Where the videos of takes lie in the bucket, and what lies beside them."""

from __future__ import annotations

UNPLAYABLE = ".unplayable"  # what was paid for and is no video, kept for a person to look at


def video_key(shot: str, take: int) -> str:
    """Where the video of a take lies in the bucket."""
    return f"videos/{shot}/take-{take}.mp4"


def beside(key: str, ending: str) -> str:
    """The key of a video's companion: its poster or manifest."""
    return key.removesuffix(".mp4") + ending
