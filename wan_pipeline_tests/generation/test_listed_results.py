"""A result that a list has told is fetched from what the list says; where that is no good, the job itself is asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from wan_pipeline.bucket import Bucket
from wan_pipeline.generation.events import Verdict
from wan_pipeline.generation.publishing import Collected, publish
from wan_pipeline.spend.records import Job, JobState
from wan_pipeline_tests.generation.house import House

GoOn = Callable[[], Awaitable[httpx.Response]]


@pytest.mark.parametrize("wrong", ["not there", "no video", None])
def test_what_a_list_tells_is_collected_and_where_it_is_wrong_the_jobs_own_answer_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str | None
) -> None:
    """Polls say of every job that it runs until the list has told of some, so these come by the list."""
    monkeypatch.setattr("wan_pipeline.generation.collection._RETRY_WAIT_S", 0.01)
    house = House(tmp_path, latency_s=2.0)
    house.shots(12)
    told = False
    wrong_fetches = 0

    async def fault(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        nonlocal wrong_fetches, told
        path = request.url.path
        if path.startswith("/wrong/"):
            wrong_fetches += 1
            return httpx.Response(404) if wrong == "not there" else httpx.Response(200, content=b"<html>soon</html>")
        response = await go_on()
        if path == "/api/v3/predictions":
            answer = json.loads(await response.aread())
            for row in answer["data"]["items"]:
                told = told or bool(row["outputs"])
                if row["outputs"] and wrong is not None:
                    row["outputs"] = ["http://simulator.invalid/wrong/video.mp4"]
            return httpx.Response(200, json=answer)
        if path.endswith("/result"):
            answer = json.loads(await response.aread())
            if not told:
                answer["data"] |= {"status": "processing", "outputs": []}
            return httpx.Response(200, json=answer)
        return response

    house.faults.fault = fault
    results = house.make()
    assert {result.verdict for result in results.values()} == {Verdict.MADE}
    assert len(house.books.charges()) == 12
    assert (wrong_fetches > 0) == (wrong is not None)


@pytest.mark.parametrize("wrong", [httpx.Response(404), httpx.Response(200, content=b"<html>soon</html>")])
def test_a_job_that_a_list_shows_as_done_and_that_itself_says_it_failed_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: httpx.Response
) -> None:
    monkeypatch.setattr("wan_pipeline.generation.collection._RETRY_WAIT_S", 0.01)
    house = House(tmp_path, latency_s=2.0)
    house.shots(12)
    wrong_fetches = 0
    listed: set[str] = set()

    async def fault(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        nonlocal wrong_fetches
        if request.url.path.startswith("/wrong/"):
            wrong_fetches += 1
            return httpx.Response(wrong.status_code, content=wrong.content)
        response = await go_on()
        if request.url.path == "/api/v3/predictions":
            answer = json.loads(await response.aread())
            for row in answer["data"]["items"]:
                if row["outputs"]:
                    listed.add(row["id"])
                    row["outputs"] = ["http://simulator.invalid/wrong/video.mp4"]
            return httpx.Response(200, json=answer)
        if request.url.path.endswith("/result"):
            answer = json.loads(await response.aread())
            done = {"status": "failed", "outputs": [], "error": "content"}
            answer["data"] |= done if listed else {"status": "processing", "outputs": []}
            return httpx.Response(200, json=answer)
        return response

    house.faults.fault = fault
    results = house.make()
    assert wrong_fetches > 0
    assert {(result.verdict, str(result.billed)) for result in results.values()} == {(Verdict.FAILED, "0.00")}
    with house.ledger() as ledger:
        assert {(job.state, str(job.billed), job.generated_at) for job in ledger.jobs()} == {
            (JobState.FAILED, "0.00", None)
        }
    assert not list((house.folder / "bucket").rglob("*.unplayable*"))


def test_a_result_that_a_list_has_told_is_in_the_ledger_before_it_is_published_as_of_when_it_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the next run finds there what a process that dies in between has published, and learns how long the job took."""
    house = House(tmp_path, latency_s=2.0)
    house.shots(12)
    fetched_at: list[datetime] = []
    unknown_when_fetched = 0
    published: list[Job] = []

    async def fault(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        nonlocal unknown_when_fetched
        response = await go_on()
        if request.url.path.endswith("/result") and not fetched_at:
            answer = json.loads(await response.aread())
            answer["data"] |= {"status": "processing", "outputs": []}
            return httpx.Response(200, json=answer)
        if request.url.path.startswith("/files/"):
            fetched_at.append(house.clock())
            with house.ledger() as ledger:
                unknown_when_fetched += not any(job.state is JobState.GENERATED for job in ledger.jobs())
            await asyncio.sleep(1.0)
        return response

    def publishing(bucket: Bucket, job: Job, *arguments: Any) -> Collected:
        with house.ledger() as ledger:
            known = ledger.job(job.id)
        published.append(known)
        assert job == known
        return publish(bucket, job, *arguments)

    house.faults.fault = fault
    monkeypatch.setattr("wan_pipeline.generation.collection.publish", publishing)
    assert {result.verdict for result in house.make().values()} == {Verdict.MADE}
    assert {job.state for job in published} == {JobState.GENERATED}
    assert unknown_when_fetched > 0
    assert min(job.generated_at for job in published if job.generated_at) <= fetched_at[0]
