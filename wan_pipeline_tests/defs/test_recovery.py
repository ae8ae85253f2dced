"""What a run has left behind is collected by a run that buys nothing, and what it had not come to is taken up again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest

from wan_pipeline.defs import recovery
from wan_pipeline.defs.partitions import SHOTS, add_shots
from wan_pipeline.defs.recovery import Collection, recover
from wan_pipeline.defs.resources import SimulatorResource, WaveSpeedResource
from wan_pipeline.defs.runs_of_shots import RunsOfShots
from wan_pipeline.money import Money
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Bought, Budgets, Job, JobState
from wan_pipeline_tests.defs.interrupted import interrupted_run, submitted
from wan_pipeline_tests.defs.lab import RANGE, Lab, asked_for
from wan_pipeline_tests.spend.samples import request_for

KEYS = ["a/one", "a/three", "a/two", "b"]
PRICE = Money.usd("0.05")
LATER = timedelta(minutes=20)


def _one_at_a_time(lab: Lab) -> None:
    """One job in flight at a time, each for a second."""
    lab.overrides |= {
        "wavespeed": WaveSpeedResource(max_in_flight=1),
        "simulator": SimulatorResource(latency_s="1", render="shared"),
    }


def _collections(lab: Lab, now: datetime | None = None) -> list[Collection]:
    with lab.installation.open() as opened:
        return recover(lab.instance, opened, now or datetime.now(UTC))[0]


def _again(lab: Lab, after: timedelta) -> int:
    with lab.installation.open() as opened:
        return recover(lab.instance, opened, datetime.now(UTC) + after)[1]


def _states(lab: Lab) -> dict[str, str]:
    return {job.shot: str(job.state) for job in lab.jobs()}


# --- collecting ---


def test_what_a_run_left_in_flight_is_collected_by_a_run_over_exactly_those_shots_that_buys_nothing(lab: Lab) -> None:
    lab.put_shots(KEYS)
    lab.overrides["simulator"] = SimulatorResource(latency_s="1", render="shared")
    interrupted_run(lab, KEYS[:2], submitted(2))
    assert _states(lab) == dict.fromkeys(KEYS[:2], "submitted")

    (request,) = lab.recover().run_requests or ()

    assert asked_for([request]) == [(KEYS[0], KEYS[1])]
    assert (request.tags["wan/asked_by"], request.tags["wan/collect_only"]) == ("recovery", "true")
    assert lab.launch(request).success
    assert _states(lab) == dict.fromkeys(KEYS[:2], "stored")
    assert lab.materialized("generated_videos") == set(KEYS[:2])
    assert lab.charged() == lab.billed() == PRICE * 2
    assert not lab.recover().run_requests


def test_shots_that_lie_apart_are_collected_by_runs_of_their_own(lab: Lab) -> None:
    lab.put_shots(KEYS)
    add_shots(lab.instance, KEYS)
    lab.overrides["simulator"] = SimulatorResource(latency_s="1", render="shared")
    for key in (KEYS[0], KEYS[3]):
        interrupted_run(lab, [key], submitted(1))

    requests = lab.recover().run_requests or ()

    assert sorted(asked_for(requests)) == [(KEYS[0], KEYS[0]), (KEYS[3], KEYS[3])]


def _under_way(lab: Lab, tags: Mapping[str, str]) -> None:
    """A run with these tags that has started."""
    job = lab.defs.resolve_job_def("make_videos")
    lab.instance.create_run_for_job(job, tags=dict(tags), status=dg.DagsterRunStatus.STARTED)


def test_a_shot_that_an_unfinished_run_of_ours_covers_gets_no_second_run(lab: Lab) -> None:
    lab.put_shots(KEYS[:2])
    lab.overrides["simulator"] = SimulatorResource(latency_s="1", render="shared")
    interrupted_run(lab, KEYS[:2], submitted(2))
    (request,) = lab.recover().run_requests or ()

    _under_way(lab, {**request.tags, "dagster/run_key": request.run_key or ""})

    assert not lab.recover().run_requests
    assert _collections(lab, datetime.now(UTC) + LATER) == []


def test_a_tick_that_is_repeated_asks_with_the_same_key_and_a_later_try_with_another(lab: Lab) -> None:
    """Dagster launches a key once: a tick whose runs were not launched may be repeated, and a failed run too."""
    lab.put_shots(KEYS[:1])
    lab.overrides["simulator"] = SimulatorResource(latency_s="60", render="shared")
    interrupted_run(lab, KEYS[:1], submitted(1))
    (first,), (same,) = _collections(lab), _collections(lab)
    assert first.request.run_key == same.request.run_key
    (lab.home / "bucket/inbox/_defaults.yaml").rename(lab.home / "gone.yaml")
    interrupted_collection(lab, first.request)

    (later,) = _collections(lab, datetime.now(UTC) + LATER)

    assert later.request.run_key != first.request.run_key
    assert asked_for([later.request]) == asked_for([first.request])


def interrupted_collection(lab: Lab, request: dg.RunRequest) -> None:
    """A run of the recovery sensor that ends without having collected anything."""
    run = lab.instance.create_run_for_job(lab.defs.resolve_job_def("make_videos"), tags=dict(request.tags))
    lab.instance.report_run_failed(run, "the bucket did not answer")


def test_a_failed_collection_is_tried_again_with_growing_waits_and_not_in_each_tick(lab: Lab) -> None:
    lab.put_shots(KEYS[:1])
    lab.overrides["simulator"] = SimulatorResource(latency_s="60", render="shared")
    interrupted_run(lab, KEYS[:1], submitted(1))
    waits: list[timedelta] = []
    for _ in range(5):
        (collection,) = _collections(lab, datetime.now(UTC) + timedelta(hours=1))
        interrupted_collection(lab, collection.request)
        now = datetime.now(UTC)
        tries = RunsOfShots.read(lab.instance, lab.partitions, now).collections
        again = tries.not_before(KEYS[0], recovery.LONGEST_COLLECT_WAIT)
        assert again is not None
        waits.append(again - now)
        assert _collections(lab, again - timedelta(seconds=1)) == []
        assert len(_collections(lab, again)) == 1
    assert waits[0] > timedelta(seconds=5)
    assert all(later > 1.5 * earlier for earlier, later in pairwise(waits)), waits


def test_a_run_that_dagster_wrote_down_and_never_launched_does_not_cover_its_shots_for_long(lab: Lab) -> None:
    """A daemon whose storage goes away in the middle of a tick leaves such runs."""
    add_shots(lab.instance, KEYS)
    tags = dict(zip(RANGE, (KEYS[0], KEYS[0]), strict=True))
    lab.instance.create_run_for_job(lab.defs.resolve_job_def("make_videos"), tags=tags)
    now = datetime.now(UTC)
    assert RunsOfShots.read(lab.instance, KEYS, now).covered == {KEYS[0]}
    assert RunsOfShots.read(lab.instance, KEYS, now + timedelta(minutes=2)).covered == frozenset()


def test_what_is_not_to_be_fetched_yet_is_left_until_then(lab: Lab) -> None:
    lab.put_shots(KEYS[:1])
    lab.overrides["simulator"] = SimulatorResource(latency_s="60", render="shared")
    interrupted_run(lab, KEYS[:1], submitted(1))
    with lab.ledger() as ledger:
        (job,) = ledger.jobs()
        ledger.take_over(job.id)
        ledger.mark_generated(job.id, "http://simulator.invalid/files/x.mp4")
        ledger.mark_fetch_failed(job.id, "503", datetime.now(UTC) + timedelta(minutes=5))

    assert _collections(lab) == []
    assert len(_collections(lab, datetime.now(UTC) + timedelta(minutes=6))) == 1


def test_results_that_expire_first_are_collected_first(lab: Lab) -> None:
    with lab.ledger() as ledger:
        jobs = [_job(ledger, key) for key in KEYS]
    soon, sooner = datetime.now(UTC) + timedelta(hours=2), datetime.now(UTC) + timedelta(hours=1)
    dated = [jobs[0], replace(jobs[1], result_expires_at=soon), jobs[2], replace(jobs[3], result_expires_at=sooner)]
    order = [KEYS[3], "x", KEYS[1], "y", KEYS[0], "z", KEYS[2]]

    runs = RunsOfShots.read(lab.instance, order, datetime.now(UTC))
    collections = recovery.collections_of(dated, order, runs, datetime.now(UTC))

    assert [collection.piece.keys[0] for collection in collections][:2] == [KEYS[3], KEYS[1]]


def _job(ledger: Ledger, shot: str, *, ambiguous: bool = False, simulated: bool = True) -> Job:
    bought = ledger.claim(request_for(shot, shot, simulated=simulated), Budgets(None, None, None))
    assert isinstance(bought, Bought)
    if ambiguous:
        return ledger.mark_ambiguous(bought.job.id, bought.attempt_id, "no answer")
    return ledger.mark_accepted(bought.job.id, bought.attempt_id, f"p-{shot}", None)


def test_an_ambiguous_job_is_looked_for_when_it_is_due_and_one_that_stays_so_is_no_failure(lab: Lab) -> None:
    lab.put_shots(KEYS[:2])
    with lab.ledger() as ledger:
        job = _job(ledger, KEYS[0], ambiguous=True)
        ledger.record_look(job.id, [], datetime.now(UTC) + timedelta(minutes=3))
    assert _collections(lab) == []

    with lab.ledger() as ledger:
        ledger.record_look(job.id, [], datetime.now(UTC))
    (request,) = lab.recover().run_requests or ()

    assert asked_for([request]) == [(KEYS[0], KEYS[0])]
    assert lab.launch(request).success
    (after,) = lab.jobs()
    assert after.state is JobState.AMBIGUOUS
    assert after.looks > 1
    assert after.next_look_at is not None and after.next_look_at > datetime.now(UTC)


def test_what_was_reserved_or_sent_by_a_process_that_is_gone_is_settled(lab: Lab) -> None:
    with lab.ledger() as ledger:
        for shot in ("never sent", "sent"):
            bought = ledger.claim(request_for(shot, shot, simulated=True), Budgets(None, None, None))
            assert isinstance(bought, Bought)
            if shot == "never sent":
                ledger.mark_refused(bought.job.id, bought.attempt_id, "429")

    lab.recover()

    with lab.ledger() as ledger:
        states = {job.shot: job.state for job in ledger.jobs()}
    assert states == {"never sent": JobState.REJECTED, "sent": JobState.AMBIGUOUS}


def test_what_was_bought_for_real_is_not_collected_in_demo_mode(lab: Lab) -> None:
    with lab.ledger() as ledger:
        _job(ledger, "real", simulated=False)
    assert _collections(lab) == []


# --- taking up again ---


def test_what_was_taken_up_and_never_came_to_an_end_is_taken_up_again_once_by_a_run_of_its_own(lab: Lab) -> None:
    lab.put_shots(KEYS)
    first = lab.tick()
    second = lab.tick(first.cursor)  # taken up now; the runs never came
    assert _again(lab, timedelta(seconds=30)) == 0
    assert _again(lab, timedelta(minutes=2)) == 4

    again = lab.tick(second.cursor)

    assert asked_for(again.run_requests) == asked_for(first.run_requests)
    keys = [[request.run_key for request in tick.run_requests or ()] for tick in (first, again)]
    assert keys[0] != keys[1]
    assert not lab.tick(again.cursor).run_requests


def test_what_came_to_an_end_is_not_taken_up_again(lab: Lab) -> None:
    lab.put_shots(KEYS, {"a/three": "[refuse] me"})
    cursor = lab.tick().cursor
    lab.run(KEYS, tags={"wan/asked_by": "sensor"})
    lab.tick(cursor)

    assert _again(lab, timedelta(hours=3)) == 0


def test_what_a_run_under_way_covers_is_not_taken_up_again(lab: Lab) -> None:
    lab.put_shots(KEYS)
    first = lab.tick()
    (request,) = first.run_requests or ()
    lab.tick(first.cursor)
    _under_way(lab, request.tags)

    assert _again(lab, LATER) == 0


def test_what_a_redeployment_kept_from_being_bought_is_taken_up_again_and_what_was_made_is_remembered(
    lab: Lab,
) -> None:
    lab.put_shots(KEYS)
    _one_at_a_time(lab)
    first = lab.tick()
    interrupted_run(lab, KEYS, submitted(2))
    cursor = lab.tick(first.cursor).cursor
    assert sorted(_states(lab).values()) == ["stored", "submitted"]
    assert lab.materialized("generated_videos") == {key for key, state in _states(lab).items() if state == "stored"}
    unbought = [key for key in KEYS if key not in _states(lab)]

    for request in lab.recover().run_requests or ():
        assert lab.launch(request).success
    assert _again(lab, LATER) == 2
    for request in lab.tick(cursor).run_requests or ():
        assert set(unbought) >= {request.tags[RANGE[0]], request.tags[RANGE[1]]}
        assert lab.launch(request).success

    assert _states(lab) == dict.fromkeys(KEYS, "stored")
    assert lab.charged() == lab.billed() == PRICE * 4


def test_what_a_person_terminated_is_collected_where_it_is_in_flight_and_not_bought_by_itself(lab: Lab) -> None:
    lab.put_shots(KEYS)
    _one_at_a_time(lab)
    first = lab.tick()
    interrupted_run(lab, KEYS, submitted(1), terminated=True)
    cursor = lab.tick(first.cursor).cursor
    (in_flight,) = (shot for shot, state in _states(lab).items() if state == "submitted")

    (request,) = lab.recover().run_requests or ()
    assert asked_for([request]) == [(in_flight, in_flight)]
    assert lab.launch(request).success

    assert lab.materialized("generated_videos") == {in_flight}
    assert _again(lab, LATER) == 0
    assert not lab.tick(cursor).run_requests
    assert lab.run(KEYS).success  # a person asks for them
    assert lab.charged() == PRICE * 4


# --- runs whose process is gone ---

KILLED = """
import sys
from pathlib import Path
import dagster as dg
from wan_pipeline.defs.resources import SimulatorResource
from wan_pipeline_tests.defs.lab import Lab
home, dagster_home, *keys = sys.argv[1:]
with dg.DagsterInstance.local_temp(dagster_home, overrides={"telemetry": {"enabled": False}}) as instance:
    lab = Lab(Path(home), instance)
    lab.overrides["simulator"] = SimulatorResource(latency_s="3", render="shared")
    lab.run(keys, tags={"wan/asked_by": "sensor"})
