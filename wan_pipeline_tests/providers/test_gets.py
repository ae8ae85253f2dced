"""Polls are tried again within a bounded time; results are fetched without a key."""

from __future__ import annotations

import asyncio
import logging
import time

import httpx
import pytest

from wan_pipeline.providers.base import InProgress, PollError, PollOutcome
from wan_pipeline.providers.download import Downloader
from wan_pipeline_tests.providers.tiny_server import (
    KEY,
    MODEL_OF,
    QUICK,
    Behaviour,
    TinyServer,
    Wire,
    client_of,
    says,
    serving,
)

GENERATING = says(200, {"id": "j", "status": "generating"})


async def reset(wire: Wire) -> None:
    wire.reset()


async def hang(wire: Wire) -> None:
    await asyncio.sleep(30)


def poll(*behaviours: Behaviour) -> tuple[PollOutcome, TinyServer]:
    async def run() -> tuple[PollOutcome, TinyServer]:
        async with serving(*behaviours) as server, client_of("aimlapi", server.url) as client:
            return await client.poll(MODEL_OF["aimlapi"], "job-1"), server

    return asyncio.run(run())


@pytest.mark.parametrize("trouble", [reset, hang, says(500), says(502, "<html>"), says(503), says(429), says(408)])
def test_a_poll_in_trouble_is_tried_again(trouble: Behaviour) -> None:
    outcome, server = poll(trouble, trouble, GENERATING)
    assert outcome == InProgress("generating")
    assert len(server.gets) == 3


@pytest.mark.parametrize("trouble", [reset, says(500, "oops"), says(429, "slow down")])
def test_a_poll_is_given_up_after_a_few_tries(trouble: Behaviour) -> None:
    outcome, server = poll(trouble)
    assert isinstance(outcome, PollError)
    assert outcome.reason
    assert not outcome.gone
    assert len(server.gets) == QUICK.get_tries


@pytest.mark.parametrize(
    ("status", "gone"), [(404, True), (410, True), (400, False), (401, False), (403, False), (301, False)]
)
def test_what_will_not_change_is_asked_once(status: int, gone: bool) -> None:
    outcome, server = poll(says(status, {"message": "no such generation"}, {"Location": "/elsewhere"}))
    assert isinstance(outcome, PollError)
    assert outcome.gone is gone
    assert "no such generation" in outcome.reason
    assert len(server.gets) == 1


def test_a_poll_waits_as_told_where_that_is_short() -> None:
    began = time.monotonic()
    outcome, _ = poll(says(429, "slow", {"Retry-After": "1"}), GENERATING)
    assert outcome == InProgress("generating")
    assert time.monotonic() - began >= 1


def test_a_poll_told_to_wait_long_is_left_to_the_next_time() -> None:
    outcome, server = poll(says(429, "slow", {"Retry-After": "3600"}), GENERATING)
    assert isinstance(outcome, PollError)
    assert len(server.gets) == 1


def test_a_server_that_never_answers_a_poll_holds_nobody_up() -> None:
    async def run() -> PollOutcome:
        patience = type(QUICK)(read_s=5, whole_get_s=0.2)
        async with serving(hang) as server, client_of("aimlapi", server.url, patience=patience) as client:
            return await client.poll(MODEL_OF["aimlapi"], "job-1")

    assert isinstance(asyncio.run(run()), PollError)


def test_polls_share_a_connection() -> None:
    async def run() -> None:
        async with serving(GENERATING) as server, client_of("aimlapi", server.url) as client:
            for _ in range(5):
                await client.poll(MODEL_OF["aimlapi"], "job-1")
        assert server.connections == 1

    asyncio.run(run())


# --- results ---

VIDEO = bytes(range(256)) * 1000


async def download(url: str) -> tuple[int, bytes]:
    async with Downloader(patience=QUICK) as downloader:
        async with downloader.stream(url) as response:
            return response.status_code, b"".join([chunk async for chunk in response.aiter_bytes(4096)])


def test_a_result_is_streamed_from_where_it_was_moved_to_and_no_key_is_sent() -> None:
    async def run() -> None:
        async with serving(says(200, VIDEO, {"Content-Type": "video/mp4"})) as there:
            async with serving(says(302, "", {"Location": f"{there.url}/v.mp4?Signature=s"})) as here:
                assert await download(f"{here.url}/v.mp4?Expires=1&Signature=abc") == (200, VIDEO)
        assert here.gets[0].target == "/v.mp4?Expires=1&Signature=abc"
        for request in (*here.gets, *there.gets):
            assert "authorization" not in request.headers
            assert KEY not in str(request)

    asyncio.run(run())


def test_a_result_that_is_not_there_is_told_by_its_status() -> None:
    async def run() -> tuple[int, bytes]:
        async with serving(says(403, "expired")) as server:
            return await download(f"{server.url}/v.mp4")

    assert asyncio.run(run()) == (403, b"expired")


async def cut(wire: Wire) -> None:
    await wire.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
    wire.writer.close()


async def stall(wire: Wire) -> None:
    await wire.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
    await asyncio.sleep(30)


@pytest.mark.parametrize("behaviour", [cut, stall, reset, says(302, "", {"Location": "/again"})])
def test_a_download_that_ends_early_is_an_error_and_no_short_video(behaviour: Behaviour) -> None:
    async def run() -> None:
        async with serving(behaviour) as server:
            with pytest.raises(httpx.HTTPError):
                await download(f"{server.url}/v.mp4")
            assert len(server.gets) <= 6  # five redirects, not more

    asyncio.run(run())


@pytest.mark.parametrize("url", ["http://[", "ftp://cdn.test/v.mp4", "no url", "http://nowhere.invalid/v.mp4", ""])
def test_a_url_that_cannot_be_fetched_is_an_error_of_the_network(url: str) -> None:
    with pytest.raises(httpx.HTTPError):
        asyncio.run(download(url))


def test_a_signed_url_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with serving(says(200, VIDEO)) as server:
            await download(f"{server.url}/v.mp4?Signature=topsecret")

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    assert "topsecret" not in caplog.text
