"""A poll's CPU by what carries it: httpx's own transport (httpcore) against aiohttp beneath httpx.

    python -m benchmarks.transports [--requests 2000]

One small JSON answer asked for again and again from a server of its own process, with 16, 64 and 200 connections. Prints CPU
milliseconds for a request in this process, and the ratio. Exits with 1 where an answer is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from itertools import product

import httpx

from wan_pipeline.providers.aiohttp_transport import AiohttpTransport
from wan_pipeline.providers.transport import Patience

_CONNECTIONS = (16, 64, 200)
_SERVER = """
import sys
import uvicorn
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b'{"data": {"status": "processing"}}'})
uvicorn.run(app, port=int(sys.argv[1]), log_level="error", lifespan="off", timeout_keep_alive=60)
"""


async def cpu_ms(url: str, connections: int, requests: int, *, aiohttp: bool) -> float:
    """CPU of this process for one request, in milliseconds. Raises httpx.HTTPError."""
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=30)
    carrier = AiohttpTransport(httpx.create_ssl_context(), limits) if aiohttp else None
    turns = asyncio.Semaphore(connections)
    async with httpx.AsyncClient(transport=carrier, limits=limits, timeout=Patience().timeout()) as client:

        async def one() -> None:
            async with turns:
                (await client.get(url)).raise_for_status().json()

        await asyncio.gather(*(one() for _ in range(connections)))  # the connections are there
        began_s = time.process_time()
        await asyncio.gather(*(one() for _ in range(requests)))
        return (time.process_time() - began_s) / requests * 1e3


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--requests", type=int, default=2000)
    given = options.parse_args()
    from benchmarks.arena import free_port

    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    with subprocess.Popen([sys.executable, "-c", _SERVER, str(port)]) as server:
        try:
            for _ in range(100):
                try:
                    httpx.get(url)
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            found = {
                (connections, aiohttp): asyncio.run(cpu_ms(url, connections, given.requests, aiohttp=aiohttp))
                for connections, aiohttp in product(_CONNECTIONS, (False, True))
            }
        finally:
            server.terminate()
    print("connections   httpcore ms   aiohttp ms   ratio")
    for connections in _CONNECTIONS:
        httpcore, aiohttp = found[connections, False], found[connections, True]
        print(f"{connections:11}   {httpcore:11.3f}   {aiohttp:10.3f}   {httpcore / aiohttp:5.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
