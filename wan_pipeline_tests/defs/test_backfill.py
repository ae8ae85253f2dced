"""The real daemon and webserver: run, backfill and catalog say the same of what was made, and a retry buys one.

The instance's `run_retries` are on, though ours are off: nothing that is tested here may be the worse for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from wan_pipeline.generation.outlook import outlook
from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.records import OPEN_STATES, Bought, Budgets, JobState
from wan_pipeline_tests.defs.dagster_dev import DagsterDev, dagster_dev, until, with_run_retries
from wan_pipeline_tests.defs.lab import Lab
from wan_pipeline_tests.spend.samples import request_for

SHOTS = [f"spring/{number:02d}" for number in range(20)]
REFUSED = SHOTS[7]
ALL = ["source_images", "shot_quotes", "generated_videos"]
PRICE = Money.usd("0.05")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("installation")


@pytest.fixture(scope="module")
def lab(home: Path) -> Iterator[Lab]:
    with dg.DagsterInstance.ephemeral() as unused:  # what runs here runs in the processes of `dagster dev`
        lab = Lab(home, unused)
        lab.put_shots(SHOTS, {REFUSED: "[refuse] this"})
        yield lab


@pytest.fixture(scope="module")
def dev(home: Path) -> Iterator[DagsterDev]:
    # The sensor takes up nothing within the hour: only what the test asks for runs.
    variables = {"WAN_SETTLE_SECONDS": "3600", "WAN_SIMULATOR_RENDER": "shared", "WAN_SIMULATOR_LATENCY": "4"}
    variables["WAN_CAMPAIGN_BUDGETS_USD"] = "tiny=0.01"
    with dagster_dev(home, variables, with_run_retries) as dev:
        yield dev


def _counts(backfill: dict, asset: str) -> tuple[int, int, int]:
    statuses = backfill["assetBackfillData"]["assetBackfillStatuses"]
    found = next(status for status in statuses if status["assetKey"]["path"] == [asset])
    return found["numPartitionsTargeted"], found["numPartitionsMaterialized"], found["numPartitionsFailed"]


def test_a_backfill_of_quotes_buys_nothing_and_shows_the_total(lab: Lab, dev: DagsterDev) -> None:
    dev.add_partitions(SHOTS)

    backfill = dev.wait_for_backfill(dev.backfill(["shot_quotes"], SHOTS))

    assert backfill["status"] == "COMPLETED_SUCCESS"
    assert _counts(backfill, "shot_quotes") == (20, 20, 0)
    (run,) = backfill["runs"]
    assert {"key": "wan/quoted_usd", "value": "1.00"} in run["tags"]
    assert lab.jobs() == []
    assert lab.charged() == ZERO


def test_one_refused_shot_of_twenty_is_one_failure_everywhere_and_its_retry_buys_one(lab: Lab, dev: DagsterDev) -> None:
    dev.add_partitions(SHOTS)
    first = dev.backfill(ALL, SHOTS)
    backfill = dev.wait_for_backfill(first)

    assert backfill["status"] == "COMPLETED_FAILED"
    assert [run["status"] for run in backfill["runs"]] == ["FAILURE"]
    assert _counts(backfill, "generated_videos") == (20, 19, 1)
    assert _counts(backfill, "shot_quotes") == (20, 20, 0)
    shown = {"numMaterialized": 19, "numFailed": 1, "numMaterializing": 0, "numPartitions": 20}
    assert dev.catalog("generated_videos") == shown
    assert dev.catalog("shot_quotes") == shown | {"numMaterialized": 20, "numFailed": 0}
    states = {job.shot: job.state for job in lab.jobs()}
    assert states == dict.fromkeys(SHOTS, JobState.STORED) | {REFUSED: JobState.REJECTED}
    assert lab.charged() == lab.billed() == PRICE * 19
    # The daemon that retries runs has seen it, and leaves it alone.
    (run,) = backfill["runs"]
    until(lambda: any("Not retrying run" in text for text in dev.messages(run["runId"])), dev.log)
    (refused,) = [job for job in lab.jobs() if job.shot == REFUSED]
    with lab.ledger() as ledger:
        assert len(ledger.attempts(refused.id)) == 1

    lab.put(f"inbox/{REFUSED}.yaml", "prompt: A better prompt.\n")
    retried = dev.wait_for_backfill(dev.retry(first))

    assert retried["status"] == "COMPLETED_SUCCESS"
    assert _counts(retried, "generated_videos") == (1, 1, 0)
    assert dev.catalog("generated_videos") == shown | {"numMaterialized": 20, "numFailed": 0}
    assert lab.charged() == lab.billed() == PRICE * 20


def test_a_terminated_run_buys_no_more_and_what_is_in_flight_is_collected_by_the_next(
    lab: Lab, dev: DagsterDev
) -> None:
    lab.put("inbox/late.jpg", (lab.bucket / f"inbox/{SHOTS[0]}.jpg").read_bytes())
    lab.put("inbox/late.yaml", "prompt: Later.\n")
    before = lab.charged()
    dev.add_partitions(["late"])
    backfill = dev.backfill(ALL, ["late"])

    def submitted() -> str | None:
        return next((job.run_id for job in lab.jobs() if job.shot == "late" and job.state is JobState.SUBMITTED), None)

    run = until(submitted, dev.log)
    dev.terminate(run)
    until(lambda: dev.run_status(run) == "CANCELED", dev.log)
    (job,) = [job for job in lab.jobs() if job.shot == "late"]
    assert job.state in OPEN_STATES
    dev.wait_for_backfill(backfill)

    again = dev.wait_for_backfill(dev.backfill(ALL, ["late"]))

    assert again["status"] == "COMPLETED_SUCCESS"
    (collected,) = [job for job in lab.jobs() if job.shot == "late"]
    assert (collected.id, collected.state) == (job.id, JobState.STORED)
    assert lab.charged() == lab.billed() == before + PRICE


def test_a_backfill_with_a_deferred_shot_ends_and_shows_it_as_not_done(lab: Lab, dev: DagsterDev) -> None:
    """The run succeeds and says what waits. Dagster ends a backfill whose runs have left something out, as failed: its
    retry asks for that alone. Meanwhile due_shots makes it when there is room."""
    shots = ["tiny/fits", "tiny/waits"]
    for shot in shots:
        lab.put(f"inbox/{shot}.jpg", (lab.bucket / f"inbox/{SHOTS[0]}.jpg").read_bytes())
    lab.put("inbox/tiny/fits.yaml", "prompt: Tiny, one.\n")
    lab.put("inbox/tiny/waits.yaml", "prompt: Tiny, two.\ncampaign: tiny\n")
    dev.add_partitions(shots)

    backfill = dev.wait_for_backfill(dev.backfill(ALL, shots))

    (run,) = backfill["runs"]
    assert run["status"] == "SUCCESS"
    assert any("tiny/waits: WAN_CAMPAIGN_BUDGETS_USD (tiny) is 0.01 USD" in text for text in dev.messages(run["runId"]))
    assert backfill["status"] == "COMPLETED_FAILED"
    assert _counts(backfill, "generated_videos") == (2, 1, 1)
    with lab.ledger() as ledger:
        assert [each.shot for each in ledger.deferrals.load(simulated=True)] == ["tiny/waits"]


def _word(job: str, decision: str, **more: str) -> dict:
    return {"ops": {"decide": {"config": {"job": job, "decision": decision, **more}}}}


def test_an_ambiguous_job_shows_in_the_ui_and_is_decided_from_there(lab: Lab, dev: DagsterDev) -> None:
    with lab.ledger() as ledger:
        bought = ledger.claim(request_for("lost", simulated=True), Budgets(None, None, None))
        assert isinstance(bought, Bought)
        job = ledger.mark_ambiguous(bought.job.id, bought.attempt_id, "no answer came")
        ledger.record_look(job.id, [], None)  # nobody looks for it by himself

    def observed() -> dict | None:
        seen = dev.shown("budgets", "assetObservations")
        return next((each for each in seen if each["ambiguous_jobs"]["intValue"] == 1), None)

    shown = until(observed, dev.log)
    assert shown["ambiguous_usd"]["text"] == str(job.held)
    (row,) = [json.loads(text) for text in shown["ambiguous"]["table"]["records"]]
    assert (row["job"], row["shot"], row["held_usd"]) == (job.id, "lost", str(job.held))
    with lab.ledger() as ledger:
        view = outlook(ledger, ledger.job(job.id), timedelta(hours=4), datetime.now(UTC))
    assert row["next"] == view.next  # the command line's words
    assert "resolve_job" in row["next"]
    budgets = [json.loads(text) for text in shown["budgets"]["table"]["records"]]
    assert {each["budget"] for each in budgets} >= {"WAN_DAILY_BUDGET_USD", "WAN_CAMPAIGN_BUDGETS_USD (tiny)"}

    wrong = dev.launch("resolve_job", _word(job.id, "found", provider_job_id="not-theirs"))
    assert dev.wait_for_run(wrong) == "FAILURE"
    assert any("does not know it" in text for text in dev.messages(wrong))
    assert lab.ledger().job(job.id).state is JobState.AMBIGUOUS

    right = dev.launch("resolve_job", _word(job.id, "not_charged", note="seen nowhere"))
    assert dev.wait_for_run(right) == "SUCCESS"
    decided = lab.ledger().job(job.id)
    assert (decided.state, decided.held) == (JobState.RELEASED, ZERO)
    assert "seen nowhere" in (decided.error or "")

    assert dev.wait_for_run(dev.launch("__ASSET_JOB", assets=["budgets"])) == "SUCCESS"
    assert dev.shown("budgets", "assetMaterializations")[0]["ambiguous_jobs"]["intValue"] == 0
