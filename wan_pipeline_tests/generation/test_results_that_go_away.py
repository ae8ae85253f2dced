"""Results that expire, are cut, are no video or too large: fetched again within limits, never bought again, and in the end
stored, or lost and kept with its money shown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from wan_pipeline.generation import deadlines
from wan_pipeline.generation.events import Finished, Verdict
from wan_pipeline.generation.turns import Turns
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Job, JobState
from wan_pipeline_tests.generation.house import House, no_files, png, stop_once_out

GoOn = Callable[[], Awaitable[httpx.Response]]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr("wan_pipeline.generation.collection._RETRY_WAIT_S", 0.01)
    return House(tmp_path)


def one_shot(house: House, prompt: str = "The cat looks up.") -> None:
    house.put("inbox/shot000.png", png())
    house.put("inbox/shot000.yaml", f'model: wavespeed/wan-2.6-i2v-flash\nduration: 2\nprompt: "{prompt}"\n')


def job_of(house: House) -> Job:
    with house.ledger() as ledger:
        (job,) = ledger.jobs()
    return job


def files_answer(response: Callable[[], httpx.Response]) -> Callable[[httpx.Request, GoOn], Awaitable[httpx.Response]]:
    async def answer(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        return response() if request.url.path.startswith("/files/") else await go_on()

    return answer


def batches(house: House, most: int = 12) -> list[Finished]:
    """Batch after batch, each when it is due, until the job has come to an end."""
    results: list[Finished] = []
    while len(results) < most:
        results.append(house.make()["shot000"])
        job = job_of(house)
        if job.state in (JobState.STORED, JobState.LOST):
            break
        assert results[-1].verdict is Verdict.IN_FLIGHT
        assert job.next_fetch_at is not None
        house.later(seconds=max(0.0, (job.next_fetch_at - house.clock()).total_seconds()) + 1)
    return results


# --- what comes right ---


@pytest.mark.parametrize("mishap", ["[cut]", "[gone]"])
def test_a_url_that_is_gone_is_asked_anew_and_a_download_that_is_cut_is_fetched_again(
    house: House, mishap: str
) -> None:
    one_shot(house, mishap)
    result = house.make()["shot000"]
    assert result.verdict is Verdict.MADE, result.reason
    assert len(house.faults.posts) == 1
    assert job_of(house).fetches == 0


def test_a_failed_collection_is_not_tried_again_before_its_time_and_then_goes_on_with_the_same_job(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.generation.deadlines._AGAIN_S", 300.0)
    one_shot(house)
    house.faults.fault = no_files
    first = house.make()["shot000"]
    assert first.verdict is Verdict.IN_FLIGHT
    assert f"{job_of(house).next_fetch_at:%H:%M:%S} UTC" in first.reason
    house.faults.fault = None
    asked = len(house.faults.requests)
    early = house.make()["shot000"]
    assert (early.verdict, len(house.faults.requests)) == (Verdict.IN_FLIGHT, asked)
    assert "503" in early.reason
    house.later(minutes=6)
    assert house.make()["shot000"].verdict is Verdict.MADE
    assert len(house.faults.posts) == 1


def test_one_that_is_due_soon_is_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wan_pipeline.generation.deadlines._AGAIN_S", 1.0)
    one_shot(house)
    house.faults.fault = no_files
    house.make()
    house.faults.fault = None
    assert house.make()["shot000"].verdict is Verdict.MADE


def test_a_clock_that_was_put_back_does_not_keep_a_paid_video_waiting(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.generation.deadlines._AGAIN_S", 60.0)
    house.engine_ahead = timedelta(hours=6)
    one_shot(house)
    house.faults.fault = no_files
    house.make()
    house.faults.fault = None
    house.engine_ahead = timedelta(0)
    assert house.make()["shot000"].verdict is Verdict.MADE


# --- what does not ---


def test_the_same_bytes_that_are_no_video_in_three_batches_are_lost_kept_and_their_money_told(house: House) -> None:
    one_shot(house, "[half]")
    results = batches(house)
    assert len(results) == 3, [result.reason for result in results]
    job = job_of(house)
    assert results[-1].verdict is Verdict.FAILED
    assert "0.05 USD are wasted" in results[-1].reason
    assert results[-1].billed == job.billed
    assert job.billed is not None
    assert job.billed.nanos == house.books.total_nanos()
    assert job.kept_key == "videos/shot000/take-1.unplayable"
    kept = json.loads(house.bucket.read("videos/shot000/take-1.unplayable.json"))
    assert kept["job"]["provider_job_id"] == job.provider_job_id
    assert kept["kept"]["size_bytes"] == house.bucket.stat(job.kept_key).size_bytes > 0
    assert not house.bucket.exists("videos/shot000/take-1.mp4")
    assert len(house.faults.posts) == 1
    assert house.make()["shot000"].verdict is Verdict.FAILED, "it stands, and is not bought again by itself"
    assert len(house.faults.posts) == 1


def test_bytes_that_differ_from_batch_to_batch_are_not_given_up(house: House) -> None:
    one_shot(house)
    number = 0

    def other_garbage() -> httpx.Response:
        nonlocal number
        number += 1
        return httpx.Response(200, content=b"\x00\x01" + bytes([number % 251]) * 100)

    house.faults.fault = files_answer(other_garbage)
    assert {result.verdict for result in batches(house, 5)} == {Verdict.IN_FLIGHT}
    house.faults.fault = None
    assert batches(house)[-1].verdict is Verdict.MADE


def test_a_page_in_place_of_the_video_is_believed_only_when_its_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.generation.collection._RETRY_WAIT_S", 0.01)
    house = House(tmp_path, result_ttl_s=30 * 86400)
    one_shot(house, "[no video]")
    assert {result.verdict for result in batches(house, 6)} == {Verdict.IN_FLIGHT}
    house.later(days=15)
    assert house.make()["shot000"].verdict is Verdict.FAILED
    assert job_of(house).state is JobState.LOST
    assert house.bucket.read("videos/shot000/take-1.unplayable").startswith(b"<!doctype html>")


def test_what_is_too_large_is_not_kept_but_told(house: House) -> None:
    one_shot(house, "[huge]")
    results = batches(house)
    assert len(results) == 3
    job = job_of(house)
    assert job.state is JobState.LOST
    assert "bytes large" in results[-1].reason
    assert job.kept_key == "videos/shot000/take-1.unplayable.json"
    assert not house.bucket.exists("videos/shot000/take-1.unplayable")


@pytest.mark.parametrize("mishap", ["[cut always]", "[gone always]"])
def test_what_can_never_be_had_is_fetched_until_its_deadline_and_then_lost(house: House, mishap: str) -> None:
    one_shot(house, mishap)
    assert {result.verdict for result in batches(house, 5)} == {Verdict.IN_FLIGHT}
    house.later(days=15)
    result = house.make()["shot000"]
    assert result.verdict is Verdict.FAILED
    assert "are wasted" in result.reason
    assert job_of(house).state is JobState.LOST
    assert len(house.faults.posts) == 1


def test_a_clock_that_jumps_over_the_deadline_does_not_lose_a_video_that_is_still_there(house: House) -> None:
    one_shot(house)
    house.latency_s = 1.0
    assert house.make(on_event=stop_once_out(house))["shot000"].verdict is Verdict.IN_FLIGHT
    house.engine_ahead = timedelta(days=30)
    house.faults.fault = no_files
    assert house.make()["shot000"].verdict is Verdict.IN_FLIGHT
    house.faults.fault = None
    house.engine_ahead = timedelta(0)
    assert house.make()["shot000"].verdict is Verdict.MADE


def test_a_stop_while_it_downloads_counts_as_no_failure(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wan_pipeline.generation.collection._STOP_GRACE_S", 0.05)
    one_shot(house)

    async def slow(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        if request.url.path.startswith("/files/"):
            assert house.engine
            house.engine.stop()
            await asyncio.sleep(30)
        return await go_on()

    house.faults.fault = slow
    assert house.make()["shot000"].verdict is Verdict.IN_FLIGHT
    job = job_of(house)
    assert (job.state, job.fetches, job.next_fetch_at) == (JobState.GENERATED, 0, None)


# --- what is there already ---


def test_a_video_that_was_published_before_the_ledger_knew_is_not_downloaded_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_shot(house)

    def dies(*_: Any, **__: Any) -> Any:
        raise asyncio.CancelledError

    monkeypatch.setattr(Ledger, "mark_stored", dies)
    with pytest.raises(asyncio.CancelledError):
        house.make()
    monkeypatch.undo()
    assert job_of(house).state is JobState.GENERATED
    house.faults.fault = files_answer(lambda: pytest.fail("it was downloaded again"))
    result = house.make()["shot000"]
    assert result.verdict is Verdict.MADE
    assert result.video and len(result.video.checks) == 3
    assert result.video.size_bytes == house.bucket.stat("videos/shot000/take-1.mp4").size_bytes


def test_a_published_file_that_is_not_what_its_manifest_says_is_downloaded_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_shot(house)

    def dies(*_: Any, **__: Any) -> Any:
        raise asyncio.CancelledError

    monkeypatch.setattr(Ledger, "mark_stored", dies)
    with pytest.raises(asyncio.CancelledError):
        house.make()
    monkeypatch.undo()
    whole = house.bucket.read("videos/shot000/take-1.mp4")
    house.put("videos/shot000/take-1.mp4", whole[:-1] + b"?")
    assert house.make()["shot000"].verdict is Verdict.MADE
    assert house.bucket.read("videos/shot000/take-1.mp4") == whole


# --- deadlines and turns ---


def test_what_nears_its_end_is_collected_first() -> None:
    async def work() -> list[int]:
        turns = Turns(1)
        order: list[int] = []
        start = datetime.now(UTC)

        async def one(number: int, hours: int) -> None:
            async with turns.turn(start + timedelta(hours=hours)):
                order.append(number)
                await asyncio.sleep(0)

        async with turns.turn(start):
            tasks = [asyncio.create_task(one(number, hours)) for number, hours in enumerate((24, 1, 168, 1, 5))]
            await asyncio.sleep(0)
            tasks[4].cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(1), turns.turn(start):
            return order

    assert asyncio.run(work()) == [1, 3, 0, 2]


def test_no_more_results_than_so_many_are_downloaded_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wan_pipeline.generation.collection._AT_ONCE", 2)
    house.shots(7)
    inside = most = 0

    async def counted(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        nonlocal inside, most
        if not request.url.path.startswith("/files/"):
            return await go_on()
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.05)
        response = await go_on()
        inside -= 1
        return response

    house.faults.fault = counted
    assert {result.verdict for result in house.make().values()} == {Verdict.MADE}
    assert most == 2


def test_the_next_try_comes_before_the_deadline_wherever_there_is_one_left(house: House) -> None:
    one_shot(house)
    house.faults.fault = no_files
    house.make()
    job = job_of(house)
    assert job.generated_at
    end = deadlines.deadline(job)
    assert end == job.generated_at + timedelta(days=7), "WaveSpeed keeps what it made for seven days"
    assert deadlines.next_fetch_at(job, end - timedelta(minutes=30)) <= end
    assert not deadlines.is_over(job, end)
