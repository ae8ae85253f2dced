"""The budgets are hard limits, in UTC, with every hold counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.budget import day_of, month_of
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Bought, Budgets, JobState, OverBudget, Reused
from wan_pipeline_tests.spend.samples import NEW_TAKE, NOON, PRICE, bought, expect, finish, request_for

USD = Money.usd
MIDNIGHT = datetime(2026, 12, 6, tzinfo=UTC)


def test_a_budget_is_used_to_its_last_nano_and_not_beyond(ledger: Ledger) -> None:
    budgets = Budgets(PRICE * 2, None, None)
    for shot in "ab":
        expect(Bought, ledger.claim(request_for(shot, shot), budgets, now=NOON))
    over = expect(OverBudget, ledger.claim(request_for("c", "c"), budgets, now=NOON))
    assert over == OverBudget("WAN_DAILY_BUDGET_USD", PRICE * 2, PRICE * 2, PRICE, MIDNIGHT)
    one_more = Budgets(PRICE * 3 - Money(1), None, None)
    expect(OverBudget, ledger.claim(request_for("c", "c"), one_more, now=NOON))
    expect(Bought, ledger.claim(request_for("c", "c"), Budgets(PRICE * 3, None, None), now=NOON))


def test_what_is_billed_counts_instead_of_its_hold(ledger: Ledger) -> None:
    purchase = bought(ledger, request_for("a", "a"), now=NOON)
    ledger.mark_accepted(purchase.job.id, purchase.attempt_id, "p", USD("0.05"), now=NOON)
    use = ledger.budget_use(NOON, simulated=False)
    assert (use.day.held, use.day.billed, use.day.used) == (ZERO, USD("0.05"), USD("0.05"))
    expect(Bought, ledger.claim(request_for("b", "b"), Budgets(USD("0.25"), None, None), now=NOON))


def test_an_ambiguous_job_keeps_its_hold_in_the_budget_and_a_rejected_one_gives_it_back(ledger: Ledger) -> None:
    budgets = Budgets(PRICE, None, None)
    first = bought(ledger, request_for("a", "a"), now=NOON)
    ledger.mark_ambiguous(first.job.id, first.attempt_id, "timeout", now=NOON)
    expect(OverBudget, ledger.claim(request_for("b", "b"), budgets, now=NOON))
    ledger.mark_rejected(first.job.id, first.attempt_id, "it was refused", now=NOON)
    expect(Bought, ledger.claim(request_for("b", "b"), budgets, now=NOON))


def test_a_new_day_and_a_new_month_begin_at_midnight_utc(ledger: Ledger) -> None:
    last = datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    daily, monthly = Budgets(PRICE, None, None), Budgets(None, PRICE, None)
    bought(ledger, request_for("a", "a"), now=last)
    for budgets, name in ((daily, "WAN_DAILY_BUDGET_USD"), (monthly, "WAN_MONTHLY_BUDGET_USD")):
        over = expect(OverBudget, ledger.claim(request_for("b", "b"), budgets, now=last))
        assert (over.limit, over.until) == (name, datetime(2027, 1, 1, tzinfo=UTC))
    # The same moment, said in another time zone, is still the old day.
    elsewhere = last.astimezone(timezone(timedelta(hours=9)))
    expect(OverBudget, ledger.claim(request_for("b", "b"), daily, now=elsewhere))
    both = Budgets(PRICE, PRICE, None)
    expect(Bought, ledger.claim(request_for("b", "b"), both, now=last + timedelta(microseconds=1)))


def test_a_month_counts_all_of_its_days(ledger: Ledger) -> None:
    bought(ledger, request_for("a", "a"), now=NOON - timedelta(days=4))
    budgets = Budgets(PRICE, PRICE, None)
    over = expect(OverBudget, ledger.claim(request_for("b", "b"), budgets, now=NOON))
    assert (over.limit, over.until) == ("WAN_MONTHLY_BUDGET_USD", datetime(2027, 1, 1, tzinfo=UTC))
    use = ledger.budget_use(NOON, simulated=False)
    assert (use.day.used, use.month.used) == (ZERO, PRICE)


def test_a_job_claimed_on_the_stroke_of_midnight_counts_in_the_new_day_alone(ledger: Ledger) -> None:
    bought(ledger, now=MIDNIGHT)
    assert ledger.budget_use(NOON, simulated=False).day.used == ZERO
    assert ledger.budget_use(MIDNIGHT, simulated=False).day.used == PRICE


def test_a_shots_budget_is_for_all_its_takes_together_and_for_ever(ledger: Ledger) -> None:
    budgets = Budgets(None, None, PRICE + PRICE)
    for day in (0, 40):
        now = NOON + timedelta(days=day)
        purchase = expect(Bought, ledger.claim(request_for(), budgets, NEW_TAKE, now=now))
        job = ledger.mark_accepted(purchase.job.id, purchase.attempt_id, f"p{day}", None, now=now)
        finish(ledger, job, JobState.STORED)
    over = expect(OverBudget, ledger.claim(request_for(), budgets, NEW_TAKE, now=NOON + timedelta(days=80)))
    assert over == OverBudget("WAN_SHOT_BUDGET_USD", PRICE * 2, PRICE * 2, PRICE, None)
    expect(Bought, ledger.claim(request_for("dog", "a dog"), budgets, now=NOON))


def test_what_no_period_could_ever_pay_for_is_not_put_off_to_the_next(ledger: Ledger) -> None:
    over = expect(OverBudget, ledger.claim(request_for(), Budgets(PRICE - Money(1), None, None), now=NOON))
    assert over.until is None


def test_a_full_budget_keeps_nobody_from_what_is_paid_already(ledger: Ledger) -> None:
    purchase = bought(ledger, now=NOON)
    finish(ledger, ledger.mark_accepted(purchase.job.id, purchase.attempt_id, "p", None), JobState.STORED)
    expect(Reused, ledger.claim(request_for("its twin"), Budgets(ZERO, ZERO, ZERO), now=NOON))


def test_a_job_opened_again_counts_in_the_day_in_which_it_is_sent(ledger: Ledger) -> None:
    purchase = bought(ledger, now=NOON)
    ledger.mark_rejected(purchase.job.id, purchase.attempt_id, "no credit", retryable=True, now=NOON)
    tomorrow = NOON + timedelta(days=1)
    bought(ledger, request_for("dog", "a dog"), now=tomorrow)
    expect(OverBudget, ledger.claim(request_for(), Budgets(PRICE, None, None), now=tomorrow))
    expect(Bought, ledger.claim(request_for(), Budgets(PRICE * 2, None, None), now=tomorrow))
    assert ledger.budget_use(NOON, simulated=False).day.used == ZERO
    assert ledger.budget_use(tomorrow, simulated=False).day.used == PRICE * 2


def test_simulated_money_is_no_money(ledger: Ledger) -> None:
    budgets = Budgets(PRICE, PRICE, PRICE)
    expect(Bought, ledger.claim(request_for(simulated=True), budgets, now=NOON))
    expect(Bought, ledger.claim(request_for(), budgets, now=NOON))
    assert ledger.budget_use(NOON, simulated=True).month.used == PRICE


@pytest.mark.parametrize("moment", [NOON, datetime(2028, 2, 29, 23, tzinfo=UTC), datetime(2027, 1, 31, tzinfo=UTC)])
def test_days_and_months_join_without_gap_or_overlap(moment: datetime) -> None:
    for period in (day_of, month_of):
        since, until = period(moment)
        assert since <= moment < until
        assert period(until)[0] == until
        assert period(until - timedelta(microseconds=1)) == (since, until)


def test_a_moment_without_a_time_zone_is_a_programmers_mistake(ledger: Ledger) -> None:
    with pytest.raises(Exception, match="without time zone"):
        ledger.heartbeat(NOON.replace(tzinfo=None))