"""


def _killed_run(lab: Lab, tmp_path: Path, keys: Sequence[str]) -> dg.DagsterRun:
    """A run in a process of its own, killed with its jobs in flight."""
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(lab.home), str(tmp_path / "dagster"), *keys]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        while {job.state for job in lab.jobs()} != {JobState.SUBMITTED} or len(lab.jobs()) < len(keys):
            assert process.poll() is None, "the run has ended before it could be killed"
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    return lab.instance.get_runs(limit=1)[0]


def test_a_run_whose_process_was_killed_is_told_as_failed_and_its_videos_are_collected(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.defs.lost_runs._SURE_AFTER", timedelta(0))
    lab.put_shots(KEYS[:2])
    run = _killed_run(lab, tmp_path, KEYS[:2])
    assert run.status is dg.DagsterRunStatus.STARTED

    result = lab.recover()

    ended = lab.instance.get_run_by_id(run.run_id)
    assert ended is not None and ended.status is dg.DagsterRunStatus.FAILURE
    (request,) = result.run_requests or ()
    assert lab.launch(request).success
    assert _states(lab) == dict.fromkeys(KEYS[:2], "stored")
    assert lab.charged() == lab.billed() == PRICE * 2


def test_a_run_is_told_as_failed_only_when_it_is_still_without_a_process_in_a_later_tick(
    lab: Lab, tmp_path: Path
) -> None:
    """A run that ends in order lets its mark go a moment before Dagster writes down its end."""
    lab.put_shots(KEYS[:1])
    run = _killed_run(lab, tmp_path, KEYS[:1])

    first = lab.recover()

    seen = lab.instance.get_run_by_id(run.run_id)
    assert seen is not None and seen.status is dg.DagsterRunStatus.STARTED
    assert run.run_id in (first.cursor or "")
    long_ago = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    lab.recover(recovery.Cursor({run.run_id: datetime.fromisoformat(long_ago)}).write())
    ended = lab.instance.get_run_by_id(run.run_id)
    assert ended is not None and ended.status is dg.DagsterRunStatus.FAILURE


def test_a_run_under_way_is_left_alone(lab: Lab) -> None:
    """From within: its process is this one, and lives."""
    lab.put_shots(KEYS[:1])
    ticked: list[str] = []

    def tick(event: object) -> None:
        if not ticked:
            ticked.append(lab.recover().cursor or "")

    from wan_pipeline.generation.listeners import subscribe

    with subscribe(tick):
        assert lab.run(KEYS[:1]).success
    assert '"suspects":{}' in ticked[0]


def test_a_run_on_another_host_is_judged_by_its_heartbeat(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wan_pipeline.defs.lost_runs._SURE_AFTER", timedelta(0))
    from wan_pipeline_tests.spend.samples import elsewhere

    def status(beat_ago: timedelta) -> dg.DagsterRunStatus:
        run = lab.instance.create_run_for_job(lab.defs.resolve_job_def("make_videos"))
        lab.instance.report_dagster_event(
            dg.DagsterEvent(event_type_value="PIPELINE_START", job_name="make_videos"), run.run_id
        )
        far = Ledger.open(lab.installation.load_settings().ledger_url, owner=elsewhere())
        owner = far.register_owner()
        far.heartbeat(datetime.now(UTC) - beat_ago)
        lab.instance.add_run_tags(run.run_id, {"wan_owner": owner})
        lab.recover()
        ended = lab.instance.get_run_by_id(run.run_id)
        assert ended is not None
        return ended.status

    assert status(timedelta(seconds=5)) is dg.DagsterRunStatus.STARTED
    assert status(timedelta(minutes=10)) is dg.DagsterRunStatus.FAILURE


# --- the cursor ---


@pytest.mark.parametrize("cursor", ["", "{}", "nonsense", "[1]", '{"suspects": 3}', '{"suspects": {"a": "b"}}'])
def test_a_cursor_that_somebody_has_edited_loses_nothing(lab: Lab, cursor: str) -> None:
    lab.put_shots(KEYS[:1])
    lab.overrides["simulator"] = SimulatorResource(latency_s="1", render="shared")
    interrupted_run(lab, KEYS[:1], submitted(1))

    assert len(lab.recover(cursor).run_requests or ()) == 1


def test_a_tick_with_nothing_to_do_says_so(lab: Lab) -> None:
    lab.put_shots(KEYS[:1])
    lab.run(KEYS[:1])
    result = lab.recover()
    assert not result.run_requests
    assert "nothing is left behind" in str(result.skip_reason)
    assert lab.instance.get_dynamic_partitions(SHOTS) == KEYS[:1]
