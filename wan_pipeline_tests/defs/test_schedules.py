"""What the clock brings: shots whose time has come, once; and yesterday's report."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

import dagster as dg

from wan_pipeline.defs.schedules import daily_cost_report, monthly_cost_report
from wan_pipeline.defs.take_up import update_index
from wan_pipeline_tests.defs.lab import RANGE, Lab, asked_for

KEYS = ["a/one", "a/two", "b", "c"]


def _wait_for(lab: Lab, moments: dict[str, datetime]) -> str:
    """An inbox in which these shots have their moments, seen by the sensor a day ago; gives the sensor's cursor now."""
    lab.put_shots(KEYS)
    for key, moment in moments.items():
        lab.put(f"inbox/{key}.yaml", f"not_before: {moment.isoformat()}\n")
    with lab.installation.open() as opened:
        update_index(opened.ledger.index, opened.discover(), datetime.now(UTC) - timedelta(days=1), simulated=True)
    return lab.tick().cursor or ""


def test_a_shot_is_asked_for_when_its_time_has_come_and_neither_before_nor_twice(lab: Lab) -> None:
    now = datetime.now(UTC)
    moments = {"a/one": now - timedelta(minutes=1), "a/two": now - timedelta(minutes=1), "b": now + timedelta(days=1)}
    _wait_for(lab, moments)

    requests = lab.due()
    assert asked_for(requests) == [("a/one", "a/two")]
    assert requests[0].tags["wan/asked_by"] == "schedule"

    # A tick while the run waits in the queue: the same key, so that there is no second run.
    lab.instance.create_run_for_job(
        lab.defs.resolve_job_def("make_videos"), tags={**requests[0].tags, "dagster/run_key": requests[0].run_key or ""}
    )
    assert lab.due() == []
    assert lab.due() == []


def test_sensor_and_schedule_never_ask_for_the_same_shot(lab: Lab) -> None:
    now = datetime.now(UTC)
    moments = {"a/one": now - timedelta(minutes=1), "a/two": now - timedelta(days=9), "b": now + timedelta(days=1)}
    lab.put_shots(KEYS)
    cursor = _wait_for(lab, moments)

    assert asked_for(lab.due()) == [("a/one", "a/one")]
    assert asked_for(lab.tick(cursor).run_requests) == []  # it has asked for a/two and c in the tick before


def test_a_due_shot_is_made_by_its_run(lab: Lab) -> None:
    _wait_for(lab, {"b": datetime.now(UTC) - timedelta(minutes=1)})
    (request,) = lab.due()

    assert lab.run(["b"], tags=request.tags).success
    assert lab.materialized("generated_videos") == {"b"}
    assert lab.due() == []


def test_a_person_cannot_have_a_shot_before_its_time_and_it_is_still_made_then(lab: Lab) -> None:
    lab.put_shots(KEYS)
    lab.put("inbox/b.yaml", f"not_before: {(datetime.now(UTC) + timedelta(hours=1)).isoformat()}\n")
    lab.tick()

    result = lab.run(["b"])

    assert "b: not due: not before" in lab.failure(result)
    assert lab.jobs() == []
    with lab.ledger() as ledger:
        assert ledger.index.load()["b"].taken_up_version is None


def test_the_daily_report_is_that_of_the_day_before_the_tick(lab: Lab) -> None:
    moment = datetime(2026, 3, 1, 0, 30, tzinfo=UTC)
    with dg.build_schedule_context(lab.instance, scheduled_execution_time=moment) as context:
        request = cast(dg.RunRequest, daily_cost_report(context))

    assert request.partition_key == "2026-02-28"
    assert RANGE[0] not in request.tags


def test_the_monthly_report_is_that_of_yesterdays_month_and_made_anew_each_day(lab: Lab) -> None:
    requests = []
    for moment in (datetime(2026, 3, 1, 0, 45, tzinfo=UTC), datetime(2026, 3, 2, 0, 45, tzinfo=UTC)):
        with dg.build_schedule_context(lab.instance, scheduled_execution_time=moment) as context:
            requests.append(cast(dg.RunRequest, monthly_cost_report(context)))

    assert [request.partition_key for request in requests] == ["2026-02", "2026-03"]
    assert len({request.run_key for request in requests}) == 2
