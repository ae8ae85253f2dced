"""Quotes are the documents' prices, exact to the nano-dollar, and bound what can be billed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from wan_pipeline.media.info import VideoInfo
from wan_pipeline.money import Money
from wan_pipeline.providers.base import MediaInput, PriceRecord, Quote
from wan_pipeline.providers.catalog import find_model
from wan_pipeline.providers.pricing import PerSecond, price_at
from wan_pipeline_tests.providers.ordering import (
    AIMLAPI,
    ALL,
    SHORTAPI_26,
    SHORTAPI_27,
    SHORTAPI_R2V,
    WAVESPEED,
    order_of,
    slots_of,
)


def quote_of(model_id: str, inputs: str | None = None, **settings: object) -> Quote:
    return find_model(model_id).quote(order_of(model_id, inputs, **settings), [])


@pytest.mark.parametrize(
    ("model_id", "settings", "dollars"),
    [
        # WaveSpeed's three worked examples
        (WAVESPEED, {"duration": 5, "resolution": "720p", "audio": False}, "0.125"),
        (WAVESPEED, {"duration": 10, "resolution": "720p", "audio": True}, "0.50"),
        (WAVESPEED, {"duration": 15, "resolution": "1080p", "audio": True}, "1.125"),
        # its table of prices for 5 seconds, and a second more than its shortest
        (WAVESPEED, {"duration": 5, "resolution": "720p", "audio": True}, "0.25"),
        (WAVESPEED, {"duration": 5, "resolution": "1080p", "audio": False}, "0.1875"),
        (WAVESPEED, {"duration": 5, "resolution": "1080p", "audio": True}, "0.375"),
        (WAVESPEED, {"duration": 3, "resolution": "1080p", "audio": False}, "0.1125"),
        # ShortAPI: sound makes no difference
        (SHORTAPI_26, {"duration": 5, "resolution": "720p", "audio": False}, "0.425"),
        (SHORTAPI_26, {"duration": 15, "resolution": "720p", "audio": True}, "1.275"),
        (SHORTAPI_26, {"duration": 10, "resolution": "1080p", "audio": True}, "1.28"),
        (SHORTAPI_27, {"duration": 2, "resolution": "720p"}, "0.17"),
        (SHORTAPI_27, {"duration": 15, "resolution": "1080p"}, "1.275"),
    ],
)
def test_a_stated_price_is_quoted_exactly(model_id: str, settings: dict[str, object], dollars: str) -> None:
    quote = quote_of(model_id, **settings)
    assert quote.low == quote.high == Money.usd(dollars)


def test_a_sound_file_costs_what_sound_costs_at_wavespeed() -> None:
    assert quote_of(WAVESPEED, "first_frame audio").low == Money.usd("0.25")


def test_aimlapis_sample_is_quoted_to_the_credit_with_head_room_above() -> None:
    quote = quote_of(AIMLAPI, duration=5, resolution="1080p")
    assert quote.low == Money.credits(1_575_000) == Money.usd("0.7875")
    assert quote.high == Money.credits(1_575_000 * 13 // 10)
    assert "30 %" in quote.rule
    assert quote_of(AIMLAPI, duration=15, resolution="720p").low == Money.usd("0.105") * 15
    assert any("30 %" in warning for warning in order_of(AIMLAPI).warnings)


@pytest.mark.parametrize(
    ("clip_seconds", "more"),
    [
        ([2.0], 2),
        ([2.04], 3),  # a begun second counts
        ([30.0], 5),
        ([3.0, 4.5, 12.0], 13),
        ([None], 5),  # not probed: the worst case
        ([1.0, None], 6),
    ],
)
def test_r2v_is_quoted_with_and_without_the_reference_clips_seconds(
    clip_seconds: list[float | None], more: int
) -> None:
    order = order_of(SHORTAPI_R2V, f"videos*{len(clip_seconds)} images*2", duration=4, resolution="1080p")
    inputs = [
        MediaInput(slot, "k", "0" * 64, VideoInfo("mp4", "h264", 640, 480, seconds, 30.0, False, 1000))
        for slot, seconds in zip(slots_of(f"videos*{len(clip_seconds)}"), clip_seconds, strict=True)
        if seconds is not None
    ]
    quote = find_model(SHORTAPI_R2V).quote(order, inputs)
    assert quote.low == Money.usd("0.128") * 4
    assert quote.high == Money.usd("0.128") * (4 + more)
    assert str(more) in quote.rule
    assert any("reference clips" in warning for warning in order.warnings)


@pytest.mark.parametrize("model_id", ALL)
def test_a_quote_says_how_it_came_about(model_id: str) -> None:
    rule = quote_of(model_id, duration=10, resolution="1080p").rule
    assert "10 s x 0." in rule
    assert "1080p" in rule
    assert "document" in rule
    assert "2026-" in rule


def test_the_price_that_counts_is_the_newest_that_has_begun() -> None:
    def record(month: int, dollars: str) -> PriceRecord:
        return PriceRecord(datetime(2026, month, 1, tzinfo=UTC), f"of month {month}", {"720p": Money.usd(dollars)})

    prices = (record(3, "0.3"), record(6, "0.6"), record(1, "0.1"))
    order = order_of(SHORTAPI_26, duration=5)
    for month, dollars in [(1, "0.5"), (2, "0.5"), (3, "1.5"), (5, "1.5"), (6, "3"), (12, "3")]:
        now = datetime(2026, month, 15, tzinfo=UTC)
        assert PerSecond(prices).quote(order, [], now).low == Money.usd(dollars)
    assert price_at(prices, datetime(2020, 1, 1, tzinfo=UTC)).source == "of month 1"
