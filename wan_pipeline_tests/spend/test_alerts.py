"""Alerts: each kind and subject is raised once for good, over all processes; and sent by one process at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from wan_pipeline.spend.ledger import Ledger
from wan_pipeline_tests.spend.samples import NOON

KINDS = ("budget_used", "waste")
FULL = ("budget_used", "WAN_DAILY_BUDGET_USD until 2026-12-06", "84 % used")
WASTE = ("waste", "2026-12", "7 % wasted")
MINUTE = timedelta(minutes=1)


def settle(ledger: Ledger, *causes: tuple[str, str, str], at: timedelta = timedelta()) -> list[str]:
    """The subjects that were raised."""
    return [alert.subject for alert in ledger.alerts.settle(KINDS, causes, simulated=False, now=NOON + at)]


def test_a_cause_that_stands_is_raised_once_over_many_looks(ledger: Ledger) -> None:
    raised = [settle(ledger, FULL, WASTE, at=number * MINUTE) for number in range(5)]
    assert raised == [["WAN_DAILY_BUDGET_USD until 2026-12-06", "2026-12"], [], [], [], []]
    assert [(alert.kind, alert.raised_at) for alert in ledger.alerts.open(simulated=False)] == [
        ("waste", NOON),
        ("budget_used", NOON),
    ]


def test_what_has_no_cause_any_more_is_cleared_and_what_comes_back_is_open_and_not_told_again(ledger: Ledger) -> None:
    settle(ledger, FULL, WASTE)
    assert settle(ledger, WASTE, at=MINUTE) == []
    assert [alert.kind for alert in ledger.alerts.open(simulated=False)] == ["waste"]
    assert {alert.kind: alert.cleared_at for alert in ledger.alerts.all(simulated=False)} == {
        "waste": None,
        "budget_used": NOON + MINUTE,
    }
    ledger.alerts.mark_sent([alert.id for alert in ledger.alerts.all(simulated=False)], NOON)

    assert settle(ledger, FULL, WASTE, at=2 * MINUTE) == []

    assert [alert.kind for alert in ledger.alerts.open(simulated=False)] == ["waste", "budget_used"]
    assert ledger.alerts.unsent(NOON + 3 * MINUTE, simulated=False) == []


def test_kinds_that_were_not_looked_at_are_left_as_they_are(ledger: Ledger) -> None:
    settle(ledger, FULL, WASTE)
    ledger.alerts.settle(["budget_used"], [], simulated=False, now=NOON)
    assert [alert.kind for alert in ledger.alerts.open(simulated=False)] == ["waste"]
    with pytest.raises(ValueError, match="not looked at: waste"):
        ledger.alerts.settle(["budget_used"], [WASTE], simulated=False)


def test_live_and_simulated_alerts_are_apart(ledger: Ledger) -> None:
    settle(ledger, FULL)
    assert len(ledger.alerts.settle(KINDS, [FULL], simulated=True, now=NOON)) == 1
    ledger.alerts.settle(KINDS, [], simulated=True, now=NOON)
    assert [alert.simulated for alert in ledger.alerts.open(simulated=False)] == [False]
    assert ledger.alerts.open(simulated=True) == []


def test_processes_that_look_at_once_raise_each_once(ledger_url: str) -> None:
    causes = [("waste", f"2026-{month:02}", "much") for month in range(1, 13)]

    def look(_: int) -> list[str]:
        with Ledger.open(ledger_url) as mine:
            return settle(mine, *causes)

    with ThreadPoolExecutor(6) as threads:
        raised = [subject for subjects in threads.map(look, range(6)) for subject in subjects]
    assert sorted(raised) == [subject for _, subject, _ in causes]


def test_one_process_alone_may_send_an_alert_until_its_time_is_over(ledger: Ledger, other: Ledger) -> None:
    settle(ledger, FULL, WASTE)
    ids = [alert.id for alert in ledger.alerts.unsent(NOON, simulated=False)]
    assert ledger.alerts.take(ids, NOON, NOON + MINUTE) == ids
    assert other.alerts.take(ids, NOON, NOON + MINUTE) == []
    assert other.alerts.unsent(NOON, simulated=False) == []

    after = NOON + 2 * MINUTE  # nobody has said what became of them: that process is dead
    assert [alert.id for alert in other.alerts.unsent(after, simulated=False)] == ids
    assert other.alerts.take(ids, after, after + MINUTE) == ids
    other.alerts.mark_sent(ids[:1], after)
    other.alerts.mark_unsent(ids[1:], "HTTP 503", after + 5 * MINUTE)

    assert ledger.alerts.take(ids, after + 4 * MINUTE, after + 5 * MINUTE) == []
    assert [alert.id for alert in ledger.alerts.unsent(after + 5 * MINUTE, simulated=False)] == ids[1:]
    (failing,) = ledger.alerts.failing(simulated=False)
    assert (failing.id, failing.error, failing.tries) == (ids[1], "HTTP 503", 2)


def test_many_takers_at_once_share_the_alerts_without_one_being_sent_twice(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        settle(ledger, *(("waste", f"{year}-01", "much") for year in range(2000, 2040)))
        ids = [alert.id for alert in ledger.alerts.unsent(NOON, simulated=False)]

    def take(_: int) -> list[int]:
        with Ledger.open(ledger_url) as mine:
            return [one for each in ids for one in mine.alerts.take([each], NOON, NOON + MINUTE)]

    with ThreadPoolExecutor(4) as threads:
        taken = [one for found in threads.map(take, range(4)) for one in found]
    assert sorted(taken) == sorted(ids)


def test_whoever_sets_up_a_webhook_late_is_not_told_of_what_was_over_long_before(ledger: Ledger) -> None:
    settle(ledger, FULL, WASTE)
    settle(ledger, WASTE, at=MINUTE)
    soon, late = NOON + timedelta(hours=1), NOON + timedelta(days=2)
    assert [alert.kind for alert in ledger.alerts.unsent(soon, simulated=False)] == ["budget_used", "waste"]
    assert [alert.kind for alert in ledger.alerts.unsent(late, simulated=False)] == ["waste"]
