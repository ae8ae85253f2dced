"""ShortAPI's alibaba/wan-2.7/image-to-video: its document as a value (shortapi-wan-2.7-image-to-video.txt).

Every field of the document is optional, and only six combinations of inputs are accepted. There is no setting for
sound: a driving audio gives the video its sound; without one the document does not say whether there will be any.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field

from wan_pipeline.media.limits import AudioLimits, ClipLimits, ImageLimits
from wan_pipeline.money import Money
from wan_pipeline.providers.base import InputRule, PriceRecord, Role
from wan_pipeline.providers.checks import only_combinations
from wan_pipeline.providers.document import Arguments, Documented, DocumentModel, InputField, Wanted
from wan_pipeline.providers.house import MEGABYTE
from wan_pipeline.providers.pricing import PerSecond
from wan_pipeline.providers.shortapi_job import envelope

UPSTREAM_ID = "alibaba/wan-2.7/image-to-video"
DOCUMENT = "ShortAPI wan-2.7 image-to-video document"


class ShortApiWan27ImageToVideo(Arguments):
    """`args` of the document."""

    prompt: Annotated[str | None, Field(max_length=5000)] = None
    negative_prompt: Annotated[str | None, Field(max_length=500)] = None
    resolution: Annotated[Literal["720p", "1080p"], Documented("1080p")]
    duration: Annotated[int, Field(ge=2, le=15), Documented(5)]
    prompt_extend: Annotated[bool, Documented(False)]
    first_frame_image: str | None = None
    last_frame_image: str | None = None
    driving_audio_url: str | None = None
    first_clip_video_url: str | None = None


# "PNG (no transparency)" is taken to mean transparency in any format.
IMAGE_LIMITS = ImageLimits(
    formats=frozenset({"jpeg", "png", "bmp", "webp"}),
    min_side_px=240,
    max_side_px=8000,
    max_aspect=8.0,
    max_bytes=20 * MEGABYTE,
    alpha_allowed=False,
)
AUDIO_LIMITS = AudioLimits(
    formats=frozenset({"wav", "mp3"}), min_duration_s=2.0, max_duration_s=30.0, max_bytes=15 * MEGABYTE
)
CLIP_LIMITS = ClipLimits(
    containers=frozenset({"mp4", "mov"}),
    min_duration_s=2.0,
    max_duration_s=10.0,
    min_side_px=240,
    max_side_px=4096,
    max_aspect=8.0,
    max_bytes=100 * MEGABYTE,
)

COMBINATIONS = (
    frozenset({Role.FIRST_FRAME}),
    frozenset({Role.FIRST_FRAME, Role.AUDIO}),
    frozenset({Role.FIRST_FRAME, Role.LAST_FRAME}),
    frozenset({Role.FIRST_FRAME, Role.LAST_FRAME, Role.AUDIO}),
    frozenset({Role.CLIP}),
    frozenset({Role.CLIP, Role.LAST_FRAME}),
)


def _sound(wanted: Wanted) -> bool | None:
    return True if Role.AUDIO in wanted.roles else None


MODEL = DocumentModel(
    id="shortapi/wan-2.7-i2v",
    upstream_id=UPSTREAM_ID,
    arguments=ShortApiWan27ImageToVideo,
    fields={
        "prompt": "prompt",
        "negative_prompt": "negative_prompt",
        "resolution": "resolution",
        "duration": "duration",
        "prompt_extend": "prompt_extend",
    },
    input_fields={
        Role.FIRST_FRAME: InputField("first_frame_image", InputRule(0, 1, IMAGE_LIMITS, DOCUMENT)),
        Role.LAST_FRAME: InputField("last_frame_image", InputRule(0, 1, IMAGE_LIMITS, DOCUMENT)),
        Role.AUDIO: InputField("driving_audio_url", InputRule(0, 1, AUDIO_LIMITS, DOCUMENT)),
        Role.CLIP: InputField("first_clip_video_url", InputRule(0, 1, CLIP_LIMITS, DOCUMENT)),
    },
    price=PerSecond(
        prices=(
            PriceRecord(
                since=datetime(2026, 8, 1, tzinfo=UTC),
                source=DOCUMENT,
                usd_per_second={"720p": Money.usd("0.085"), "1080p": Money.usd("0.085")},
            ),
        )
    ),
    envelope=envelope(UPSTREAM_ID),
    sound=_sound,
    checks=(only_combinations(COMBINATIONS),),
)
