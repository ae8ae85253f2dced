"""ShortAPI's alibaba/wan-2.6/reference-to-video: its document as a value (shortapi-wan-2.6-reference-to-video.txt).

The prompt refers to the reference clips as `@Video1`, `@Video2`, in the order in which they are given.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field

from wan_pipeline.media.limits import ClipLimits, ImageLimits
from wan_pipeline.money import Money
from wan_pipeline.providers.base import InputRule, PriceRecord, Role
from wan_pipeline.providers.checks import at_most_together, references_exist
from wan_pipeline.providers.document import Arguments, Documented, DocumentModel, InputField
from wan_pipeline.providers.house import MEGABYTE
from wan_pipeline.providers.pricing import PerSecond, reference_seconds
from wan_pipeline.providers.shortapi_job import envelope

UPSTREAM_ID = "alibaba/wan-2.6/reference-to-video"
DOCUMENT = "ShortAPI wan-2.6 reference-to-video document"
MAX_REFERENCES = 5


class ShortApiWan26ReferenceToVideo(Arguments):
    """`args` of the document. It has neither a seed nor prompt expansion."""

    prompt: Annotated[str, Field(max_length=1500)]
    negative_prompt: Annotated[str | None, Field(max_length=500)] = None
    image_urls: Annotated[list[str] | None, Field(max_length=5)] = None
    video_urls: Annotated[list[str], Field(min_length=1, max_length=3)]
    duration: Annotated[Literal[2, 3, 4, 5, 6, 7, 8, 9, 10], Documented(5)]
    resolution: Annotated[Literal["720p", "1080p"], Documented("1080p")]
    shot_type: Annotated[Literal["single", "multi"], Documented("single")]
    audio: Annotated[bool, Documented(False)]


# "PNG (no alpha channel supported)" is taken to mean transparency in any format.
IMAGE_LIMITS = ImageLimits(
    formats=frozenset({"jpeg", "png", "bmp", "webp"}),
    min_side_px=240,
    max_side_px=5000,
    max_bytes=10 * MEGABYTE,
    alpha_allowed=False,
)
CLIP_LIMITS = ClipLimits(
    containers=frozenset({"mp4", "mov"}), min_duration_s=1.0, max_duration_s=30.0, max_bytes=100 * MEGABYTE
)

MODEL = DocumentModel(
    id="shortapi/wan-2.6-r2v",
    upstream_id=UPSTREAM_ID,
    arguments=ShortApiWan26ReferenceToVideo,
    fields={
        "prompt": "prompt",
        "negative_prompt": "negative_prompt",
        "duration": "duration",
        "resolution": "resolution",
        "audio": "audio",
        "shot_type": "shot_type",
    },
    input_fields={
        Role.IMAGES: InputField("image_urls", InputRule(0, 5, IMAGE_LIMITS, DOCUMENT)),
        Role.VIDEOS: InputField("video_urls", InputRule(1, 3, CLIP_LIMITS, DOCUMENT)),
    },
    price=PerSecond(
        prices=(
            PriceRecord(
                since=datetime(2026, 8, 1, tzinfo=UTC),
                source=DOCUMENT,
                usd_per_second={"720p": Money.usd("0.085"), "1080p": Money.usd("0.128")},
            ),
        ),
        more_seconds=reference_seconds,
        more_seconds_reason=(
            "the document does not say whether the reference clips' seconds are billed; some of upstream's price lists "
            "do bill them (at most 5 s of each), so the upper bound counts them"
        ),
    ),
    envelope=envelope(UPSTREAM_ID),
    checks=(at_most_together((Role.IMAGES, Role.VIDEOS), MAX_REFERENCES),),
    advice=(references_exist,),
)
