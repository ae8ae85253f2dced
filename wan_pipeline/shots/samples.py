"""The sample inbox of demo mode: a few small shots that between them use all five models.

What belongs here: which samples there are, their yamls, and writing them once. What does not: how they look
(sample_art.py).
"""

from __future__ import annotations

from wan_pipeline.bucket import Bucket
from wan_pipeline.shots import sample_art as art
from wan_pipeline.shots.keys import INBOX

_YAML, _PNG, _JPEG, _MP4 = "application/yaml", "image/png", "image/jpeg", "video/mp4"

_DEFAULTS = """\
# What every shot below this folder inherits; a _defaults.yaml in a nearer folder and a shot's own yaml win.
# With this alone, any image copied in here becomes a video.
model: wavespeed/wan-2.6-i2v-flash
prompt: The scene comes to life, gently. The camera moves in slowly.
duration: 2          # seconds of video
resolution: 720p
"""
_WATERFALL = """\
prompt: The water falls and spray drifts through the firs. Birdsong, and the roar of the fall.
audio: true
"""
_SKYLINE = """\
model: aimlapi/wan-2.6-i2v
prompt: Windows light up one by one while the camera glides over the river.
negative_prompt: blur, text
duration: 5          # this model makes 5, 10 or 15 seconds
"""
_DESERT = """\
model: shortapi/wan-2.6-i2v
prompt: Heat shimmers over the dunes, and sand blows off their crests.
duration: 5          # this model makes 5, 10 or 15 seconds
prompt_extend: true
"""
_VALLEY = """\
# A shot that names its inputs itself: images named here are no shots of their own.
model: shortapi/wan-2.7-i2v
prompt: A day passes over the valley, from morning to evening.
inputs: {first_frame: frames/morning.png, last_frame: frames/evening.png}
"""
_DANCE = """\
# Reference to video: who is seen in the clip appears in a new scene.
model: shortapi/wan-2.6-r2v
prompt: The dancer of @Video1 dances across the stage of @Image1.
inputs: {videos: [frames/dancer.mp4], images: [frames/stage.jpg]}
"""
_SPRING = """\
campaign: spring
"""
_BALLOON = """\
# Two shots from one image: spring/balloon/hero and spring/balloon/teaser.
prompt: The balloon rises over the meadows.
seed: 7
shots:
  hero: {resolution: 1080p}
  teaser: {prompt: "The balloon sways in the wind, seen from below.", shot_type: single}
"""


def write_samples(bucket: Bucket) -> list[str]:
    """Writes the sample inbox and gives its keys; where `inbox/` holds anything at all, writes nothing and gives none.

    Every yaml comes before the first image: a listing taken half way finds no shot that is ready but different from what it
    will be. Raises BucketError.
    """
    if next(iter(bucket.list(INBOX)), None) is not None:
        return []
    yamls = {
        "_defaults.yaml": _DEFAULTS,
        "spring/_defaults.yaml": _SPRING,
        "waterfall.yaml": _WATERFALL,
        "skyline.yaml": _SKYLINE,
        "desert.yaml": _DESERT,
        "valley.yaml": _VALLEY,
        "dance.yaml": _DANCE,
        "spring/balloon.yaml": _BALLOON,
    }
    media = {
        "harbour.png": (art.harbour, _PNG),
        "waterfall.jpg": (art.waterfall, _JPEG),
        "skyline.jpg": (art.skyline, _JPEG),
        "desert.png": (art.desert, _PNG),
        "frames/morning.png": (lambda: art.valley(evening=False), _PNG),
        "frames/evening.png": (lambda: art.valley(evening=True), _PNG),
        "frames/stage.jpg": (art.stage, _JPEG),
        "frames/dancer.mp4": (art.dancer_clip, _MP4),
        "spring/balloon.png": (art.balloon, _PNG),
    }
    for name, text in yamls.items():
        bucket.write(INBOX + name, text.encode(), _YAML)
    for name, (draw, content_type) in media.items():
        bucket.write(INBOX + name, draw(), content_type)
    return sorted(INBOX + name for name in (*yamls, *media))
