"""ShortAPI's alibaba/wan-2.6/image-to-video: its document as a value (shortapi-wan-2.6-image-to-video.txt)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field

from wan_pipeline.money import Money
from wan_pipeline.providers import house
from wan_pipeline.providers.base import InputRule, PriceRecord, Role
from wan_pipeline.providers.checks import shot_type_needs_prompt_extend, sound_file_is_not_silenced
from wan_pipeline.providers.document import Arguments, Documented, DocumentModel, InputField
from wan_pipeline.providers.pricing import PerSecond
from wan_pipeline.providers.shortapi_job import envelope

UPSTREAM_ID = "alibaba/wan-2.6/image-to-video"


class ShortApiWan26ImageToVideo(Arguments):
    """`args` of the document. Options that it writes as strings ("5", "true") are sent as what its types say."""

    prompt: Annotated[str, Field(max_length=1500)]
    negative_prompt: Annotated[str | None, Field(max_length=500)] = None
    image_url: str
    duration: Annotated[Literal[5, 10, 15], Documented(5)]
    resolution: Annotated[Literal["720P", "1080P"], Documented("1080P")]
    audio_url: str | None = None
    shot_type: Literal["single", "multi"]  # the document states no default
    prompt_extend: Annotated[bool, Documented(False)]
    audio: Annotated[bool, Documented(False)]


MODEL = DocumentModel(
    id="shortapi/wan-2.6-i2v",
    upstream_id=UPSTREAM_ID,
    arguments=ShortApiWan26ImageToVideo,
    fields={
        "prompt": "prompt",
        "negative_prompt": "negative_prompt",
        "duration": "duration",
        "resolution": "resolution",
        "audio": "audio",
        "shot_type": "shot_type",
        "prompt_extend": "prompt_extend",
    },
    words={"resolution": {"720p": "720P", "1080p": "1080P"}},
    input_fields={
        Role.FIRST_FRAME: InputField("image_url", InputRule(1, 1, house.IMAGE_LIMITS, house.HOUSE)),
        Role.AUDIO: InputField("audio_url", InputRule(0, 1, house.AUDIO_LIMITS, house.HOUSE)),
    },
    price=PerSecond(
        prices=(
            PriceRecord(
                since=datetime(2026, 8, 1, tzinfo=UTC),
                source="ShortAPI wan-2.6 image-to-video document",
                usd_per_second={"720p": Money.usd("0.085"), "1080p": Money.usd("0.128")},
            ),
        )
    ),
    envelope=envelope(UPSTREAM_ID),
    checks=(sound_file_is_not_silenced,),
    advice=(shot_type_needs_prompt_extend,),
)
