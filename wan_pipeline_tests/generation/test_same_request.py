"""The same request wanted by two: it is bought once, and neither waits for ever for what the other has given up."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from wan_pipeline.generation.events import Event, Progress, Verdict
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Joined
from wan_pipeline_tests.generation.house import House, no_files, png, stop_once_out


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr("wan_pipeline.generation.collection._RETRY_WAIT_S", 0.01)
    return House(tmp_path)


def twins(house: House) -> None:
    """Two shots with the same request."""
    house.put("inbox/_defaults.yaml", "model: wavespeed/wan-2.6-i2v-flash\nprompt: a\nduration: 2\n")
    for name in ("one", "two"):
        house.put(f"inbox/{name}.png", png())


@pytest.mark.timeout(60)
def test_where_the_one_that_buys_gives_up_the_other_with_the_same_request_does_not_wait_for_ever(house: House) -> None:
    twins(house)
    house.faults.fault = no_files
    assert {result.verdict for result in house.make().values()} == {Verdict.IN_FLIGHT}
    house.faults.fault = None
    assert sorted(result.verdict for result in house.make().values()) == [Verdict.MADE, Verdict.REUSED]
    assert len(house.faults.posts) == 1


@pytest.mark.timeout(60)
def test_a_bucket_that_is_gone_leaves_the_paid_job_in_flight_for_both_of_its_shots(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    twins(house)

    def gone(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(house.bucket, "writer", gone)
    results = house.make()
    assert {result.verdict for result in results.values()} == {Verdict.IN_FLIGHT}
    assert any("No space left" in result.reason for result in results.values())
    monkeypatch.undo()
    assert sorted(result.verdict for result in house.make().values()) == [Verdict.MADE, Verdict.REUSED]
    assert len(house.faults.posts) == 1


def test_a_shot_that_takes_over_anothers_job_has_the_video_under_its_own_name_and_its_bill(house: House) -> None:
    twins(house)
    house.latency_s = 2
    assert house.make(keys=["one"], on_event=stop_once_out(house))["one"].verdict is Verdict.IN_FLIGHT
    two = house.make(keys=["two"])["two"]
    assert two.verdict is Verdict.MADE
    assert two.video
    assert two.video.key == "videos/two/take-1.mp4"
    assert two.video.billed is not None
    assert two.video.billed.nanos == house.books.total_nanos()
    assert house.bucket.exists("videos/two/take-1.mp4")
    assert house.make(keys=["one"])["one"].verdict is Verdict.REUSED
    assert len(house.faults.posts) == 1


def test_two_who_ask_for_a_new_take_at_once_get_the_same_one(tmp_path: Path) -> None:
    house = House(tmp_path, latency_s=0.5)
    house.shots(1)
    house.make()
    second: list[Verdict] = []
    other = House(tmp_path, latency_s=0.5)
    threads: list[threading.Thread] = []

    def click_again(event: Event) -> None:
        if isinstance(event, Progress) and not threads:
            thread = threading.Thread(target=lambda: second.append(other.make(new_take=True)["shot000"].verdict))
            threads.append(thread)
            thread.start()

    assert house.make(new_take=True, on_event=click_again)["shot000"].verdict is Verdict.MADE
    threads[0].join()
    assert second == [Verdict.REUSED]
    assert len(house.books.charges()) == 2


@pytest.mark.timeout(60)
def test_a_job_that_a_claim_took_over_without_knowing_it_is_not_waited_for_by_the_other_shot(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim's answer was lost: this batch holds the job, and the shot that asked has gone away."""
    twins(house)
    house.latency_s = 2
    assert house.make(keys=["one"], on_event=stop_once_out(house))["one"].verdict is Verdict.IN_FLIGHT
    monkeypatch.setattr("wan_pipeline.generation.path._OTHERS_WAIT_S", 0.1)
    claim, cut_off = Ledger.claim, threading.Event()

    def cut_off_once(self: Ledger, *arguments: Any) -> Any:
        outcome = claim(self, *arguments)
        if isinstance(outcome, Joined) and not cut_off.is_set():
            cut_off.set()
            raise OperationalError("COMMIT", {}, OSError("no route to host"))
        return outcome

    monkeypatch.setattr(Ledger, "claim", cut_off_once)
    results = house.make()
    assert sorted(result.verdict for result in results.values()) == [Verdict.DEFERRED, Verdict.MADE]
    assert len(house.faults.posts) == 1
