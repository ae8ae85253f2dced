"""A server that misbehaves on order, on a real socket, and counts what arrived."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import SecretStr

from wan_pipeline.providers.base import Model, ProviderLimits
from wan_pipeline.providers.catalog import find_model
from wan_pipeline.providers.client import HttpProviderClient, utc_now
from wan_pipeline.providers.connect import PROVIDERS
from wan_pipeline.providers.http import Patience

KEY = "sk-live-7f3a9c51d2e84b60"
QUICK = Patience(
    connect_s=2, read_s=0.3, write_s=2, pool_s=0.3, whole_post_s=1, whole_get_s=3, get_tries=3, get_wait_s=0.01
)
MODEL_OF: dict[str, Model] = {
    "shortapi": find_model("shortapi/wan-2.6-i2v"),
    "aimlapi": find_model("aimlapi/wan-2.6-i2v"),
    "wavespeed": find_model("wavespeed/wan-2.6-i2v-flash"),
}
ACCEPTED_BODY: dict[str, dict[str, Any]] = {
    "shortapi": {"code": 0, "data": {"amount": "0.425", "job_id": "job-1"}},
    "aimlapi": {"id": "job-1", "status": "queued", "meta": {"usage": {"credits_used": 1575000}}},
    "wavespeed": {
        "code": 200,
        "message": "success",
        "data": {
            "id": "job-1",
            "model": "alibaba/wan-2.6/image-to-video-flash",
            "outputs": [],
            "urls": {"get": "https://api.wavespeed.ai/api/v3/predictions/job-1/result"},
            "has_nsfw_contents": [],
            "status": "created",
            "created_at": "2026-08-01T12:34:56.789Z",
            "error": "",
            "timings": {"inference": 0},
        },
    },
}


@dataclass(frozen=True)
class Received:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class Wire:
    """One connection, from the server's side, after the request was read."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    request: Received | None = None  # the one that is to be answered, where it was read

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(
        self, status: int, body: bytes | str | object = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        if not isinstance(body, bytes):
            body = (body if isinstance(body, str) else json.dumps(body)).encode()
        lines = [f"HTTP/1.1 {status} Some Reason"]
        lines += [f"{name}: {value}" for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items()]
        await self.write("\r\n".join([*lines, "", ""]).encode() + body)

    def reset(self) -> None:
        self.writer.transport.abort()


Behaviour = Callable[[Wire], Awaitable[None]]


def says(status: int, body: bytes | str | object = b"", headers: Mapping[str, str] | None = None) -> Behaviour:
    """Answers with this."""

    async def behave(wire: Wire) -> None:
        await wire.answer(status, body, headers)

    return behave


@dataclass
class TinyServer:
    """`behaviours` are used up one per request, the last one for all that follow."""

    behaviours: list[Behaviour]
    read_requests: bool = True
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    url: str = ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number, wire = self.connections, Wire(reader, writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                if self.read_requests:
                    wire.request = await self._read(reader, number)
                    self.received.append(wire.request)
                turn = max(len(self.received), 1) - 1
                await self.behaviours[min(turn, len(self.behaviours) - 1)](wire)
                if not self.read_requests or writer.is_closing():
                    break
        writer.close()

    async def _read(self, reader: asyncio.StreamReader, connection: int) -> Received:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return Received(method, target, headers, body, connection)

    @property
    def posts(self) -> list[Received]:
        return [request for request in self.received if request.method == "POST"]

    @property
    def gets(self) -> list[Received]:
        return [request for request in self.received if request.method == "GET"]


@contextlib.asynccontextmanager
async def serving(*behaviours: Behaviour, read_requests: bool = True) -> AsyncGenerator[TinyServer]:
    """The server on a free port of this machine."""
    tiny = TinyServer(list(behaviours), read_requests)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(tiny._serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    tiny.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield tiny
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def client_of(
    provider: str,
    url: str,
    key: str = KEY,
    patience: Patience = QUICK,
    max_in_flight: int = 4,
    callback_base_url: str | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> HttpProviderClient:
    """The provider's client, aimed at that URL."""
    limits = ProviderLimits(max_in_flight, 100)
    client_class = PROVIDERS[provider].client_class
    return client_class(url, SecretStr(key), limits, None, patience, callback_base_url, clock)
