"""What the house decides where a provider's document is silent, contradicts itself, or defaults to the dearer choice.

What belongs here: default values for settings that a shot leaves open, and guards on input files. What does not: anything
that a document states; that stands in the model's own file.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from wan_pipeline.media.limits import AudioLimits, ImageLimits

MEGABYTE = 1_000_000  # the smaller reading of a document's "MB": a file within it is within either

HOUSE = "house"

# Sent when a shot sets nothing. They win over the documents' own defaults, for these reasons:
# duration    AI/ML API's schema says "10" (a string), its sample 5; WaveSpeed's text says 15, its table 5. 5 s is the least
#             that all five models have in common.
# resolution  the cheaper one; ShortAPI and AI/ML API default to the dearer.
# shot_type   what every document that has a default says; ShortAPI's wan-2.6 image-to-video has the setting without one.
# `audio` is decided in document.py: silent, unless the shot says otherwise or gives a sound file (sound doubles WaveSpeed's
# price, and AI/ML API and WaveSpeed would add it by default). `prompt_extend` and `seed` follow each document.
DEFAULTS: Mapping[str, Any] = MappingProxyType({"duration": 5, "resolution": "720p", "shot_type": "single"})

# Where a document sets no limits on its image or audio, the ones of Wan itself guard against buying a sure failure:
# those that ShortAPI's wan-2.7 document states, less the ones it states for that model alone (aspect, transparency).
IMAGE_LIMITS = ImageLimits(
    formats=frozenset({"jpeg", "png", "bmp", "webp"}), min_side_px=240, max_side_px=8000, max_bytes=20 * MEGABYTE
)
AUDIO_LIMITS = AudioLimits(
    formats=frozenset({"wav", "mp3"}), min_duration_s=2.0, max_duration_s=30.0, max_bytes=15 * MEGABYTE
)
