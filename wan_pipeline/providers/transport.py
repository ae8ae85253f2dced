"""How requests travel: timeouts for every phase, connection pools, and the reading of an answer within bounds."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from urllib.request import getproxies

import httpx

MAX_ANSWER_BYTES = 4 << 20

# httpx logs every request's whole URL at INFO, and a result's URL is signed.
logging.getLogger("httpx").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each phase of a request may take, in seconds, and how often a GET is tried."""

    connect_s: float = 10.0
    read_s: float = 60.0
    write_s: float = 30.0
    pool_s: float = 30.0
    whole_post_s: float = 300.0  # an answer that drips in byte by byte breaks no other limit
    whole_get_s: float = 60.0
    get_tries: int = 4
    get_wait_s: float = 0.5
    longest_get_wait_s: float = 10.0

    def timeout(self) -> httpx.Timeout:
        return httpx.Timeout(connect=self.connect_s, read=self.read_s, write=self.write_s, pool=self.pool_s)


class TooLargeError(Exception):
    """An answer larger than any that is documented."""


def open_client(
    transport: httpx.AsyncBaseTransport | None,
    limits: httpx.Limits,
    patience: Patience,
    headers: Mapping[str, str],
    *,
    follow_redirects: bool = False,
    many: bool = False,
) -> httpx.AsyncClient:
    """A client that retries nothing. `transport` (demo mode, tests) stays its owner's to close. `many`: for so many requests
    that their CPU counts, none of which buys."""
    carrier = _Borrowed(transport) if transport else None
    if carrier is None and many and not getproxies():  # httpx sees to proxies where it is given no transport
        from wan_pipeline.providers.aiohttp_transport import AiohttpTransport

        carrier = AiohttpTransport(_tls(), limits)
    return httpx.AsyncClient(
        transport=carrier,
        verify=_tls(),
        limits=limits,
        timeout=patience.timeout(),
        headers={"User-Agent": "wan-pipeline", **headers},
        follow_redirects=follow_redirects,
        max_redirects=5,
    )


async def read_all(response: httpx.Response) -> bytes:
    """The body. Raises TooLargeError, and httpx.HTTPError where it breaks off."""
    data = bytearray()
    async for chunk in response.aiter_bytes():
        data += chunk
        if len(data) > MAX_ANSWER_BYTES:
            raise TooLargeError(f"an answer of more than {MAX_ANSWER_BYTES:,} bytes")
    return bytes(data)


class _Borrowed(httpx.AsyncBaseTransport):
    """A transport that several clients share, so that none of them closes it."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._transport.handle_async_request(request)


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()  # reading the certificates takes a while: once is enough
