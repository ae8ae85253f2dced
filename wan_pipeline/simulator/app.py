"""The simulator as one ASGI application: the three providers' paths do not collide, so one root serves them all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from wan_pipeline.simulator import aimlapi, wavespeed
from wan_pipeline.simulator.books import Books
from wan_pipeline.simulator.config import SimulatorConfig
from wan_pipeline.simulator.files import Files
from wan_pipeline.simulator.money import dollars
from wan_pipeline.simulator.orders import RefusalError
from wan_pipeline.simulator.results import Results
from wan_pipeline.simulator.service import Service
from wan_pipeline.simulator.shortapi import ShortApi
from wan_pipeline.simulator.signing import Signer


def create_app(config: SimulatorConfig, *, fetch: httpx.AsyncClient | None = None) -> Starlette:
    """The application over `config.folder`. `fetch` gets the inputs by their URLs; without one, it uses its own.

    It needs no lifespan (an in-process transport runs none), and may serve several event loops at once, unless `fetch`
    is bound to one.
    """
    service = Service(config, fetch)
    signer = Signer(config.folder)
    results, files = Results(service, signer), Files(service, signer)
    short, aiml = ShortApi(service, results), aimlapi.AimlApi(service, results)
    wave = wavespeed.WaveSpeed(service, results, files)

    async def books(request: Request) -> Response:
        """GET /simulator/books: the whole books as JSON (no provider has this)."""
        return JSONResponse(await asyncio.to_thread(books_json, service.books))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        yield
        await service.close()

    routes = [
        Route("/api/v1/job/create", short.create, methods=["POST"]),
        Route("/api/v1/job/query", short.query, methods=["GET"]),
        Route("/v2/video/generations", aiml.create, methods=["POST"]),
        Route("/v2/video/generations", aiml.get, methods=["GET"]),
        Route(f"/api/v3/{wavespeed.MODEL}", wave.create, methods=["POST"]),
        Route("/api/v3/predictions/{id}/result", wave.result, methods=["GET"]),
        Route("/api/v3/predictions/{id}", wave.result, methods=["GET"]),
        Route("/api/v3/model/price", wave.price, methods=["POST"]),
        Route("/api/v3/balance", wave.balance, methods=["GET"]),
        Route("/api/v3/media/uploads", wave.upload, methods=["POST"]),
        Route("/files/{name}.mp4", files.result, methods=["GET"]),
        Route("/uploads/{id}/{name}", files.put_upload, methods=["PUT"]),
        Route("/uploads/{id}/{name}", files.get_upload, methods=["GET"]),
        Route("/simulator/books", books, methods=["GET"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _not_there})


def books_json(books: Books) -> dict[str, Any]:
    """The books for a reader: money as decimal strings of dollars, and as whole nano-dollars."""
    charges, refunds = books.charges(), books.refunds()
    now_s = books.now_s()
    providers = sorted({entry.provider for entry in charges})
    charged, refunded = sum(entry.nanos for entry in charges), sum(entry.nanos for entry in refunds)
    by_provider = {provider: _money("total", books.total_nanos(provider)) for provider in providers}
    return {
        **_money("total", charged - refunded),
        **_money("charged", charged),
        **_money("refunded", refunded),
        "by_provider": by_provider,
        "posts_by_provider": books.posts(),
        "jobs": [
            {**_plain(asdict(job)), **_money("charged", job.charged_nanos), "state": job.state(now_s)}
            for job in books.jobs()
        ],
        "charges": [{**_plain(asdict(entry)), "usd": dollars(entry.nanos)} for entry in charges],
        "refunds": [{**_plain(asdict(entry)), "usd": dollars(entry.nanos)} for entry in refunds],
        "posts": [_plain(asdict(post)) for post in books.post_rows()],
        "fetches": [_plain(asdict(fetch)) for fetch in books.fetches()],
    }


def _money(name: str, nanos: int) -> dict[str, Any]:
    return {f"{name}_usd": dollars(nanos), f"{name}_nanos": nanos}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in row.items()}


async def _not_there(request: Request, error: Exception) -> Response:
    """An unknown path or method, in the style of the provider it was meant for."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = f"{request.method} {request.url.path}: not found" if status == 404 else str(error)
    path = request.url.path
    if path.startswith(("/api/v3/", "/api/v1/")):
        return JSONResponse({"code": status, "message": message, "data": None}, status)
    if path.startswith("/v2/"):
        return aimlapi.error(request, RefusalError(message), status)
    return PlainTextResponse(message, status)
