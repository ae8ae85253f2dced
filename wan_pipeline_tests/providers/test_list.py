"""WaveSpeed's list as one question about many jobs: read as a poll's answer is, and nothing is made of what it is not."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from wan_pipeline.providers.base import (
    Failed,
    InProgress,
    ListedJobs,
    ListsJobs,
    PollError,
    ProviderLimits,
    Succeeded,
)
from wan_pipeline.providers.connect import PROVIDERS, connect

MADE = "2026-11-20T10:00:00.948268264Z"
AFTER = datetime(2026, 11, 20, 9, tzinfo=UTC)


def row(job_id: object, status: str = "completed", outputs: object = ("https://cdn.test/a.mp4",), **more: Any) -> Any:
    return {"id": job_id, "status": status, "outputs": outputs, "created_at": MADE, **more}


def listed(answer: httpx.Response, ended: Any = "succeeded") -> tuple[ListedJobs | PollError, Any]:
    """What is read of it about a, b and c, and what was asked."""
    asked: list[Any] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content))
        return answer

    async def run() -> ListedJobs | PollError:
        limits = ProviderLimits(4, 600)
        async with connect(
            "wavespeed", "http://list.test", SecretStr("k-secret-1"), limits, httpx.MockTransport(handle)
        ) as client:
            assert isinstance(client, ListsJobs)
            return await client.list_jobs(ended, AFTER, 2, {"a", "b", "c"})

    return asyncio.run(run()), asked[0]


def test_rows_of_the_jobs_that_were_asked_about_are_read_as_polls() -> None:
    rows = [
        row("a"),
        row("another"),
        row("b", "failed", [], error="too dark"),
        row("c", "processing", []),
        row("a", outputs=[]),
    ]
    page, asked = listed(httpx.Response(200, json={"code": 200, "data": {"page": 2, "items": rows}}))
    assert asked == {"page": 2, "page_size": 100, "status": "completed", "created_after": "2026-11-20T09:00:00Z"}
    assert isinstance(page, ListedJobs)
    assert [(each.provider_job_id, type(each.outcome)) for each in page.rows] == [
        ("a", Succeeded),
        ("b", Failed),
        ("c", InProgress),
        ("a", PollError),
    ]
    first = page.rows[0].outcome
    assert isinstance(first, Succeeded)
    assert first.listed and first.url == "https://cdn.test/a.mp4"
    assert page.is_last
    assert page.oldest_at == datetime(2026, 11, 20, 10, 0, 0, 948268, tzinfo=UTC)


def test_a_full_page_is_not_the_last_and_rows_that_do_not_say_when_they_were_made_leave_that_open() -> None:
    rows = [row(f"j{number}") for number in range(100)]
    page, _ = listed(httpx.Response(200, json={"code": 200, "data": {"items": rows}}), None)
    assert isinstance(page, ListedJobs)
    assert not page.is_last
    rows[50]["created_at"] = "yesterday"
    page, _ = listed(httpx.Response(200, json={"code": 200, "data": {"items": rows}}), None)
    assert isinstance(page, ListedJobs)
    assert page.oldest_at is None


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, json={"code": 500, "message": "k-secret-1 is wrong"}),
        httpx.Response(200, json={"code": 200, "data": {"items": "none"}}),
        httpx.Response(200, json={"code": 200}),
        httpx.Response(200, json=[]),
        httpx.Response(200, text="<html>"),
        httpx.Response(404, json={"message": "k-secret-1: not here"}),
    ],
)
def test_what_is_no_list_is_told_and_tells_nothing(answer: httpx.Response) -> None:
    page, _ = listed(answer)
    assert isinstance(page, PollError)
    assert "k-secret-1" not in page.reason


@pytest.mark.parametrize("odd", [None, 5, "x", {"id": "a"}, row(None), row(["a"]), row("a", outputs={"no": "url"})])
def test_rows_of_any_kind_bring_nobody_a_result(odd: Any) -> None:
    page, _ = listed(httpx.Response(200, json={"code": 200, "data": {"items": [odd]}}))
    if isinstance(page, ListedJobs):
        assert not any(isinstance(each.outcome, Succeeded) for each in page.rows)


def test_the_other_providers_have_no_list() -> None:
    listing = {name for name, info in PROVIDERS.items() if issubclass(info.client_class, ListsJobs)}
    assert listing == {"wavespeed"}
