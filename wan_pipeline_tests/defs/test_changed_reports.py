"""Reports of past days that are not true any more are made anew, each change once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import cast

import dagster as dg
import pytest

from wan_pipeline.bucket import open_bucket
from wan_pipeline.defs.changed_reports import MOST_DAYS, Cursor, changed_reports
from wan_pipeline.money import Money
from wan_pipeline.reports import Period, make
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import EntryKind
from wan_pipeline.spend.tables import jobs
from wan_pipeline_tests.defs.lab import RANGE, Lab
from wan_pipeline_tests.reports.ledgers import DAY, LedgerJob, add_take, append, at, write

NAME = DAY.isoformat()


def _tick(lab: Lab, cursor: str | None = None) -> dg.SensorResult:
    resources = {"installation": lab.installation}
    with dg.build_sensor_context(lab.instance, cursor, resources=resources, definitions=lab.defs) as context:
        return cast(dg.SensorResult, changed_reports(context))


def _asked(result: dg.SensorResult) -> list[tuple[str | None, str, str]]:
    requests = cast("list[dg.RunRequest]", result.run_requests or [])
    return [(request.job_name, request.tags[RANGE[0]], request.tags[RANGE[1]]) for request in requests]


def _keys(result: dg.SensorResult) -> list[str | None]:
    return [request.run_key for request in cast("list[dg.RunRequest]", result.run_requests or [])]


def _publish(lab: Lab, ledger: Ledger, *periods: Period) -> None:
    for period in periods:
        make(ledger.engine, open_bucket(str(lab.bucket)), period)


def _change(ledger: Ledger, job: LedgerJob, *entry: object) -> None:
    """As the ledger does it: an entry, and the job's row with it, now."""
    now = datetime.now(UTC) + timedelta(seconds=10)
    append(ledger.engine, [(job.id, *entry, now)] if len(entry) == 2 else [(job.id, *entry[:2], now, entry[2])])
    with ledger.engine.begin() as connection:
        connection.execute(jobs.update().where(jobs.c.id == job.id).values(updated_at=now))


@pytest.fixture
def ledger(lab: Lab) -> Ledger:
    return lab.ledger()


def test_a_late_correction_has_its_day_and_its_month_made_anew_once_and_they_say_so(lab: Lab, ledger: Ledger) -> None:
    job = LedgerJob(simulated=True)
    write(ledger.engine, job)
    _publish(lab, ledger, Period.day(DAY), Period.month(DAY))
    quiet = _tick(lab)
    assert _asked(quiet) == []

    _change(ledger, job, EntryKind.ADJUSTMENT, -1)
    result = _tick(lab, quiet.cursor)
    assert _asked(result) == [("daily_report", NAME, NAME), ("monthly_report", "2026-03", "2026-03")]
    again = _tick(lab, result.cursor)  # it was asked for, and is not made yet
    assert _keys(again) == _keys(result)

    for request in cast("list[dg.RunRequest]", result.run_requests):
        tags = {**request.tags, "dagster/run_key": request.run_key or ""}
        job_def = lab.defs.resolve_job_def(request.job_name or "")
        assert job_def.execute_in_process(instance=lab.instance, tags=tags).success
    shown = lab.materialization("cost_reports", NAME).metadata
    assert "-0.000000001" in str(shown["changed"].value)
    assert job.id in str(shown["changed_by"].value)
    assert shown["sim_billed_usd"].value == str(Money(124_999_999))
    assert "changed" in lab.materialization("monthly_cost_reports", "2026-03").metadata


def test_a_report_that_is_younger_than_the_change_is_left_alone(lab: Lab, ledger: Ledger) -> None:
    job = LedgerJob(simulated=True)
    write(ledger.engine, job)
    _publish(lab, ledger, Period.day(DAY))
    seen = _tick(lab).cursor
    before = Cursor.read(seen)
    now = datetime.now(UTC) - timedelta(seconds=30)
    waiting = Cursor(before.since, {DAY: now})
    result = _tick(lab, waiting.write())
    assert _asked(result) == []
    assert Cursor.read(result.cursor).waiting == {}


def test_a_refund_has_the_day_made_anew_on_which_it_took_place_too(lab: Lab, ledger: Ledger) -> None:
    job = LedgerJob(simulated=True)
    write(ledger.engine, job)
    days = [Period.day(DAY), Period.day(at(days=4).date()), Period.day(at(days=5).date())]
    _publish(lab, ledger, *days)
    _change(ledger, job, EntryKind.REFUND, 5, at(days=4))
    assert _asked(_tick(lab)) == [
        ("daily_report", NAME, NAME),
        ("daily_report", days[1].name, days[1].name),
    ]


@pytest.mark.parametrize("reused", [False, True])
def test_a_new_video_has_the_day_made_anew_whose_take_it_replaces(lab: Lab, ledger: Ledger, reused: bool) -> None:
    now = datetime.now(UTC) + timedelta(seconds=10)
    old = LedgerJob(simulated=True, shot="spring/cat")
    made_at = at() if reused else now
    new = LedgerJob(simulated=True, shot="other", claimed_at=now, submitted_at=now, updated_at=made_at, own_take=reused)
    write(ledger.engine, old, new)
    _publish(lab, ledger, Period.day(DAY))
    assert _asked(_tick(lab)) == []
    with ledger.engine.begin() as connection:
        add_take(connection, "spring/cat", 2, new, reused=reused)
    assert _asked(_tick(lab)) == [("daily_report", NAME, NAME)]


def test_what_has_no_report_today_and_what_is_to_come_by_itself_is_not_asked_for(lab: Lab, ledger: Ledger) -> None:
    now = datetime.now(UTC)
    write(
        ledger.engine, LedgerJob(simulated=True, updated_at=now), LedgerJob(simulated=True, shot="b", submitted_at=now)
    )
    _publish(lab, ledger, Period.day(now.date()), Period.month(now.date()))
    result = _tick(lab)
    assert _asked(result) == []
    assert Cursor.read(result.cursor).waiting == {}


def test_a_correction_of_very_many_days_is_spread_over_ticks_and_none_is_forgotten(lab: Lab, ledger: Ledger) -> None:
    days = [at(days=number) for number in range(MOST_DAYS + 9)]
    made = [
        LedgerJob(simulated=True, shot=f"s{n}", submitted_at=day, claimed_at=day, updated_at=datetime.now(UTC))
        for n, day in enumerate(days)
    ]
    write(ledger.engine, *made)
    old = json.dumps({"as_of": "2026-06-01T00:00:00Z"})
    for day in days:
        lab.put(f"{Period.day(day.date()).key}.json", old)
    first = _tick(lab)
    assert _asked(first) == [("daily_report", NAME, days[MOST_DAYS - 1].date().isoformat())]
    assert len(Cursor.read(first.cursor).waiting) == MOST_DAYS + 9
    newer = json.dumps({"as_of": (datetime.now(UTC) + timedelta(minutes=1)).isoformat()})
    for day in days[:MOST_DAYS]:
        lab.put(f"{Period.day(day.date()).key}.json", newer)
    second = _tick(lab, first.cursor)
    assert _asked(second) == [
        ("daily_report", days[MOST_DAYS].date().isoformat(), days[-1].date().isoformat()),
    ]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"since": 5}', '{"waiting": {"x": "y"}}', '{"waiting": []}'])
def test_a_cursor_that_was_edited_is_begun_anew(text: str) -> None:
    assert Cursor.read(text) == Cursor()


def test_a_cursor_reads_back_as_it_was_written() -> None:
    cursor = Cursor(at(1), {DAY: at(2)})
    assert Cursor.read(cursor.write()) == cursor
