"""Trouble in the middle of a batch: whatever was paid for is kept, and nobody waits for what will not come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from wan_pipeline.generation.events import Verdict
from wan_pipeline.providers.base import ProviderLimits
from wan_pipeline.providers.client import HttpProviderClient
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import JobState
from wan_pipeline_tests.generation.house import House, no_files, stop_once_out, witnesses_silent

GoOn = Callable[[], Awaitable[httpx.Response]]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr("wan_pipeline.generation.collection._RETRY_WAIT_S", 0.01)
    return House(tmp_path)


# --- the ledger ---


def test_an_answer_is_not_lost_because_the_ledger_cannot_be_written_for_a_while(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.generation.submission._WRITE_AGAIN_S", 0.01)
    house.shots(1)
    full = 3
    mark_accepted = Ledger.mark_accepted

    def disk_full(self: Ledger, *arguments: Any, **named: Any) -> Any:
        nonlocal full
        if full:
            full -= 1
            raise OperationalError("INSERT", {}, Exception("database or disk is full"))
        return mark_accepted(self, *arguments, **named)

    monkeypatch.setattr(Ledger, "mark_accepted", disk_full)
    assert house.make()["shot000"].verdict is Verdict.MADE
    assert len(house.faults.posts) == 1


def test_an_answer_that_cannot_be_written_down_at_all_is_told_with_the_providers_id(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wan_pipeline.generation.submission._WRITE_AGAIN_S", 0.01)
    monkeypatch.setattr("wan_pipeline.generation.submission._WRITE_STOPPED_FOR_S", 0.03)
    house.shots(1)

    def disk_full(self: Ledger, *arguments: Any, **named: Any) -> Any:
        if house.engine:
            house.engine.stop()
        raise OperationalError("INSERT", {"secret": "parameters"}, Exception("database or disk is full"))

    monkeypatch.setattr(Ledger, "mark_accepted", disk_full)
    result = house.make()["shot000"]
    (charge,) = house.books.charges()
    assert result.verdict is Verdict.AMBIGUOUS
    assert charge.job_id in result.reason
    assert charge.job_id in caplog.text
    monkeypatch.undo()
    found = house.make()["shot000"]
    assert found.verdict is Verdict.MADE, "the next run looks for it"
    assert found.video and found.video.provider_job_id == charge.job_id
    assert len(house.faults.posts) == 1


def test_a_batch_whose_ledger_cannot_be_told_of_its_end_still_gives_its_results(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.shots(1)

    def locked(self: Ledger, now: Any = None) -> None:
        raise OperationalError("UPDATE", {}, Exception("database is locked"))

    monkeypatch.setattr(Ledger, "release_owner", locked)
    assert house.make()["shot000"].verdict is Verdict.MADE


def test_an_answer_that_makes_the_reader_stumble_is_ambiguous(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.shots(1)
    house.faults.fault = witnesses_silent

    def stumble(*_: Any) -> Any:
        raise KeyError("surprise")

    monkeypatch.setattr("wan_pipeline.providers.wavespeed.WaveSpeedClient._read_submission", stumble)
    result = house.make()["shot000"]
    assert result.verdict is Verdict.AMBIGUOUS
    assert "surprise" in result.reason
    assert [job.state for job in house.ledger().jobs()] == [JobState.AMBIGUOUS]


# --- what the provider works on ---


def test_a_job_in_flight_is_asked_for_at_the_provider_that_has_it_even_if_the_defaults_name_another_now(
    tmp_path: Path,
) -> None:
    house = House(tmp_path, latency_s=1.5)
    house.shots(1)
    assert house.make(on_event=stop_once_out(house))["shot000"].verdict is Verdict.IN_FLIGHT
    house.put("inbox/_defaults.yaml", "model: shortapi/wan-2.7-i2v\nprompt: The cat looks up.\nduration: 2\n")
    result = house.make()["shot000"]
    assert result.verdict is Verdict.MADE, result.reason
    assert [job.state for job in house.ledger().jobs()] == [JobState.STORED]
    assert len(house.faults.posts) == 1


def test_a_result_that_the_provider_has_deleted_before_it_was_collected_is_lost_and_not_forgotten(house: House) -> None:
    house.shots(1)
    house.faults.fault = no_files
    assert house.make()["shot000"].verdict is Verdict.IN_FLIGHT

    async def deleted(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        if request.url.path.startswith("/api/v3/predictions/"):
            return httpx.Response(200, json={"code": 200, "data": {"id": "x", "status": "deleted"}})
        return await go_on()

    house.faults.fault = deleted
    assert house.make()["shot000"].verdict is Verdict.FAILED
    (job,) = house.ledger().jobs()
    assert job.state is JobState.LOST
    assert job.billed is not None
    assert job.billed.nanos == house.books.total_nanos()


def test_a_page_in_place_of_the_video_does_not_make_a_paid_video_lost_on_the_first_day(house: House) -> None:
    house.shots(1)

    async def sorry(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        if request.url.path.startswith("/files/"):
            return httpx.Response(200, content=b"<html>We are back soon</html>")
        return await go_on()

    house.faults.fault = sorry
    assert house.make()["shot000"].verdict is Verdict.IN_FLIGHT
    house.faults.fault = None
    assert house.make()["shot000"].verdict is Verdict.MADE
    assert len(house.faults.posts) == 1


def test_what_is_still_no_video_when_its_url_has_expired_everywhere_is_lost(house: House) -> None:
    house.shots(1)
    house.faults.fault = no_files
    assert house.make()["shot000"].verdict is Verdict.IN_FLIGHT

    async def garbage(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        if request.url.path.startswith("/files/"):
            return httpx.Response(200, content=b"garbage")
        return await go_on()

    house.faults.fault = garbage
    house.later(hours=1)
    assert house.make()["shot000"].verdict is Verdict.IN_FLIGHT
    house.later(days=15)
    assert house.make()["shot000"].verdict is Verdict.FAILED
    assert [job.state for job in house.ledger().jobs()] == [JobState.LOST]


# --- stopping ---


def test_stopped_while_a_provider_is_being_connected_it_buys_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.shots(3)
    enter = HttpProviderClient.__aenter__

    async def stop_meanwhile(self: HttpProviderClient) -> HttpProviderClient:
        if house.engine:
            house.engine.stop()
        await asyncio.sleep(0.2)
        return await enter(self)

    monkeypatch.setattr(HttpProviderClient, "__aenter__", stop_meanwhile)
    assert {result.verdict for result in house.make().values()} == {Verdict.STOPPED}
    assert house.faults.posts == []


@pytest.mark.timeout(60)
def test_a_download_that_never_ends_does_not_keep_a_stopped_batch(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.generation.collection._STOP_GRACE_S", 0.1)
    house.shots(1)

    async def drip() -> AsyncGenerator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.05)

    async def dripping(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        if request.url.path.startswith("/files/"):
            if house.engine:
                house.engine.stop()
            return httpx.Response(200, content=drip())
        return await go_on()

    house.faults.fault = dripping
    assert house.make()["shot000"].verdict is Verdict.IN_FLIGHT
    assert list(house.bucket.list("videos/")) == []
    house.faults.fault = None
    assert house.make()["shot000"].verdict is Verdict.MADE
    assert len(house.faults.posts) == 1


@pytest.mark.timeout(60)
def test_a_provider_that_refuses_everything_for_long_is_given_up_for_the_batch(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.generation.submission._REFUSED_WAIT_S", 0.02)
    monkeypatch.setattr("wan_pipeline.generation.submission._REFUSED_FOR_S", 0.2)
    house.shots(2)

    async def quota(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        return httpx.Response(429, json={"message": "quota used up"}) if request.method == "POST" else await go_on()

    house.faults.fault = quota
    results = house.make()
    assert {result.verdict for result in results.values()} == {Verdict.DEFERRED}
    assert all("quota used up" in result.reason for result in results.values())
    assert all(not job.held for job in house.ledger().jobs())
    house.faults.fault = None
    assert {result.verdict for result in house.make().values()} == {Verdict.MADE}


def test_an_error_while_an_earlier_take_is_collected_does_not_spoil_the_shots_own_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path, latency_s=1.0)
    house.shots(1)
    house.make(on_event=stop_once_out(house))
    house.put("inbox/shot000.yaml", "prompt: Changed while the provider was at work.\n")

    def broken(*_: Any, **__: Any) -> Any:
        raise OperationalError("SELECT", {}, Exception("database is locked"))

    monkeypatch.setattr(Ledger, "take_over", broken)
    assert house.make()["shot000"].verdict is Verdict.MADE


def test_limits_of_a_batch_hold_after_many_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wan_pipeline.generation.submission._REFUSED_WAIT_S", 0.02)
    house = House(tmp_path, latency_s=0.2, limits=ProviderLimits(3, 6000))
    house.shots(8)
    count = 0

    async def grumble(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        nonlocal count
        if request.method == "POST":
            count += 1
            if count % 2:
                return httpx.Response(429)
        return await go_on()

    house.faults.fault = grumble
    assert {result.verdict for result in house.make().values()} == {Verdict.MADE}
    assert len(house.books.charges()) == 8
