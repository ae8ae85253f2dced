"""Which runs are told as failed for want of a process: not one that has let its mark go and goes on, or has just ended."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from wan_pipeline.defs import failures, lost_runs
from wan_pipeline.defs.resources import OpenInstallation
from wan_pipeline_tests.defs.lab import Lab

KEYS = ["a"]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_runs, "_SURE_AFTER", timedelta(0))


def _status(lab: Lab, run_id: str) -> dg.DagsterRunStatus:
    run = lab.instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_run_whose_op_waits_to_be_tried_again_is_not_taken_for_killed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "RETRY_WAITS_S", [4.0])
    lab.put_shots(KEYS)
    tried: list[bool] = []

    def check(self: OpenInstallation) -> None:
        tried.append(True)
        if len(tried) == 1:
            raise ConnectionResetError("the bucket is away for a moment")

    monkeypatch.setattr(OpenInstallation, "check", check)
    seen: list[dg.DagsterRunStatus] = []

    def recover_meanwhile() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end and not seen:
            for run in lab.instance.get_runs(limit=1):
                up = dg.DagsterEventType.STEP_UP_FOR_RETRY
                if lab.instance.get_records_for_run(run.run_id, of_type=up).records:
                    lab.recover()
                    seen.append(_status(lab, run.run_id))
            time.sleep(0.05)

    thread = threading.Thread(target=recover_meanwhile)
    thread.start()
    result = lab.run(KEYS)
    thread.join()

    assert len(tried) == 2
    assert seen == [dg.DagsterRunStatus.STARTED]
    assert result.success


@pytest.mark.parametrize(("ago", "ended"), [(timedelta(seconds=5), False), (timedelta(minutes=5), True)])
def test_a_run_that_let_its_mark_go_and_was_killed_then_is_told_as_failed_some_time_later(
    lab: Lab, ago: timedelta, ended: bool
) -> None:
    run = lab.instance.create_run_for_job(lab.defs.resolve_job_def("make_videos"))
    started = dg.DagsterEvent(event_type_value="PIPELINE_START", job_name="make_videos")
    lab.instance.report_dagster_event(started, run.run_id)
    with lab.ledger() as ledger:
        lab.instance.add_run_tags(run.run_id, {"wan_owner": ledger.register_owner()})
        ledger.release_owner(datetime.now(UTC) - ago)

    lab.recover()

    wanted = dg.DagsterRunStatus.FAILURE if ended else dg.DagsterRunStatus.STARTED
    assert _status(lab, run.run_id) is wanted
