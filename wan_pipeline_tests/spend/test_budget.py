"""The budgets are hard limits, in UTC, with every hold counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.budget import day_of, month_of
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import (
    Bought,
    BudgetLine,
    Budgets,
    JobState,
    NotBought,
    OverBudget,
    Reused,
    SubmitLimits,
)
from wan_pipeline_tests.spend.samples import (
    COLLECT,
    NEW_TAKE,
    NO_LIMIT,
    NOON,
    PRICE,
    bought,
    expect,
    finish,
    gone,
    job_in,
    request_for,
)

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


def test_a_campaigns_budget_is_for_all_that_is_ever_bought_for_it(ledger: Ledger) -> None:
    budgets = Budgets(None, None, None, {"spring": PRICE * 2, "autumn": PRICE})
    for number in range(2):
        long_ago = NOON - timedelta(days=400 * number)
        expect(Bought, ledger.claim(request_for(f"a{number}", f"a{number}", campaign="spring"), budgets, now=long_ago))
    over = expect(OverBudget, ledger.claim(request_for("b", "b", campaign="spring"), budgets, now=NOON))
    assert over == OverBudget("WAN_CAMPAIGN_BUDGETS_USD (spring)", PRICE * 2, PRICE * 2, PRICE, None)
    for campaign in (None, "autumn", "winter"):
        name = f"for {campaign}"
        expect(Bought, ledger.claim(request_for(name, name, campaign=campaign), budgets, now=NOON))


def test_a_providers_budget_is_for_its_month(ledger: Ledger) -> None:
    budgets = Budgets(None, None, None, {}, {"wavespeed": PRICE, "shortapi": ZERO})
    bought(ledger, request_for("a", "a"), now=NOON - timedelta(days=5))  # in November
    expect(Bought, ledger.claim(request_for("b", "b"), budgets, now=NOON))
    over = expect(OverBudget, ledger.claim(request_for("c", "c"), budgets, now=NOON + timedelta(days=9)))
    until = datetime(2027, 1, 1, tzinfo=UTC)
    assert over == OverBudget("WAN_WAVESPEED_MONTHLY_BUDGET_USD", PRICE, PRICE, PRICE, until)
    expect(OverBudget, ledger.claim(request_for("d", "d", provider="shortapi"), budgets, now=NOON))
    expect(Bought, ledger.claim(request_for("e", "e", provider="aimlapi"), budgets, now=NOON))


def test_of_several_full_budgets_the_one_that_stays_full_the_longest_is_told(ledger: Ledger) -> None:
    bought(ledger, now=NOON)
    wish = request_for("b", "b", campaign="spring")
    month = {"wavespeed": PRICE}
    for budgets, limit in (
        (Budgets(PRICE, None, None, {}, month), "WAN_WAVESPEED_MONTHLY_BUDGET_USD"),
        (Budgets(PRICE, PRICE, None), "WAN_MONTHLY_BUDGET_USD"),
        (Budgets(PRICE, PRICE, None, {"spring": ZERO}, month), "WAN_CAMPAIGN_BUDGETS_USD (spring)"),
        (Budgets(ZERO, PRICE, None, {}, month), "WAN_DAILY_BUDGET_USD"),  # which could never pay for it
    ):
        assert expect(OverBudget, ledger.claim(wish, budgets, now=NOON)).limit == limit


def test_every_budget_that_is_set_shows_what_is_held_spent_and_left(ledger: Ledger) -> None:
    bought(ledger, request_for("a", "a", campaign="spring"), now=NOON - timedelta(days=1))
    spent = bought(ledger, request_for("b", "b", campaign="spring"), now=NOON)
    ledger.mark_accepted(spent.job.id, spent.attempt_id, "p", USD("0.05"), now=NOON)
    bought(ledger, request_for("c", "c", provider="shortapi"), now=NOON)
    budgets = Budgets(USD(1), USD(2), USD(3), {"spring": USD(4), "autumn": USD(5)}, {"shortapi": PRICE - Money(1)})
    january = datetime(2027, 1, 1, tzinfo=UTC)
    lines = ledger.budget_lines(budgets, simulated=False, now=NOON)
    assert lines == [
        BudgetLine("WAN_DAILY_BUDGET_USD", USD(1), PRICE, USD("0.05"), MIDNIGHT),
        BudgetLine("WAN_MONTHLY_BUDGET_USD", USD(2), PRICE * 2, USD("0.05"), january),
        BudgetLine("WAN_CAMPAIGN_BUDGETS_USD (autumn)", USD(5), ZERO, ZERO, None),
        BudgetLine("WAN_CAMPAIGN_BUDGETS_USD (spring)", USD(4), PRICE, USD("0.05"), None),
        BudgetLine("WAN_SHORTAPI_MONTHLY_BUDGET_USD", PRICE - Money(1), PRICE, ZERO, january),
    ]
    assert (lines[0].left, lines[-1].left) == (USD("0.75"), Money(-1))
    assert ledger.budget_lines(NO_LIMIT, simulated=False) == []
    assert {line.held for line in ledger.budget_lines(budgets, simulated=True, now=NOON)} == {ZERO}


# --- a job that waits over midnight with its hold ---


def test_a_job_reserved_yesterday_and_sent_today_counts_today(ledger: Ledger) -> None:
    purchase = bought(ledger, now=NOON)
    ledger.mark_refused(purchase.job.id, purchase.attempt_id, "429", now=NOON)
    budgets = Budgets(PRICE, PRICE, PRICE)  # its own hold is no obstacle to it
    assert isinstance(ledger.begin_attempt(purchase.job.id, None, budgets, now=MIDNIGHT), str)
    assert ledger.budget_use(NOON, simulated=False).day.used == ZERO
    assert ledger.budget_use(MIDNIGHT, simulated=False).day.used == PRICE
    expect(OverBudget, ledger.claim(request_for("b", "b"), Budgets(PRICE, None, None), now=MIDNIGHT))


def test_a_job_reserved_yesterday_for_which_today_has_no_room_is_put_off_and_gives_its_hold_back(
    ledger: Ledger,
) -> None:
    purchase = bought(ledger, now=NOON)
    ledger.mark_refused(purchase.job.id, purchase.attempt_id, "429", now=NOON)
    bought(ledger, request_for("dog", "a dog"), now=MIDNIGHT)
    budgets = Budgets(PRICE, None, None)
    over = ledger.begin_attempt(purchase.job.id, None, budgets, now=MIDNIGHT)
    tomorrow = MIDNIGHT + timedelta(days=1)
    assert over == OverBudget("WAN_DAILY_BUDGET_USD", PRICE, PRICE, PRICE, tomorrow)
    job = ledger.job(purchase.job.id)
    assert (job.state, job.retryable, job.held) == (JobState.REJECTED, True, ZERO)
    assert "WAN_DAILY_BUDGET_USD" in (job.error or "")
    assert expect(Bought, ledger.claim(request_for(), budgets, now=tomorrow)).job.id == job.id


def test_a_job_reserved_today_is_sent_with_the_hold_it_has_however_full_the_day_is(ledger: Ledger) -> None:
    purchase = bought(ledger, now=NOON)
    ledger.mark_refused(purchase.job.id, purchase.attempt_id, "429", now=NOON)
    bought(ledger, request_for("dog", "a dog"), now=NOON)
    assert isinstance(ledger.begin_attempt(purchase.job.id, None, Budgets(ZERO, ZERO, ZERO), now=NOON), str)


def test_what_waits_for_its_provider_over_midnight_moves_only_with_its_sending(ledger: Ledger) -> None:
    purchase = bought(ledger, now=NOON)
    job = ledger.mark_refused(purchase.job.id, purchase.attempt_id, "429", now=NOON)
    ledger.begin_attempt(job.id, SubmitLimits(0, 0), NO_LIMIT, now=MIDNIGHT)
    assert ledger.job(job.id) == job


def test_a_dead_holders_job_of_yesterday_asks_todays_budgets_too(ledger: Ledger, other: Ledger) -> None:
    names = ("a", "b")
    for name in names:
        job = bought(other, request_for(name, name), now=NOON)
        other.mark_refused(job.job.id, job.attempt_id, "429", now=NOON)
    gone(other)
    budgets = Budgets(PRICE, None, None)
    expect(NotBought, ledger.claim(request_for("a", "a"), NO_LIMIT, COLLECT, now=MIDNIGHT))
    expect(Bought, ledger.claim(request_for("a", "a"), budgets, now=MIDNIGHT))
    over = expect(OverBudget, ledger.claim(request_for("b", "b"), budgets, now=MIDNIGHT))
    assert over.until == MIDNIGHT + timedelta(days=1)
    (given_up,) = ledger.jobs(shot="b")
    assert (given_up.state, given_up.retryable, given_up.held) == (JobState.REJECTED, True, ZERO)


# --- what gave no video ---


def test_what_gave_no_video_and_was_billed_is_wasted(ledger: Ledger) -> None:
    job_in(ledger, JobState.STORED, request_for("stored", "stored"))
    job_in(ledger, JobState.LOST, request_for("lost", "lost"))
    job_in(ledger, JobState.FAILED, request_for("failed", "failed"), billed=USD("0.05"))
    job_in(ledger, JobState.FAILED, request_for("free", "free"), billed=ZERO)
    job_in(ledger, JobState.WRITTEN_OFF, request_for("written off", "written off"))
    job_in(ledger, JobState.RELEASED, request_for("released", "released"))
    wasted = ledger.wasted(simulated=False)
    assert (wasted.failed, wasted.lost, wasted.written_off) == (USD("0.05"), PRICE, PRICE)
    assert wasted.total == USD("0.45")
    assert ledger.wasted(simulated=True).total == ZERO
    assert ledger.wasted(simulated=False, since=datetime(2999, 1, 1, tzinfo=UTC)).total == ZERO


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
