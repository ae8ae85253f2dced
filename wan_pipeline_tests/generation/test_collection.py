"""What is in memory of the results that arrive is bounded by chunks, however large they are and however slow the bucket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.bytes_collect import a_job, stored_only
from wan_pipeline.bucket import open_bucket
from wan_pipeline.generation.collection import _AT_ONCE, _CHUNK, Collector
from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.parts import EngineParts
from wan_pipeline.generation.publishing import Sink
from wan_pipeline.providers.download import Downloader

_PIECE = 256 << 10
_PIECES = 40


class _Server(httpx.AsyncBaseTransport):
    """Answers with 10 MB, as fast as they are taken."""

    def __init__(self) -> None:
        self.given = self.taken = self.most = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=_Body(self), headers={"Content-Length": str(_PIECE * _PIECES)})


class _Body(httpx.AsyncByteStream):
    def __init__(self, server: _Server) -> None:
        self._server = server

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(_PIECES):
            self._server.given += _PIECE
            self._server.most = max(self._server.most, self._server.given - self._server.taken)
            yield bytes(_PIECE)
            await asyncio.sleep(0)


def test_no_more_than_two_chunks_of_each_download_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = _Server()
    really = Sink.write

    def slowly(self: Sink, pieces: Any) -> None:
        time.sleep(0.005)
        really(self, pieces)
        server.taken += sum(len(piece) for piece in pieces)

    monkeypatch.setattr(Sink, "write", slowly)
    monkeypatch.setattr("wan_pipeline.generation.collection.publish", stored_only)

    async def work() -> None:
        bucket: Any = open_bucket(str(tmp_path))
        nothing: Any = None
        desk = Desk(EngineParts(nothing, bucket, nothing, nothing, server, simulated=True))
        try:
            async with Downloader(server) as downloader:
                collector = Collector(desk, downloader)
                jobs = [a_job(f"shot{number}") for number in range(2 * _AT_ONCE)]
                await asyncio.gather(*(collector.collect(job, "http://files.test/v.mp4") for job in jobs))
        finally:
            desk.close()

    asyncio.run(work())
    assert server.taken == server.given == 2 * _AT_ONCE * _PIECE * _PIECES
    assert server.most <= _AT_ONCE * (2 * _CHUNK + _PIECE)
