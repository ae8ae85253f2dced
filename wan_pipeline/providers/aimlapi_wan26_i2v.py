"""AI/ML API's alibaba/wan-2-6-i2v: its document as a value (aimlapi-wan-2-6-i2v.txt, aimlapi/wan2.6-i2v.json)."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from typing import Annotated, Literal

from wan_pipeline.money import Money
from wan_pipeline.providers import house
from wan_pipeline.providers.base import InputRule, JsonObject, PriceRecord, Role
from wan_pipeline.providers.checks import shot_type_needs_prompt_extend, sound_file_is_not_silenced
from wan_pipeline.providers.document import Arguments, Documented, DocumentModel, InputField
from wan_pipeline.providers.pricing import PerSecond

UPSTREAM_ID = "alibaba/wan-2-6-i2v"


class AimlApiWan26ImageToVideo(Arguments):
    """The document's body, less `model`. It sets no limit on the length of a text.

    The schema's default for duration is the string "10", its sample sends the string "5"; its type says integer.
    `generate_audio` "takes effect only when audio_url is not provided". Beside an audio_url it is sent as true all the
    same: it is cost-bearing, its default is true, and upstream lets a false drop the file (README, trap 12).
    """

    prompt: str
    image_url: str
    audio_url: str | None = None
    resolution: Annotated[Literal["720p", "1080p"], Documented("1080p")]
    duration: Annotated[Literal[5, 10, 15], Documented(10)]
    negative_prompt: str | None = None
    shot_type: Annotated[Literal["single", "multi"], Documented("single")]
    generate_audio: Annotated[bool, Documented(True)]
    seed: int | None = None
    enhance_prompt: Annotated[bool, Documented(True)]


def _envelope(arguments: JsonObject) -> JsonObject:
    return {"model": UPSTREAM_ID, **arguments}


MODEL = DocumentModel(
    id="aimlapi/wan-2.6-i2v",
    upstream_id=UPSTREAM_ID,
    arguments=AimlApiWan26ImageToVideo,
    fields={
        "prompt": "prompt",
        "negative_prompt": "negative_prompt",
        "duration": "duration",
        "resolution": "resolution",
        "audio": "generate_audio",
        "seed": "seed",
        "shot_type": "shot_type",
        "prompt_extend": "enhance_prompt",
    },
    input_fields={
        Role.FIRST_FRAME: InputField(
            "image_url", InputRule(1, 1, house.IMAGE_LIMITS, house.HOUSE, accepts_data_uri=True)
        ),
        Role.AUDIO: InputField("audio_url", InputRule(0, 1, house.AUDIO_LIMITS, house.HOUSE)),
    },
    price=PerSecond(
        prices=(
            PriceRecord(
                since=datetime(2026, 1, 7, tzinfo=UTC),  # the day of the document's sample
                source="AI/ML API document's sample (1,575,000 credits for 5 s at 1080p), 720p inferred",
                usd_per_second={"720p": Money.credits(210_000), "1080p": Money.credits(315_000)},
            ),
        ),
        head_room=Fraction(13, 10),
        head_room_reason=(
            "AI/ML API's document states no price: the list price is worked out from its sample, a later sample of a "
            "sibling model was up to 30 % above it, and the credits that it reports are what counts"
        ),
    ),
    envelope=_envelope,
    checks=(sound_file_is_not_silenced,),
    advice=(shot_type_needs_prompt_extend,),
)
