"""What is said before buying: by model and campaign, against each budget, with providers' own prices; nothing is bought."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from wan_pipeline.generation.events import Stage
from wan_pipeline.generation.foretelling import TO_BUY, QuoteNotes
from wan_pipeline.generation.parts import EngineParts
from wan_pipeline.generation.quotation import Quotation, pace_of, quotation
from wan_pipeline.money import Money
from wan_pipeline.providers.base import ProviderLimits
from wan_pipeline.spend.records import Budgets, Deferral
from wan_pipeline_tests.generation.house import House, png

USD = Money.usd
AIMLAPI, FLASH = "aimlapi/wan-2.6-i2v", "wavespeed/wan-2.6-i2v-flash"


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Three shots of a campaign for WaveSpeed, one of none for AI/ML API."""
    house = House(tmp_path)
    house.put("inbox/_defaults.yaml", f"model: {FLASH}\nprompt: It moves.\nduration: 5\n")
    house.put("inbox/spring/_defaults.yaml", "campaign: spring\n")
    for number in range(3):
        house.put(f"inbox/spring/s{number}.png", png(f"#{number}08080"))
    house.put("inbox/dear.png", png("red"))
    house.put("inbox/dear.yaml", f"model: {AIMLAPI}\nresolution: 1080p\n")
    return house


def quoted(house: House) -> Quotation:
    notes = QuoteNotes()
    house.make(Stage.QUOTE, on_event=notes.note)
    with house.ledger() as ledger:
        parts = EngineParts(ledger, house.bucket, house.budgets, house._connect, house.faults, simulated=True)
        return quotation(notes, parts, lambda provider: ProviderLimits(2, 2), datetime.now(UTC))


def statuses(made: Quotation) -> dict[str, str]:
    return {quote.shot: quote.status for quote in made.quotes}


def test_totals_are_by_model_and_by_campaign_and_against_every_budget(house: House) -> None:
    house.budgets = Budgets(USD(1), USD(100), USD(5), {"spring": USD("0.30")}, {"aimlapi": USD(2)})
    made = quoted(house)
    assert (made.low, made.high) == (USD("0.375") + USD("0.7875"), USD("0.375") + USD("1.02375"))
    assert [(each.name, each.shots, str(each.low), str(each.high)) for each in made.by_model()] == [
        (AIMLAPI, 1, "0.7875", "1.02375"),
        (FLASH, 3, "0.375", "0.375"),
    ]
    assert [(each.name, each.shots, str(each.high)) for each in made.by_campaign()] == [
        ("", 1, "1.02375"),
        ("spring", 3, "0.375"),
    ]
    assert {each.line.name: (str(each.needed), each.enough) for each in made.against_budgets()} == {
        "WAN_DAILY_BUDGET_USD": ("1.39875", False),
        "WAN_MONTHLY_BUDGET_USD": ("1.39875", True),
        "WAN_CAMPAIGN_BUDGETS_USD (spring)": ("0.375", False),
        "WAN_AIMLAPI_MONTHLY_BUDGET_USD": ("1.02375", True),
    }
    assert {each.shot: each.limit for each in made.plan.never} == {
        "dear": "WAN_DAILY_BUDGET_USD",
        "spring/s2": "WAN_CAMPAIGN_BUDGETS_USD (spring)",
    }
    assert house.books.posts() == {}
    assert house.faults.posts == []
    with house.ledger() as ledger:
        assert ledger.jobs() == []


def test_what_is_made_in_flight_or_the_same_as_another_is_not_paid_again(house: House) -> None:
    house.put("inbox/twin.png", png("#008080"))  # as spring/s0
    made = quoted(house)
    assert statuses(made)["twin"] == "made with spring/s0"
    assert len(made.to_buy) == 4
    house.make(keys=["spring/s0"])
    made = quoted(house)
    assert statuses(made) == {
        "dear": TO_BUY,
        "spring/s0": "made already",
        "spring/s1": TO_BUY,
        "spring/s2": TO_BUY,
        "twin": "made already for spring/s0",
    }
    house.put("inbox/spring/_defaults.yaml", "campaign: spring\nduration: 6\n")
    assert statuses(quoted(house))["spring/s0"] == "outdated: kept as it is"


