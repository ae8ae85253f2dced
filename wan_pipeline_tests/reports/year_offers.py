"""What the generated year buys: the catalog's five models in the settings they are asked for, at the catalog's prices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from wan_pipeline.providers.catalog import find_model
from wan_pipeline_tests.providers.ordering import AIMLAPI, ALL, ENOUGH_INPUTS, SHORTAPI_27, SHORTAPI_R2V, order_of

CREDIT = 500  # nano-dollars of one AI/ML API credit
CAMPAIGNS = ("spring", "summer", "autumn/launch", "winter", "teasers", "Träume | Möwen", "b2b", "retail", None, None)
# How a provider tells what it charged: with its answer to the submission, or never (then the quote is billed).
REPORTS_AMOUNTS = frozenset({"shortapi", "aimlapi"})


class Offer(NamedTuple):
    """One model in one setting. Amounts in nano-dollars. `bills`: what its provider may charge for it, the usual first."""

    provider: str
    model: str
    resolution: str
    duration_s: int
    has_audio: bool | None
    quoted_low: int
    quoted_high: int
    bills: tuple[int, ...]
    arguments: str  # JSON


@cache
def offers() -> tuple[Offer, ...]:
    """In a fixed order."""
    return tuple(_offers())


def _offers() -> Iterator[Offer]:
    for model_id in ALL:
        for resolution in ("720p", "1080p"):
            for duration in (5, 10) if model_id == SHORTAPI_R2V else (5, 10, 15):
                if model_id == SHORTAPI_27:  # sound comes with a sound file alone; without one nothing is promised
                    for inputs in ("first_frame", "first_frame audio"):
                        yield _offer(model_id, inputs, resolution=resolution, duration=duration)
                else:
                    for audio in (False, True):
                        yield _offer(
                            model_id, ENOUGH_INPUTS[model_id], resolution=resolution, duration=duration, audio=audio
                        )


def _offer(model_id: str, inputs: str, **settings: object) -> Offer:
    model, order = find_model(model_id), order_of(model_id, inputs, **settings)
    quote = model.quote(order, [])
    low, high = quote.low.nanos, quote.high.nanos
    return Offer(
        model.provider,
        model_id,
        order.resolution,
        order.duration_s,
        order.has_audio,
        low,
        high,
        tuple(_bills(model_id, order.duration_s, low, high)),
        json.dumps(order.arguments.model_dump(mode="json", exclude_none=True), sort_keys=True),
    )


def _bills(model_id: str, duration_s: int, low: int, high: int) -> Iterator[int]:
    """Of a hundred bills, as they come: inside the quote's bounds, and now and then outside."""
    for number in range(100):
        if model_id == AIMLAPI:  # whole credits, at most 30 % above the list; one bill in a hundred is above that
            percent = 40 if number == 99 else (0, 0, 0, 5, 30)[number % 5]
            yield low // CREDIT * (100 + percent) // 100 * CREDIT
        elif model_id == SHORTAPI_R2V:  # seconds of the reference clips may be billed too
            yield min(high, low + low // duration_s * (number % 5))
        elif model_id.startswith("shortapi/") and number == 99:
            yield 20_000_000  # its document's sample, which matches no price
        else:
            yield high
