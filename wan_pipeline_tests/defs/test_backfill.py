"""The real daemon and webserver: run, backfill and catalog say the same of what was made, and a retry buys one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.records import OPEN_STATES, JobState
from wan_pipeline_tests.defs.dagster_dev import DagsterDev, dagster_dev, until
from wan_pipeline_tests.defs.lab import Lab

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
        yield Lab(home, unused)


@pytest.fixture(scope="module")
def dev(home: Path) -> Iterator[DagsterDev]:
    # The sensor takes up nothing within the hour: only what the test asks for runs.
    variables = {"WAN_SETTLE_SECONDS": "3600", "WAN_SIMULATOR_RENDER": "shared", "WAN_SIMULATOR_LATENCY": "4"}
    with dagster_dev(home, variables) as dev:
        yield dev


def _counts(backfill: dict, asset: str) -> tuple[int, int, int]:
    statuses = backfill["assetBackfillData"]["assetBackfillStatuses"]
    found = next(status for status in statuses if status["assetKey"]["path"] == [asset])
    return found["numPartitionsTargeted"], found["numPartitionsMaterialized"], found["numPartitionsFailed"]


def test_a_backfill_of_quotes_buys_nothing_and_shows_the_total(lab: Lab, dev: DagsterDev) -> None:
    lab.put_shots(SHOTS, {REFUSED: "[refuse] this"})
    dev.add_partitions(SHOTS)

    backfill = dev.wait_for_backfill(dev.backfill(["shot_quotes"], SHOTS))

    assert backfill["status"] == "COMPLETED_SUCCESS"
    assert _counts(backfill, "shot_quotes") == (20, 20, 0)
    (run,) = backfill["runs"]
    assert {"key": "wan/quoted_usd", "value": "1.00"} in run["tags"]
    assert lab.jobs() == []
    assert lab.charged() == ZERO


def test_one_refused_shot_of_twenty_is_one_failure_everywhere_and_its_retry_buys_one(lab: Lab, dev: DagsterDev) -> None:
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
    assert lab.charged() == lab.billed() == PRICE * 21
