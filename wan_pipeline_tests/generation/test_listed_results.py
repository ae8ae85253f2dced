"""A result that a list has told is fetched from what the list says; where that is no good, the job itself is asked."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from wan_pipeline.generation.events import Verdict
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
