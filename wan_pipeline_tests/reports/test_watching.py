"""What a look at the ledger sees, on both databases: each job in its period, live and simulated apart, each cause once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from wan_pipeline.money import Money
from wan_pipeline.reports import watching
from wan_pipeline.reports.watching import Watched, watch
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Budgets, Job, JobState
from wan_pipeline_tests.spend.samples import NEW_TAKE, NO_LIMIT, NOON, bought, corrected, request_for, video

USD = Money.usd
DAY = timedelta(days=1)
LATER = NOON + timedelta(hours=6)  # the same day


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    with Ledger.open(ledger_url) as opened:
        yield opened


def look(
    ledger: Ledger, budgets: Budgets = NO_LIMIT, *, simulated: bool = False, now: datetime = LATER, **more: Any
) -> Watched:
    return watch(ledger, budgets, simulated=simulated, now=now, **more)


def told(watched: Watched) -> list[tuple[str, str]]:
    return [(alert.kind, alert.subject) for alert in watched.raised]


def stored(ledger: Ledger, shot: str, billed: str, quoted: str = "10", at: datetime = NOON, **changes: Any) -> Job:
    """Bought, and its video in the bucket."""
    options = changes.pop("options", None)
    request = request_for(shot, shot, quoted_high=USD(quoted), quoted_low=USD("0"), **changes)
    purchase = bought(ledger, request, options, now=at)
    job_id = purchase.job.id
    ledger.mark_accepted(job_id, purchase.attempt_id, f"p-{job_id}", USD(billed), now=at)
    ledger.mark_generated(job_id, "https://cdn.invalid/v.mp4", now=at)
    return ledger.mark_stored(job_id, video(), now=at)


def test_an_empty_ledger_gives_no_cause(ledger: Ledger) -> None:
    watched = look(ledger, Budgets(USD(25), USD(250), USD(5), {"spring": USD(1)}, {"wavespeed": USD(1)}))
    assert told(watched) == []
    assert watched.last_entry == 0


def test_budgets_of_each_sort_are_told_by_what_is_held_and_billed_in_them(ledger: Ledger) -> None:
    stored(ledger, "a", "8", campaign="spring")
    bought(ledger, request_for("b", "b", quoted_high=USD(2)), now=NOON)  # held
    stored(ledger, "sim", "100", "100", simulated=True)
    stored(ledger, "old", "9", at=NOON - DAY)
    budgets = Budgets(USD("12.5"), USD(24), USD(1), {"spring": USD(10), "autumn": USD(1)}, {"wavespeed": USD(24)})

    assert told(look(ledger, budgets)) == [
        ("budget_used", "WAN_CAMPAIGN_BUDGETS_USD (spring) of 10.00 USD"),
        ("budget_used", "WAN_DAILY_BUDGET_USD until 2026-12-06"),
    ]


def test_todays_spend_is_held_against_the_days_before_it(ledger: Ledger) -> None:
    for ago in (1, 3, 5, 8, 14, 15, 16):
        stored(ledger, f"s{ago}", "1" if ago < 15 else "1000", "1000", at=NOON - ago * DAY)
    stored(ledger, "today", "3")
    assert told(look(ledger)) == []
    stored(ledger, "one more", "0.000000001")
    assert told(look(ledger)) == [("usual_spend", "2026-12-05")]
    assert told(look(ledger, now=LATER + timedelta(minutes=1))) == []


def test_money_in_doubt_is_told_by_job_and_cleared_once_it_is_decided(ledger: Ledger) -> None:
    purchase = bought(ledger, request_for("a", "a"), now=NOON)
    ledger.mark_ambiguous(purchase.job.id, purchase.attempt_id, "read timeout", now=NOON)
    assert told(look(ledger, now=NOON + DAY)) == []
    assert told(look(ledger, now=NOON + DAY + timedelta(seconds=1))) == [("ambiguous_money", purchase.job.id)]
    ledger.resolve_not_charged(purchase.job.id, "somebody")
    assert told(look(ledger, now=NOON + 2 * DAY)) == []
    assert ledger.alerts.open(simulated=False) == []


def test_waste_is_told_of_the_month_with_unused_takes_and_without_what_was_refunded(ledger: Ledger) -> None:
    first = stored(ledger, "cat", "1")
    for options in (None, NEW_TAKE):  # no money, and no waste of any
        stored(ledger, "sim", "5", simulated=True, options=options)
    stored(ledger, "dog", "18", "18")
    assert told(look(ledger)) == []
    stored(ledger, "cat", "1", options=NEW_TAKE)
    assert told(look(ledger, with_waste=False)) == []
    watched = look(ledger)
    assert told(watched) == []  # 1 of 20 is 5 %, and not over it
    assert watched.reading.waste is not None
    assert (watched.reading.waste.billed, dict(watched.reading.waste.wasted)) == (USD(20), {"unused": USD(1)})
    purchase = bought(ledger, request_for("bad", "bad", quoted_high=USD(1)), now=NOON)
    ledger.mark_accepted(purchase.job.id, purchase.attempt_id, "p-bad", USD("0.10"), now=NOON)
    ledger.mark_failed(purchase.job.id, "content policy", USD("0.10"), now=NOON)
    assert told(look(ledger)) == [("waste", "2026-12")]
    corrected(ledger, first.id, USD("0.50"), "refund r-1", LATER)
    assert told(look(ledger)) == []
    assert ledger.alerts.open(simulated=False) == [], "nor is it open"


def test_a_bill_over_its_quote_is_seen_when_it_is_written_whichever_month_its_job_is_of(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = stored(ledger, "old", "1", "1", at=NOON - 90 * DAY)
    stored(ledger, "fine", "1", "1")
    watched = look(ledger)
    assert told(watched) == []
    corrected(ledger, old.id, USD("1.000000001"), "invoice line 7")

    watched = look(ledger, after_entry=watched.last_entry)

    assert told(watched) == [("bills_within_quotes", old.id)]
    monkeypatch.setattr(watching, "_LOOK_BACK", 0)
    again = look(ledger, after_entry=watched.last_entry)  # its entry is past
    assert told(again) == []
    assert [alert.subject for alert in ledger.alerts.open(simulated=False)] == [old.id]
    corrected(ledger, old.id, USD(1), "the provider has corrected invoice line 7")
    assert told(look(ledger, after_entry=again.last_entry)) == []
    assert ledger.alerts.open(simulated=False) == []


def test_a_look_that_begins_after_the_last_entry_there_is_begins_anew(ledger: Ledger) -> None:
    """The ledger of before is another one: lost, and rebuilt."""
    dear = stored(ledger, "dear", "2", "1")
    assert told(look(ledger, after_entry=1_000_000)) == [("bills_within_quotes", dear.id)]


def test_the_first_look_sees_this_months_bills(ledger: Ledger) -> None:
    dear = stored(ledger, "dear", "2", "1")
    stored(ledger, "last month", "2", "1", at=NOON - 30 * DAY)
    assert told(look(ledger)) == [("bills_within_quotes", dear.id)]


def test_simulated_money_gives_cause_in_demo_mode_alone(ledger: Ledger) -> None:
    stored(ledger, "sim", "2", "1", simulated=True)
    purchase = bought(ledger, request_for("doubt", "doubt", simulated=True), now=NOON - 2 * DAY)
    ledger.mark_ambiguous(purchase.job.id, purchase.attempt_id, "read timeout", now=NOON - 2 * DAY)
    assert ledger.job(purchase.job.id).state is JobState.AMBIGUOUS
    budgets = Budgets(USD(2), None, None)
    assert told(look(ledger, budgets)) == []
    kinds = [kind for kind, _ in told(look(ledger, budgets, simulated=True))]
    assert kinds == ["ambiguous_money", "bills_within_quotes", "budget_used"]
    assert ledger.alerts.open(simulated=False) == []
