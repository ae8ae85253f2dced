"""httpx's requests carried by aiohttp: for the many GETs (polls, downloads), a tenth of the CPU of httpx's own transport.

httpx's own (httpcore) looks at every connection of its pool, and at its socket, for each request that begins and ends
(`python -m benchmarks.transports` measures both). The package
httpx-aiohttp does the same as this, but has URLs quoted anew, which breaks signed ones, and lets some of aiohttp's errors
through. Never for a POST that buys: what is known of those rests on httpcore's errors.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from ssl import SSLContext

import aiohttp
import httpx
from yarl import URL

_READ_BYTES = 256 << 10
_LONGEST_LINE_BYTES = 32 << 10  # a redirection to a signed URL is long


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Belongs to one event loop, from its first request on. Redirects, retries and decoding are httpx's."""

    def __init__(self, tls: SSLContext, limits: httpx.Limits) -> None:
        self._tls = tls
        self._limits = limits
        self._opened: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises httpx.TransportError."""
        if self._opened is None:
            self._opened = self._open()
        patience: dict[str, float | None] = request.extensions.get("timeout", {})
        pool_s, connect_s = patience.get("pool"), patience.get("connect")
        waits_s = None if pool_s is None or connect_s is None else pool_s + connect_s
        timeout = aiohttp.ClientTimeout(
            total=None, connect=waits_s, sock_connect=connect_s, sock_read=patience.get("read")
        )
        body = await request.aread()
        with _told_as_httpx_does():
            answer = await self._opened.request(
                request.method,
                URL(str(request.url), encoded=True),  # as it is: a signature covers every letter of it
                headers=request.headers,
                data=body or None,
                allow_redirects=False,
                timeout=timeout,
            )
        return httpx.Response(answer.status, headers=list(answer.raw_headers), stream=_Body(answer), request=request)

    async def aclose(self) -> None:
        if self._opened is not None:
            await self._opened.close()

    def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=self._tls,
            limit=self._limits.max_connections or 0,
            keepalive_timeout=self._limits.keepalive_expiry or 5.0,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=_READ_BYTES,
            max_line_size=_LONGEST_LINE_BYTES,
            max_field_size=_LONGEST_LINE_BYTES,
        )
        session._retry_connection = False  # pyright: ignore[reportPrivateUsage]  # or it repeats a GET by itself
        return session


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _told_as_httpx_does():
            async for piece in self._answer.content.iter_any():
                yield piece

    async def aclose(self) -> None:
        self._answer.release()  # what was not read to its end closes its connection
        with _told_as_httpx_does():
            await self._answer.wait_for_close()


@contextmanager
def _told_as_httpx_does() -> Generator[None]:
    """The name of the trouble, never aiohttp's words: they hold the URL."""
    try:
        yield
    except TimeoutError as error:
        raise _timeout(error)(type(error).__name__) from None
    except aiohttp.InvalidURL as error:
        raise httpx.UnsupportedProtocol(type(error).__name__) from None
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError(type(error).__name__) from None
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientResponseError) as error:
        raise httpx.RemoteProtocolError(type(error).__name__) from None
    except (aiohttp.ClientError, OSError, EOFError) as error:
        raise httpx.ReadError(type(error).__name__) from None


def _timeout(error: TimeoutError) -> type[httpx.TimeoutException]:
    return httpx.ConnectTimeout if isinstance(error, aiohttp.ConnectionTimeoutError) else httpx.ReadTimeout
