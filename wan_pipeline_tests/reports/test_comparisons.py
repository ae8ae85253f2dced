"""The report against the budgets, against the period before, and the bills against their quotes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.money import Money
from wan_pipeline.reports import CostReport, Period, cost_report, monthly_report, period_report
from wan_pipeline.reports.tables import compared_table
from wan_pipeline.reports.words import percent_change, percent_of, signed
from wan_pipeline.spend.records import Budgets, EntryKind, JobState
from wan_pipeline_tests.reports.ledgers import DAY, LedgerJob, at, ledger_of

BUDGETS = Budgets(
    daily=Money.usd("0.20"),
    monthly=Money.usd(10),
    shot=Money.usd(1),
    campaigns={"spring": Money.usd(2), "autumn": Money.usd(3)},
    providers={"shortapi": Money.usd(5)},
)


def _held(job: LedgerJob, nanos: int) -> LedgerJob:
    return LedgerJob(**{**job.__dict__, "state": JobState.SUBMITTED, "entries": ((EntryKind.HOLD, nanos),)})


def test_each_budget_is_set_against_what_counted_in_it_held_and_billed() -> None:
    other_day = at(days=-5)
    ledger = ledger_of(
        LedgerJob(),
        _held(LedgerJob(shot="b", provider="shortapi"), 100_000_000),
        LedgerJob(shot="c", campaign="autumn", claimed_at=other_day, submitted_at=other_day),
        LedgerJob(shot="d", claimed_at=at(days=-60), submitted_at=at(days=-60)),
        LedgerJob(shot="e", simulated=True),
    )
    day = cost_report(ledger, DAY, budgets=BUDGETS)
    live = {row.name: row for row in day.budgets if not row.simulated}
    used = {name: (row.period, str(row.held), str(row.billed), row.percent) for name, row in live.items()}
    assert used == {
        "WAN_DAILY_BUDGET_USD": ("2026-03-14", "0.10", "0.125", 112),
        "WAN_MONTHLY_BUDGET_USD": ("2026-03", "0.10", "0.25", 3),
        "WAN_CAMPAIGN_BUDGETS_USD (spring)": ("for good", "0.10", "0.25", 17),
        "WAN_CAMPAIGN_BUDGETS_USD (autumn)": ("for good", "0.00", "0.125", 4),
        "WAN_SHORTAPI_MONTHLY_BUDGET_USD": ("2026-03", "0.10", "0.00", 2),
    }
    assert live["WAN_DAILY_BUDGET_USD"].left == Money.usd("-0.025")
    assert {row.billed for row in day.budgets if row.simulated and row.name == "WAN_DAILY_BUDGET_USD"} == {
        Money.usd("0.125")
    }
    month = monthly_report(ledger, DAY, budgets=BUDGETS)
    assert {row.name for row in month.budgets} == {row.name for row in day.budgets} - {"WAN_DAILY_BUDGET_USD"}
    assert "-0.025" in day.to_markdown()
    assert cost_report(ledger, DAY).budgets == ()  # none is set


def test_a_budget_of_nothing_is_shown_without_a_percentage() -> None:
    nothing = Budgets(daily=Money(0), monthly=None, shot=None)
    (row,) = cost_report(ledger_of(LedgerJob()), DAY, budgets=nothing).budgets
    assert (row.percent, row.left) == (None, Money.usd("-0.125"))


@pytest.mark.parametrize(
    ("period", "before", "name"),
    [
        (Period.day(DAY), at(days=-1), "2026-03-13"),
        (Period.month(DAY), datetime(2026, 2, 28, 23, 59, tzinfo=UTC), "2026-02"),
        (Period.day(date(2026, 3, 1)), datetime(2026, 2, 28, 1, tzinfo=UTC), "2026-02-28"),
        (Period.month(date(2026, 1, 9)), datetime(2025, 12, 1, tzinfo=UTC), "2025-12"),
    ],
)
def test_the_period_before_is_the_one_that_ends_where_this_begins(period: Period, before: datetime, name: str) -> None:
    assert period.previous.until == period.since
    now = LedgerJob(shot="now", submitted_at=period.since, entries=((EntryKind.CHARGE, 150),))
    then = LedgerJob(shot="then", submitted_at=before, entries=((EntryKind.CHARGE, 100),))
    report = period_report(ledger_of(now, then), period)
    assert report.previous is not None
    assert report.previous.name == name
    assert report.previous.total(simulated=False).billed == Money(100)
    rows = {row[0]: row[1:] for row in compared_table(report, simulated=False).rows}
    assert rows["billed, USD"] == ("0.00000015", "0.0000001", "+0.00000005", "+50 %")


def test_a_running_day_is_compared_without_percentages_and_says_so() -> None:
    now = datetime.now(UTC)
    ledger = ledger_of(LedgerJob(submitted_at=now), LedgerJob(shot="b", submitted_at=now - timedelta(days=1)))
    table = compared_table(cost_report(ledger, now.date()), simulated=False)
    assert "percent" not in table.headings
    assert "The day is not over" in table.note


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (100, 150, "+50 %"),
        (3, 4, "+33.3 %"),
        (8, 7, "-12.5 %"),
        (5, 5, "0 %"),
        (10_000, 10_001, "0 %"),
        (5, 0, "-100 %"),
        (1, 11, "+1000 %"),
        (1, 12, ""),
        (0, 5, ""),
        (-5, 5, ""),
        (5, -1, ""),
    ],
)
def test_a_percentage_is_shown_where_it_says_something(before: int, after: int, words: str) -> None:
    assert percent_change(before, after) == words
    assert percent_change(Money(before), Money(after)) == words


@given(st.integers(1, 10**15), st.integers(0, 10**15))
def test_a_shown_percentage_is_right_to_its_last_digit(before: int, after: int) -> None:
    words = percent_change(before, after)
    if words:
        shown = round(float(words.removesuffix(" %")) * 10)  # tenths of a percent
        assert abs(shown * before - (after - before) * 1000) * 2 <= before
        assert words.startswith("+") == (shown > 0)
    else:
        assert (after - before) > 10 * before


def test_amounts_keep_their_sign_and_parts_their_whole() -> None:
    assert [signed(Money(5)), signed(Money(-5)), signed(0), signed(1234)] == [
        "+0.000000005",
        "-0.000000005",
        "0",
        "+1,234",
    ]
    assert percent_of(Money(1), Money(8)) == "12 %"
    assert percent_of(Money(1), Money(0)) == percent_of(Money(0), Money(1)) == ""


def _job(charge: int, *, state: JobState = JobState.STORED, basis: str = "reported", refund: int = 0) -> LedgerJob:
    entries = [(EntryKind.CHARGE, charge)] + ([(EntryKind.REFUND, refund)] if refund else [])
    return LedgerJob(
        shot=f"{charge}/{state}", quoted_low=100, quoted_high=200, entries=tuple(entries), state=state, basis=basis
    )


def _told(*jobs: LedgerJob) -> list[tuple[str, int, int]]:
    report = cost_report(ledger_of(*jobs), DAY)
    return [(each.how, each.billed.nanos, each.difference.nanos) for each in report.differences]


def test_a_bill_outside_its_quotes_bounds_is_over_or_under_and_the_largest_comes_first() -> None:
    told = _told(_job(202), _job(99), _job(250), _job(100), _job(200), _job(150), _job(150, basis="quoted"))
    assert told == [("over", 250, 50), ("over", 202, 2), ("under", 99, -1), ("within", 100, -100), ("within", 150, -50)]


def test_what_was_refunded_counts_in_the_bill_and_a_failure_that_cost_nothing_is_no_difference() -> None:
    assert _told(_job(200, refund=150)) == [("under", 50, -50)]
    assert _told(_job(200, refund=200, state=JobState.FAILED), _job(0, state=JobState.FAILED)) == []
    assert _told(_job(200, refund=150, state=JobState.FAILED)) == [("under", 50, -50)]
    assert _told(_job(200, refund=200)) == [("under", 0, -100)]  # a video for nothing
    assert _told(LedgerJob(entries=())) == []  # nobody has said


def test_every_refund_of_the_day_is_listed_with_the_job_it_pays_back() -> None:
    old = LedgerJob(shot="old", submitted_at=at(days=-9), entries=((EntryKind.REFUND, 7, at(days=3), at(5)),))
    new = LedgerJob(shot="new", entries=((EntryKind.REFUND, 9, at(4)),))
    elsewhere = LedgerJob(shot="other", entries=((EntryKind.REFUND, 11, at(6), at(days=1)),))
    report: CostReport = cost_report(ledger_of(old, new, elsewhere), DAY)
    assert [(each.shot, each.amount.nanos, each.at, each.submitted_at) for each in report.refunds] == [
        ("new", 9, at(4), new.moment),
        ("old", 7, at(5), old.moment),
    ]
    assert old.id in report.to_html().decode()
