"""WaveSpeed's alibaba/wan-2.6/image-to-video-flash: its document as a value.

(wavespeed-wan-2.6-image-to-video-flash.txt.) Its text gives 15 as the default duration, its table 5; its curl sample
leaves out the required `image` and `prompt`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field

from wan_pipeline.money import Money
from wan_pipeline.providers import house
from wan_pipeline.providers.base import InputRule, PriceRecord, Role
from wan_pipeline.providers.checks import sound_file_is_not_silenced
from wan_pipeline.providers.document import Arguments, Documented, DocumentModel, InputField
from wan_pipeline.providers.pricing import WITH_SOUND, PerSecond

RANDOM_SEED = -1


class WaveSpeedWan26Flash(Arguments):
    """The document's "Request Parameters". It sets no limit on the length of a text."""

    image: str
    audio: str | None = None
    prompt: str
    negative_prompt: str | None = None
    resolution: Annotated[Literal["720p", "1080p"], Documented("720p")]
    duration: Annotated[int, Field(ge=2, le=15), Documented(5)]
    shot_type: Annotated[Literal["single", "multi"], Documented("single")]
    enable_prompt_expansion: Annotated[bool, Documented(False)]
    enable_audio: Annotated[bool, Documented(True)]
    seed: Annotated[int, Field(ge=-1, le=2147483647), Documented(RANDOM_SEED)]


MODEL = DocumentModel(
    id="wavespeed/wan-2.6-i2v-flash",
    upstream_id="alibaba/wan-2.6/image-to-video-flash",
    arguments=WaveSpeedWan26Flash,
    fields={
        "prompt": "prompt",
        "negative_prompt": "negative_prompt",
        "duration": "duration",
        "resolution": "resolution",
        "audio": "enable_audio",
        "seed": "seed",
        "shot_type": "shot_type",
        "prompt_extend": "enable_prompt_expansion",
    },
    input_fields={
        Role.FIRST_FRAME: InputField("image", InputRule(1, 1, house.IMAGE_LIMITS, house.HOUSE)),
        Role.AUDIO: InputField("audio", InputRule(0, 1, house.AUDIO_LIMITS, house.HOUSE)),
    },
    price=PerSecond(
        prices=(
            PriceRecord(
                since=datetime(2026, 8, 1, tzinfo=UTC),
                source="WaveSpeed wan-2.6 image-to-video-flash document",
                usd_per_second={  # 0.125 per 5 s; x 1.5 at 1080p; x 2 with sound
                    "720p": Money.usd("0.025"),
                    "720p" + WITH_SOUND: Money.usd("0.05"),
                    "1080p": Money.usd("0.0375"),
                    "1080p" + WITH_SOUND: Money.usd("0.075"),
                },
            ),
        ),
        sound_is_priced=True,
    ),
    checks=(sound_file_is_not_silenced,),
)
