"""GETs carried by aiohttp are what httpx's own would be: the same bytes asked for, once, and the same kinds of trouble."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.providers.download import Downloader
from wan_pipeline_tests.providers.tiny_server import QUICK, Behaviour, TinyServer, Wire, says, serving

SIGNED = "/a%2Fb/~x%7Ey+z%20.mp4?X-Amz-Signature=ab%2Fcd%2B%3D&X=%7E~&e=&plus=a+b&lower=%c3%a9"


async def _reset(wire: Wire) -> None:
    wire.reset()


async def _hang(wire: Wire) -> None:
    del wire
    await asyncio.sleep(30)


async def _nonsense(wire: Wire) -> None:
    await wire.write(b"\x00\x01 this is no HTTP \r\n\r\n")
    wire.writer.close()


async def _cut(wire: Wire) -> None:
    await wire.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    wire.writer.close()


def _with_server(behaviour: Behaviour, work: Callable[[TinyServer], Awaitable[None]]) -> TinyServer:
    async def go() -> TinyServer:
        async with serving(behaviour) as server:
            await work(server)
            return server

    return asyncio.run(go())


async def _fetch(url: str) -> httpx.Response:
    async with Downloader(patience=QUICK) as downloader, downloader.stream(url) as response:
        await response.aread()
        return response


def test_a_signed_url_is_asked_for_letter_by_letter() -> None:
    async def work(server: TinyServer) -> None:
        await _fetch(server.url + SIGNED)

    assert _with_server(says(200, b"x"), work).gets[0].target == SIGNED


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"], exclude_characters="#"), max_size=30))
@settings(max_examples=60, deadline=None)
def test_whatever_httpx_makes_of_a_url_is_what_the_server_gets(path: str) -> None:
    asked: list[str] = []

    async def work(server: TinyServer) -> None:
        url = f"{server.url}/v?q={path}"
        asked.append(httpx.Request("GET", url).url.raw_path.decode())
        await _fetch(url)

    assert _with_server(says(200, b"x"), work).gets[0].target == asked[0]


def test_a_redirection_to_a_signed_url_is_followed_letter_by_letter() -> None:
    async def work(server: TinyServer) -> None:
        server.behaviours[:] = [says(302, b"", {"Location": server.url + SIGNED}), says(200, b"x")]
        await _fetch(server.url + "/first")

    assert [request.target for request in _with_server(says(200), work).gets] == ["/first", SIGNED]


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (_reset, httpx.TransportError),
        (_hang, httpx.ReadTimeout),
        (_nonsense, httpx.RemoteProtocolError),
        (_cut, httpx.TransportError),
    ],
)
def test_trouble_is_told_as_httpx_tells_it_without_the_url_and_nothing_is_repeated(
    trouble: Behaviour, kind: type[httpx.TransportError]
) -> None:
    async def work(server: TinyServer) -> None:
        with pytest.raises(kind) as told:
            await _fetch(server.url + SIGNED)
        assert "Signature" not in str(told.value)
        assert told.value.__suppress_context__ or "Signature" not in str(told.value.__context__)

    assert len(_with_server(trouble, work).gets) == 1


def test_nobody_there_is_no_connection() -> None:
    with pytest.raises(httpx.ConnectError):
        asyncio.run(_fetch("http://127.0.0.1:1/x"))


def test_no_cookie_is_carried_from_one_answer_to_the_next_request() -> None:
    async def work(server: TinyServer) -> None:
        async with Downloader(patience=QUICK) as downloader:
            for _ in range(2):
                async with downloader.stream(server.url + "/x") as response:
                    response.cookies.clear()
                    await response.aread()
                downloader._client.cookies.clear()

    told = _with_server(says(200, b"x", {"Set-Cookie": "a=b; Path=/"}), work)
    assert all("cookie" not in request.headers for request in told.gets)


def test_a_body_left_unread_does_not_keep_its_connection_busy() -> None:
    async def work(server: TinyServer) -> None:
        async with Downloader(patience=QUICK, max_connections=1) as downloader:
            for _ in range(3):
                async with downloader.stream(server.url + "/x") as response:
                    assert response.status_code == 200

    assert len(_with_server(says(200, b"x" * 3_000_000), work).gets) == 3


def test_behind_a_proxy_it_is_httpx_that_carries(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(server: TinyServer) -> None:
        monkeypatch.setenv("HTTP_PROXY", server.url)
        await _fetch("http://elsewhere.invalid/video.mp4")

    assert _with_server(says(200, b"x"), work).gets[0].target == "http://elsewhere.invalid/video.mp4"
