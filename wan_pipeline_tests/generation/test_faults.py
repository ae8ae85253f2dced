"""What networks and providers do to a batch: nothing is paid twice, nothing that was paid for is forgotten."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from wan_pipeline.generation.events import Event, Progress, Verdict
from wan_pipeline.spend.records import JobState
from wan_pipeline_tests.generation.house import House

GoOn = Callable[[], Awaitable[httpx.Response]]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.mark.parametrize(
    "broken",
    [
        httpx.ReadTimeout("silence"),
        httpx.RemoteProtocolError("reset"),
        httpx.WriteError("pipe"),
        httpx.Response(500, text="oops"),
        httpx.Response(504, json={"message": "generation did not finish"}),
        httpx.Response(200, text="<html>not what you expect</html>"),
        httpx.Response(200, json={"code": 200, "data": {}}),
    ],
    ids=lambda each: (
        f"{each.status_code} {each.text[:12]}" if isinstance(each, httpx.Response) else type(each).__name__
    ),
)
def test_a_submission_whose_answer_is_lost_stands_as_ambiguous_with_its_hold_and_is_never_sent_again(
    house: House, broken: Exception | httpx.Response
) -> None:
    house.shots(1)

    async def lose_the_answer(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        response = await go_on()
        if request.method == "POST":
            if isinstance(broken, Exception):
                raise broken
            return broken
        return response

    house.faults.fault = lose_the_answer
    result = house.make()["shot000"]
    assert result.verdict is Verdict.AMBIGUOUS
    house.faults.fault = None
    for options in ({}, {"retry_failed": True}, {"outdated": True}):
        again = house.make(**options)["shot000"]
        assert again.verdict is Verdict.AMBIGUOUS
        assert again.reason
    assert len(house.faults.posts) == 1
    (job,) = house.ledger().jobs()
    assert job.state is JobState.AMBIGUOUS
    assert job.held.nanos == house.books.total_nanos(), "the money that may have been spent is still held"


def test_what_never_left_this_machine_is_sent_again_and_charged_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.generation.submission._NOT_SENT_WAITS_S", (0.01, 0.01, 0.01))
    house.shots(1)
    refusals = 2

    async def no_connection(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        nonlocal refusals
        if request.method == "POST" and refusals:
            refusals -= 1
            raise httpx.ConnectError("nobody there")
        return await go_on()

    house.faults.fault = no_connection
    assert house.make()["shot000"].verdict is Verdict.MADE
    assert len(house.books.charges()) == 1


def test_a_provider_that_cannot_be_reached_holds_no_money_and_the_next_run_tries_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.generation.submission._NOT_SENT_WAITS_S", (0.01,))
    house.shots(1)

    async def no_connection(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        raise httpx.ConnectError("nobody there")

    house.faults.fault = no_connection
    result = house.make()["shot000"]
    assert result.verdict is Verdict.DEFERRED
    assert result.deferred is not None
    assert result.deferred.until == pytest.approx(house.clock() + timedelta(minutes=1), abs=timedelta(seconds=30))
    (job,) = house.ledger().jobs()
    assert (job.state, job.held.nanos) == (JobState.REJECTED, 0)
    house.faults.fault = None
    result = house.make()["shot000"]
    assert result.verdict is Verdict.MADE
    assert result.video and result.video.take == 1


def test_a_wrong_key_stops_its_provider_for_the_batch_and_no_other(house: House) -> None:
    keys = house.shots(6)
    for key in keys[:3]:
        house.put(f"inbox/{key}.yaml", "model: shortapi/wan-2.7-i2v\n")
    house.keys["shortapi"] = "wrong-key"
    results = house.make()
    assert [results[key].verdict for key in keys] == [Verdict.FAILED] * 3 + [Verdict.MADE] * 3
    house.keys.clear()
    results = house.make()
    assert [results[key].verdict for key in keys] == [Verdict.MADE] * 3 + [Verdict.REUSED] * 3
    assert len(house.books.charges()) == 6


def test_a_poll_that_fails_is_only_a_poll_that_failed(house: House) -> None:
    house.shots(3)
    count = 0

    async def shaky(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        nonlocal count
        if request.method == "GET" and request.url.path.startswith("/api/v3/"):
            count += 1
            if count % 3 == 0:
                return httpx.Response(502)
            if count % 3 == 1:
                raise httpx.ReadError("reset")
        return await go_on()

    house.faults.fault = shaky
    results = house.make()
    assert {result.verdict for result in results.values()} == {Verdict.MADE}
    assert len(house.books.charges()) == 3


@pytest.mark.parametrize("kind", ["403", "cut", "garbage", "reset"])
def test_a_download_that_goes_wrong_is_fetched_again_and_never_bought_again(
    house: House, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.generation.collection._RETRY_WAIT_S", 0.01)
    house.shots(1)
    wrong = 1

    async def bad_file(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        nonlocal wrong
        response = await go_on()
        if request.url.path.startswith("/files/") and wrong:
            wrong -= 1
            body = await response.aread()
            match kind:
                case "403":
                    return httpx.Response(403)
                case "cut":
                    return httpx.Response(200, content=body[: len(body) // 2])
                case "garbage":
                    return httpx.Response(200, content=b"<html>sorry</html>")
                case _:
                    raise httpx.ReadError("reset")
        return response

    house.faults.fault = bad_file
    assert house.make()["shot000"].verdict is Verdict.MADE
    assert len(house.faults.posts) == 1
    visible = sorted(item.key for item in house.bucket.list("videos/"))
    assert visible == [f"videos/shot000/take-1.{ending}" for ending in ("json", "mp4", "webp")]


def test_a_result_that_cannot_be_downloaded_now_is_collected_by_the_next_run_from_the_same_job(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.generation.collection._RETRY_WAIT_S", 0.01)
    house.shots(1)

    async def no_files(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        return httpx.Response(503) if request.url.path.startswith("/files/") else await go_on()

    house.faults.fault = no_files
    first = house.make()["shot000"]
    assert first.verdict is Verdict.IN_FLIGHT
    house.faults.fault = None
    second = house.make()["shot000"]
    assert second.verdict is Verdict.MADE
    assert second.job_id == first.job_id
    assert len(house.faults.posts) == 1


def test_stopped_in_the_middle_it_buys_nothing_more_and_the_next_run_carries_on_with_the_same_jobs(
    tmp_path: Path,
) -> None:
    from wan_pipeline.providers.base import ProviderLimits

    house = House(tmp_path, latency_s=3.0, limits=ProviderLimits(3, 6000))
    house.shots(6)

    out = 0

    def stop_when_three_are_out(event: Event) -> None:
        nonlocal out
        out += isinstance(event, Progress)
        if out == 3 and house.engine:
            house.engine.stop()

    results = house.make(on_event=stop_when_three_are_out)
    assert sorted(result.verdict for result in results.values()) == [Verdict.IN_FLIGHT] * 3 + [Verdict.STOPPED] * 3
    assert len(house.faults.posts) == 3
    jobs = {job.id for job in house.ledger().jobs()}
    results = house.make()
    assert {result.verdict for result in results.values()} == {Verdict.MADE}
    assert len(house.books.charges()) == 6
    assert jobs <= {result.job_id for result in results.values()}


def test_a_job_whose_shot_has_changed_since_is_collected_as_the_take_that_it_was(tmp_path: Path) -> None:
    house = House(tmp_path, latency_s=2.0)
    house.shots(1)

    def stop(event: Event) -> None:
        if isinstance(event, Progress) and house.engine:
            house.engine.stop()

    assert house.make(on_event=stop)["shot000"].verdict is Verdict.IN_FLIGHT
    house.put("inbox/shot000.yaml", "prompt: Changed while the provider was at work.\n")
    assert house.make()["shot000"].verdict is Verdict.MADE
    assert {job.state for job in house.ledger().jobs()} == {JobState.STORED}
    assert house.bucket.exists("videos/shot000/take-1.mp4")
    assert house.bucket.exists("videos/shot000/take-2.mp4")
    assert len(house.books.charges()) == 2
