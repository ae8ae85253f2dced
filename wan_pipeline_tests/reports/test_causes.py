"""What gives cause for an alert, to the nano-dollar on both sides of each line."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.money import ZERO, Money
from wan_pipeline.reports import causes as rules
from wan_pipeline.reports.causes import Bill, Cause, Doubt, Reading, Waste, causes, usual
from wan_pipeline.spend.records import BudgetLine

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
TOMORROW = datetime(2026, 11, 21, tzinfo=UTC)
NANO = Money(1)
USD = Money.usd
QUIET = Reading(NOON, False, (), ZERO, (), (), Waste(date(2026, 11, 1), ZERO, ()), ())


def found(**changes: Any) -> list[Cause]:
    return causes(replace(QUIET, **changes))


def budget(billed: str, held: str = "0", allowed: str = "25", until: datetime | None = TOMORROW) -> BudgetLine:
    return BudgetLine("WAN_DAILY_BUDGET_USD", USD(allowed), USD(held), USD(billed), until)


def test_nothing_gives_no_cause() -> None:
    assert found() == []


@pytest.mark.parametrize(("billed", "told"), [("17.999999999", 0), ("18", 1), ("22.999999999", 1), ("40", 1)])
def test_a_budget_is_told_from_80_percent_held_and_billed(billed: str, told: int) -> None:
    assert len(found(budgets=[budget(billed, held="2")])) == told


def test_a_budgets_alert_says_the_figures_and_belongs_to_its_period() -> None:
    (cause,) = found(budgets=[budget("20.50", held="0.75")])
    assert cause == Cause(
        "budget_used",
        "WAN_DAILY_BUDGET_USD until 2026-11-21",
        "WAN_DAILY_BUDGET_USD is 85 % used: 21.25 of 25.00 USD (20.50 billed, 0.75 held), 3.75 left until 2026-11-21 UTC",
    )
    (next_day,) = found(budgets=[budget("20.50", until=TOMORROW + timedelta(days=1))])
    assert next_day.subject != cause.subject


def test_a_budget_for_good_is_told_again_once_its_limit_is_raised() -> None:
    subjects = {found(budgets=[budget("90", allowed=allowed, until=None)])[0].subject for allowed in ("100", "110")}
    assert subjects == {"WAN_DAILY_BUDGET_USD of 100.00 USD", "WAN_DAILY_BUDGET_USD of 110.00 USD"}


def test_a_budget_of_nothing_is_told_only_where_something_was_spent() -> None:
    assert found(budgets=[budget("0", allowed="0")]) == []
    (cause,) = found(budgets=[budget("0.10", allowed="0")])
    assert "though it allows nothing" in cause.message


@pytest.mark.parametrize(
    ("before", "normal"),
    [
        (["1", "1", "1", "1"], None),
        (["1", "1", "1", "1", "0", "0", "0"], None),
        (["1", "2", "3", "4", "100"], "3"),
        (["1", "2", "3", "4", "100", "0", "0"], "3"),
        (["1", "2", "3", "4", "5", "100"], "3.50"),
        (["0.000000001", "0.000000002", "1", "1", "0.000000001", "0.000000002"], "0.000000002"),
    ],
)
def test_usual_is_the_median_of_at_least_five_days_with_spend(before: list[str], normal: str | None) -> None:
    assert usual([USD(amount) for amount in before]) == (None if normal is None else USD(normal))


def test_spend_is_told_over_three_times_the_usual_and_not_at_it() -> None:
    before = [USD("2")] * 5 + [ZERO] * 9
    assert found(spend_today=USD(6), spend_before=before) == []
    (cause,) = found(spend_today=USD(6) + NANO, spend_before=before)
    assert (cause.kind, cause.subject) == ("usual_spend", "2026-11-20")
    assert "6.000000001 USD" in cause.message
    assert "the usual 2.00, the median of 5 days with spend among the last 14" in cause.message
    assert found(spend_today=USD(600), spend_before=before[1:]) == [], "four days say nothing"


def test_money_in_doubt_is_told_after_a_day_by_job() -> None:
    doubt = Doubt("j1", "spring/cat", "shortapi", USD("0.425"), NOON - timedelta(days=1))
    assert found(doubts=[doubt]) == []
    (cause,) = found(doubts=[replace(doubt, since=NOON - timedelta(days=1, microseconds=1))])
    assert (cause.kind, cause.subject) == ("ambiguous_money", "j1")
    assert cause.message.startswith(
        "0.425 USD are in doubt since 2026-11-19 11:59 UTC: whether shortapi took the job j1"
    )
    assert "wan-pipeline resolve j1" in cause.message


@pytest.mark.parametrize(
    ("billed", "failed", "told"),
    [("10", "0.5", 0), ("10", "0.500000001", 1), ("0.999999999", "0.9", 0), ("1", "0.9", 1), ("0", "0", 0)],
)
def test_waste_is_told_over_5_percent_of_a_dollar_or_more(billed: str, failed: str, told: int) -> None:
    waste = Waste(date(2026, 11, 1), USD(billed), (("failed", USD(failed)),))
    assert len(found(waste=waste)) == told


def test_wastes_alert_names_the_kinds_and_belongs_to_the_month() -> None:
    parts = (("failed", USD("1.20")), ("lost", ZERO), ("unused", USD("0.30")))
    (cause,) = found(waste=Waste(date(2026, 11, 1), USD(20), parts))
    assert (cause.kind, cause.subject) == ("waste", "2026-11")
    assert cause.message == (
        "7.5 % of what was billed for the jobs of 2026-11 is wasted: 1.50 of 20.00 USD (1.20 failed, 0.30 unused)"
    )


def test_waste_that_was_not_read_is_no_cause_and_nothing_is_known_of_it() -> None:
    reading = replace(QUIET, waste=None)
    assert causes(reading) == []
    assert reading.kinds == frozenset(rules.KINDS) - {"waste"}
    assert QUIET.kinds == frozenset(rules.KINDS)


def test_a_bill_over_its_quote_is_told_by_job_from_the_first_nano_dollar() -> None:
    bill = Bill("j1", "spring/cat", "shortapi/wan-2.6-i2v", USD("0.425"), USD("0.425"))
    assert found(bills=[bill]) == []
    (cause,) = found(bills=[replace(bill, billed=bill.billed + NANO)])
    assert (cause.kind, cause.subject) == ("bills_within_quotes", "j1")
    assert "was billed 0.425000001 USD: 0.000000001 more than the 0.425 it was quoted at most" in cause.message


def test_simulated_money_is_called_so_in_every_sentence() -> None:
    everything = {
        "simulated": True,
        "budgets": [budget("25")],
        "spend_today": USD(60),
        "spend_before": [USD(1)] * 14,
        "doubts": [Doubt("j1", "s", "p", USD(1), NOON - timedelta(days=2))],
        "waste": Waste(date(2026, 11, 1), USD(2), (("failed", USD(1)),)),
        "bills": [Bill("j1", "s", "m", USD(2), USD(1))],
    }
    told = found(**everything)
    assert [cause.kind for cause in told] == list(rules.KINDS)
    assert all("simulated USD" in cause.message for cause in told)
    assert not any("simulated" in cause.message for cause in found(**everything | {"simulated": False}))


@given(used=st.integers(0, 10**12), allowed=st.integers(1, 10**12))
def test_a_share_that_is_told_is_never_below_the_line_it_crossed(used: int, allowed: int) -> None:
    line = BudgetLine("b", Money(allowed), ZERO, Money(used), None)
    for cause in found(budgets=[line]):
        share = cause.message.partition(" is ")[2].partition(" % used")[0]
        assert float(share) >= rules.BUDGET_PERCENT
        assert 100 * used >= rules.BUDGET_PERCENT * allowed
