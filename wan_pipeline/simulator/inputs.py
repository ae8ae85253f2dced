"""Getting input files by the URLs that a body gives, and keeping what rendering will need of them.

Each URL is really fetched for each submission, as a provider must; what is known of the same bytes is remembered, since
decoding them again would tell nothing new.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import uuid
import weakref
from dataclasses import dataclass
from pathlib import Path

import httpx

from wan_pipeline.simulator.books import NewFetch
from wan_pipeline.simulator.media import Examined, examine
from wan_pipeline.simulator.orders import Input, InputLimits, RefusalError, without_query

_TIMEOUT = httpx.Timeout(20.0, connect=10.0)
_WHOLE_FETCH_S = 120.0
_MAX_REDIRECTS = 5
_REMEMBERED = 2_000
_INLINE_HASH_BYTES = 1_000_000


@dataclass(frozen=True)
class Taken:
    """An input that was fetched and read. `kept` is the name of its file under `inputs/`, where one is kept."""

    width: int
    height: int
    kept: str | None


@dataclass(frozen=True)
class _Known:
    """What is remembered of bytes read before: everything but the picture."""

    width: int
    height: int
    refusal: str | None


class Inputs:
    """Takes inputs for submissions. With `keep`, what a video is rendered from is kept in `folder/inputs`."""

    def __init__(self, folder: Path, fetch: httpx.AsyncClient | None, *, keep: bool) -> None:
        self._folder = folder / "inputs"
        self._handed_in = fetch
        self._keep = keep
        self._known: dict[tuple[str, InputLimits], _Known] = {}
        # A connection pool belongs to one event loop; in demo mode several threads each run a loop of their own.
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = (
            weakref.WeakKeyDictionary()
        )
        if keep:
            self._folder.mkdir(parents=True, exist_ok=True)

    async def take(self, item: Input, fetched: list[NewFetch]) -> Taken:
        """Fetches and reads the input; appends to `fetched` what came by HTTP. Raises RefusalError naming the field."""
        try:
            data = _from_data_uri(item.url) if item.url.startswith("data:") else await self._get(item)
            quick = len(data) <= _INLINE_HASH_BYTES
            sha256 = _sha256(data) if quick else await asyncio.to_thread(_sha256, data)
            if not item.url.startswith("data:"):
                fetched.append(NewFetch(item.field, without_query(item.url), len(data), sha256))
            known = self._known.get((sha256, item.limits))
            if known is None:
                known = await asyncio.to_thread(self._read, data, sha256, item.limits)
            if known.refusal is not None:
                raise RefusalError(known.refusal)
        except RefusalError as refusal:
            raise RefusalError(f"{item.field}: {refusal.message}") from None
        return Taken(known.width, known.height, _kept_name(sha256, item.limits) if self._keep else None)

    def path(self, kept: str) -> Path:
        """Where a kept input lies."""
        return self._folder / kept

    async def close(self) -> None:
        """Closes the connections of the running event loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    async def _get(self, item: Input) -> bytes:
        try:
            async with asyncio.timeout(_WHOLE_FETCH_S):
                try:
                    return await self._read_url(item)
                except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                    return await self._read_url(item)  # a kept connection that the other side had just closed
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, TimeoutError) as error:
            # The error's text may hold the URL with its signature: its kind says enough.
            raise RefusalError(f"the URL cannot be fetched ({type(error).__name__})") from None

    async def _read_url(self, item: Input) -> bytes:
        async with self._client().stream("GET", item.url, timeout=_TIMEOUT, follow_redirects=True) as answer:
            if answer.status_code != 200:
                raise RefusalError(f"the URL answered with HTTP {answer.status_code}")
            data = bytearray()
            async for chunk in answer.aiter_bytes():
                data += chunk
                if len(data) > item.limits.max_bytes:
                    raise RefusalError(f"the file has more than {item.limits.max_bytes} bytes")
            return bytes(data)

    def _client(self) -> httpx.AsyncClient:
        if self._handed_in is not None:
            return self._handed_in
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            limits = httpx.Limits(max_connections=100, max_keepalive_connections=50)
            client = httpx.AsyncClient(limits=limits, max_redirects=_MAX_REDIRECTS, trust_env=False)
            self._clients[loop] = client
        return client

    def _read(self, data: bytes, sha256: str, limits: InputLimits) -> _Known:
        try:
            examined = examine(data, limits)
        except RefusalError as refusal:
            known = _Known(0, 0, refusal.message)
        else:
            self._store(examined, data, sha256, limits)
            known = _Known(examined.width, examined.height, None)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[sha256, limits] = known
        return known

    def _store(self, examined: Examined, data: bytes, sha256: str, limits: InputLimits) -> None:
        if not self._keep:
            return
        target = self._folder / _kept_name(sha256, limits)
        if not target.exists():
            temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
            temporary.write_bytes(data if examined.picture is None else examined.picture)
            os.replace(temporary, target)  # noqa: PTH105 - atomic, also where another process does the same


def _kept_name(sha256: str, limits: InputLimits) -> str:
    return f"{sha256}.{limits.kind}"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _from_data_uri(uri: str) -> bytes:
    head, _, payload = uri.partition(",")
    if not head.startswith("data:image/") or not head.endswith(";base64"):
        raise RefusalError("a data URI must be data:image/...;base64,...")
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        raise RefusalError("the data URI's base64 is broken") from None
