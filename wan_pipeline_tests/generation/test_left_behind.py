"""Jobs that a process which is gone has left at a provider keep nobody waiting for ever, recovery sensor or not."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from wan_pipeline.generation import left_behind
from wan_pipeline.generation.events import Verdict
from wan_pipeline.providers.base import ProviderLimits
from wan_pipeline.spend.records import JobState
from wan_pipeline_tests.generation.house import House, stop_once_out

_PATIENCE_S = 60.0  # of the test, where it would wait for ever


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(left_behind, "_LOOK_EVERY_S", 0.3)


def one_place(folder: Path) -> House:
    house = House(folder, limits=ProviderLimits(1, 6000))
    house.shots(2)
    return house


def test_a_shot_gets_the_place_of_another_one_whose_process_is_gone_and_that_one_is_collected(tmp_path: Path) -> None:
    house = one_place(tmp_path)
    left = house.make(keys=["shot000"], on_event=stop_once_out(house))["shot000"]
    assert left.verdict is Verdict.IN_FLIGHT
    watch = threading.Timer(_PATIENCE_S, lambda: house.engine and house.engine.stop())
    watch.start()
    try:
        assert house.make(keys=["shot001"])["shot001"].verdict is Verdict.MADE
    finally:
        watch.cancel()
    with house.ledger() as ledger:
        assert {job.shot: job.state for job in ledger.jobs()} == {
            "shot000": JobState.STORED,
            "shot001": JobState.STORED,
        }
    assert len(house.faults.posts) == len(house.books.charges()) == 2


def test_one_that_was_being_sent_as_its_process_died_gives_its_place_up_and_is_ambiguous(tmp_path: Path) -> None:
    house = one_place(tmp_path)

    house.make(keys=["shot000"], on_event=stop_once_out(house))
    with house.ledger() as ledger:
        (job,) = ledger.jobs()
        with ledger.engine.begin() as connection:  # as if it had died before the answer came
            connection.exec_driver_sql("UPDATE jobs SET state = 'submitting', provider_job_id = NULL")
            connection.exec_driver_sql("UPDATE attempts SET outcome = NULL")
    watch = threading.Timer(_PATIENCE_S, lambda: house.engine and house.engine.stop())
    watch.start()
    try:
        assert house.make(keys=["shot001"])["shot001"].verdict is Verdict.MADE
    finally:
        watch.cancel()
    with house.ledger() as ledger:
        assert ledger.job(job.id).state is JobState.AMBIGUOUS
