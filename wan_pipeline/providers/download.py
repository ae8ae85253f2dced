"""Fetching results by the URLs that providers give."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import httpx

from wan_pipeline.providers.transport import Patience, open_client


class Downloader:
    """Streaming GETs to foreign hosts: no key is sent, up to five redirects are followed.

    `async with` it inside one event loop. `transport` (demo mode, tests) stays its owner's to close.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport | None = None,
        max_connections: int = 20,
        patience: Patience | None = None,
    ) -> None:
        limits = httpx.Limits(
            max_connections=max_connections, max_keepalive_connections=max_connections, keepalive_expiry=10
        )
        # Videos are compressed already, and the plain bytes can be counted against their Content-Length.
        headers = {"Accept-Encoding": "identity"}
        self._client = open_client(transport, limits, patience or Patience(), headers, follow_redirects=True, many=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    @asynccontextmanager
    async def stream(self, url: str) -> AsyncGenerator[httpx.Response]:
        """The answer to a GET, its body not read yet (`status_code`, `headers`, `aiter_bytes()`).

        Raises httpx.HTTPError for what the network does, also while the body is read; a body that ends early is one.
        Its message may hold the URL, which is signed: show its type instead.
        """
        try:
            request = self._client.build_request("GET", url)
        except (httpx.InvalidURL, ValueError):
            raise httpx.UnsupportedProtocol("the result's URL cannot be read") from None
        response = await self._client.send(request, stream=True)
        try:
            yield response
        finally:
            await response.aclose()