def test_what_waits_for_its_time_is_in_the_backlog_and_not_in_what_is_paid_now(house: House) -> None:
    house.put("inbox/dear.yaml", f"model: {AIMLAPI}\nnot_before: 2999-01-01T00:00:00Z\n")
    made = quoted(house)
    assert statuses(made)["dear"] == "not before 2999-01-01T00:00:00Z"
    assert made.high == USD("0.375")
    assert "dear" in {each.shot for each in made.plan.planned}


def test_the_days_are_those_of_the_budgets_and_what_has_waited_comes_first(house: House) -> None:
    house.budgets = Budgets(USD("0.25"), USD(100), USD(5))
    house.put("inbox/dear.yaml", f"model: {FLASH}\n")  # the first in the listing
    with house.ledger() as ledger:
        for shot, hours in (("spring/s1", 1), ("spring/s2", 2)):
            since = datetime.now(UTC) - timedelta(hours=hours)
            needed = USD("0.125")
            ledger.deferrals.defer([Deferral(shot, True, "", "no room", needed, "wavespeed", None, since, None, 1)])
    made = quoted(house)
    assert [each.shot for each in made.plan.planned] == ["spring/s2", "spring/s1", "dear", "spring/s0"]
    assert [each.shot for each in made.plan.not_today] == ["dear", "spring/s0"]
    assert (made.plan.days, made.plan.limit) == (2, "WAN_DAILY_BUDGET_USD")


# --- the provider's own prices ---


def priced(
    factor: float,
) -> Callable[[httpx.Request, Callable[[], Awaitable[httpx.Response]]], Awaitable[httpx.Response]]:
    """A fault: the price endpoint's numbers, times this."""

    async def fault(request: httpx.Request, go_on: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        answer = await go_on()
        if request.url.path != "/api/v3/model/price":
            return answer
        payload = json.loads(await answer.aread())
        for name in ("price", "discounted_price"):
            payload["data"][name] *= factor
        return httpx.Response(200, json=payload)

    return fault


def test_a_provider_that_agrees_with_the_catalog_is_heard_once_for_all_shots(house: House) -> None:
    made = quoted(house)
    assert made.told() == (3, USD("0.375"), USD("0.375"))
    assert made.differences() == []
    assert made.prices.unasked == {}
    assert house.faults.requests.count("POST /api/v3/model/price") == 1


def test_what_a_provider_says_otherwise_widens_the_quote_and_is_shown(house: House) -> None:
    house.faults.fault = priced(1.2)
    made = quoted(house)
    (difference,) = made.differences()
    assert (difference.model, difference.what, difference.shots) == (FLASH, "5 s 720p silent", 3)
    assert (difference.catalog, difference.told) == (USD("0.375"), USD("0.45"))
    (total,) = [each for each in made.by_model() if each.name == FLASH]
    assert (total.low, total.high) == (USD("0.375"), USD("0.45"))
    assert {each.needed for each in made.plan.planned if each.shot != "dear"} == {USD("0.15")}


def test_a_price_endpoint_that_is_away_is_said_and_the_catalog_counts(house: House) -> None:
    async def away(request: httpx.Request, go_on: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        if request.url.path == "/api/v3/model/price":
            return httpx.Response(403, json={"code": 403, "message": "not for you"})
        return await go_on()

    house.faults.fault = away
    made = quoted(house)
    assert made.told() == (0, Money(0), Money(0))
    assert "not for you" in made.prices.unasked["wavespeed"]
    assert made.high == USD("0.375") + USD("1.02375")


def test_the_pace_is_the_slower_of_submissions_and_makings() -> None:
    limits = ProviderLimits(max_in_flight=2, submits_per_minute=2)
    assert pace_of("wavespeed", limits, None).each_ms == 30_000
    assert pace_of("wavespeed", limits, 10.0).limit == "WAN_WAVESPEED_SUBMITS_PER_MINUTE"
    slow = pace_of("wavespeed", limits, 90.0)
    assert (slow.each_ms, slow.limit) == (45_000, "WAN_WAVESPEED_MAX_IN_FLIGHT")
    assert slow.words == "wavespeed makes 2 at once, each in about 90 s"
