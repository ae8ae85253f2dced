"""Drift is found where the world says something else than the catalog, nowhere else; a new price changes no yesterday."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from wan_pipeline.money import Money
from wan_pipeline.providers.base import Order, PriceRecord
from wan_pipeline.providers.catalog import MODELS, catalog, catalog_of
from wan_pipeline.providers.document import DocumentModel
from wan_pipeline.providers.drift import (
    bill_drifts,
    file_of,
    parameter_drifts,
    price_drifts,
    sample_orders,
)
from wan_pipeline.providers.price_answer import ProviderPrice
from wan_pipeline.providers.price_check import Prices
from wan_pipeline.spend.precedents import Bill, Rejection
from wan_pipeline_tests.providers.ordering import AIMLAPI, ALL, SHORTAPI_R2V, WAVESPEED, order_of

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
USD = Money.usd


class Told(Prices):
    """As if the provider had said this of every order."""

    def __init__(self, factor: str, discount: str = "1") -> None:
        super().__init__()
        self.__dict__["factors"] = (USD(factor), USD(discount))

    def of(self, model: object, order: Order) -> ProviderPrice:
        factor, discount = self.__dict__["factors"]
        listed = catalog()[order.model_id].quote(order, []).high * factor.dollars
        return ProviderPrice(listed * discount.dollars, listed)


def bills(model: str, *amounts: str, low: str = "0.125", high: str = "0.125", **changed: object) -> list[Bill]:
    """Of 5 s at 720p, the newest first."""
    whose = model.partition("/")[0]
    return [
        replace(
            Bill(f"j{at}", f"s{at}", whose, model, "720p", False, 5, USD(low), USD(high), USD(each), NOW),
            claimed_at=NOW - timedelta(hours=at),
            **changed,
        )
        for at, each in enumerate(amounts)
    ]


def test_every_price_record_says_since_when_it_holds_and_which_document_says_so() -> None:
    for model in MODELS:
        assert isinstance(model, DocumentModel)
        since = [record.since for record in model.price.prices]
        assert len(set(since)) == len(since)
        for record in model.price.prices:
            assert record.since.tzinfo is not None
            assert "document" in record.source
            assert all(each.nanos > 0 for each in record.usd_per_second.values())


@pytest.mark.parametrize("model_id", ALL)
def test_a_price_that_is_added_changes_no_quote_of_yesterday(model_id: str) -> None:
    model = catalog()[model_id]
    assert isinstance(model, DocumentModel)
    order = order_of(model_id, duration=5)
    yesterday, tomorrow = NOW - timedelta(days=1), NOW + timedelta(days=1)
    dearer = {kind: each * 2 for kind, each in model.price.prices[-1].usd_per_second.items()}
    changed = replace(model.price, prices=(*model.price.prices, PriceRecord(NOW, "a new list, document", dearer)))
    assert changed.quote(order, [], yesterday) == model.price.quote(order, [], yesterday)
    assert changed.quote(order, [], tomorrow).high == model.price.quote(order, [], tomorrow).high * 2
    assert "a new list" in changed.quote(order, [], tomorrow).rule


def test_a_provider_that_names_the_catalogs_prices_has_not_drifted() -> None:
    asked = sample_orders(catalog().values())
    assert {(order.resolution, order.has_audio) for _, order in asked} == {
        (size, sound) for size in ("720p", "1080p") for sound in (True, False)
    }
    assert {model.id for model, _ in asked} == {WAVESPEED}
    assert price_drifts(asked, Told("1")) == []
    assert price_drifts(asked, Prices()) == []


def test_another_list_price_is_drift_and_a_discount_of_the_account_is_told_as_that() -> None:
    asked = sample_orders(catalog().values())
    (dearer,) = price_drifts(asked, Told("1.2"))
    assert dearer.subject == WAVESPEED
    assert dearer.serious
    assert "5 s 720p silent: 0.15 USD, the catalog 0.125 USD" in dearer.detail
    assert "providers/wavespeed_wan26_flash.py" in dearer.remedy
    (cheaper,) = price_drifts(asked, Told("0.9"))
    assert not cheaper.serious
    (discount,) = price_drifts(asked, Told("1", "0.9"))
    assert "discount" in discount.detail
    assert "0.1125 USD (list price 0.125 USD)" in discount.detail
    assert "nothing has to be done" in discount.remedy


def test_bills_as_quoted_are_no_drift() -> None:
    assert bill_drifts(bills(WAVESPEED, *["0.125"] * 20), catalog(), NOW) == []
    at_list = bills(AIMLAPI, *["0.525"] * 5, low="0.525", high="0.6825")
    assert bill_drifts(at_list, catalog(), NOW) == []
    various = bills(SHORTAPI_R2V, "0.425", "0.51", "0.85", low="0.425", high="0.85")
    assert bill_drifts(various, catalog(), NOW) == []


def test_a_steady_rate_within_the_head_room_is_drift_with_the_price_to_be_written_down() -> None:
    (drift,) = bill_drifts(bills(AIMLAPI, *["0.6825"] * 5, low="0.525", high="0.6825"), catalog(), NOW)
    assert "the last 5 bills are at 0.1365 USD/s, the catalog says 0.105 USD/s" in drift.detail
    assert not drift.serious
    assert "PriceRecord" in drift.remedy
    assert "aimlapi_wan26_i2v.py" in drift.remedy


def test_bills_outside_of_their_quotes_are_drift_and_serious_where_they_exceed_them() -> None:
    (drift,) = bill_drifts(bills(WAVESPEED, "0.13", "0.125", "0.125"), catalog(), NOW)
    assert drift.serious
    assert "1 of the last 3 bills" in drift.detail
    assert "job j0 (s0): billed 0.13 USD, quoted 0.125 to 0.125 USD" in drift.detail
    (drift,) = bill_drifts(bills(WAVESPEED, "0.12", "0.125"), catalog(), NOW)
    assert not drift.serious


def test_bills_from_before_the_present_price_are_not_held_against_it() -> None:
    model = catalog()[WAVESPEED]
    assert isinstance(model, DocumentModel)
    new = PriceRecord(NOW - timedelta(hours=1), "document", {"720p": USD("0.03")})
    models = catalog_of([replace(model, price=replace(model.price, prices=(*model.price.prices, new)))])
    seen = bills(
        WAVESPEED, "0.15", "0.15", "0.20", "0.21", "0.22", low="0.125", high="0.15"
    )  # one each hour, backwards
    assert bill_drifts(seen[:2], models, NOW) == bill_drifts(seen, models, NOW) == []
    (drift,) = bill_drifts(seen, catalog(), NOW)
    assert "3 of the last 5 bills" in drift.detail


def rejection(reason: str, model: str = WAVESPEED) -> Rejection:
    return Rejection("j1", "cat", model.partition("/")[0], model, reason, NOW)


@pytest.mark.parametrize(
    ("reason", "named"),
    [
        ("wavespeed answered HTTP 400: duration: Input should be 5 or 10", "duration"),
        ("HTTP 422: enable_prompt_expansion is no longer supported", "enable_prompt_expansion"),
        ("HTTP 400: unknown field(s) in the body", "a field"),
        ("HTTP 400: property foo should not exist", "a field"),
    ],
)
def test_a_refused_setting_is_a_parameter_that_has_drifted(reason: str, named: str) -> None:
    (drift,) = parameter_drifts([rejection(reason), rejection(reason)], catalog())
    assert f"2 submissions were refused over {named}, the latest on 2026-11-20 for cat: {reason}" in drift.detail
    assert "wan_pipeline/providers/wavespeed_wan26_flash.py" in drift.remedy


@pytest.mark.parametrize(
    "reason",
    [
        "HTTP 400: prompt: violates the content policy",
        "HTTP 400: image: could not be fetched",
        "HTTP 400: the audio could not be read",
        "HTTP 400: negative_prompt is too long",
        "HTTP 402: insufficient credits",
        "",
    ],
)
def test_what_is_a_shots_own_matter_is_no_drift(reason: str) -> None:
    assert parameter_drifts([rejection(reason), rejection(reason, "gone/model")], catalog()) == []


@pytest.mark.parametrize("model_id", ALL)
def test_the_remedy_names_the_file_with_the_prices(model_id: str) -> None:
    assert file_of(catalog()[model_id]).startswith(f"wan_pipeline/providers/{model_id.partition('/')[0]}_wan2")
