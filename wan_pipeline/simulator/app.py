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
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from wan_pipeline.simulator import aimlapi, shortapi, wavespeed
from wan_pipeline.simulator.aimlapi_account import AimlApiAccount
from wan_pipeline.simulator.books import Books
from wan_pipeline.simulator.callbacks import Callbacks
from wan_pipeline.simulator.config import SimulatorConfig
from wan_pipeline.simulator.files import Files
from wan_pipeline.simulator.money import dollars
from wan_pipeline.simulator.orders import RefusalError
from wan_pipeline.simulator.results import Results
from wan_pipeline.simulator.service import Service
from wan_pipeline.simulator.shortapi import ShortApi
from wan_pipeline.simulator.traffic import Counted, Traffic
from wan_pipeline.simulator.wavespeed_account import WaveSpeedAccount


def create_app(
    config: SimulatorConfig, *, fetch: httpx.AsyncClient | None = None, call: httpx.AsyncClient | None = None
) -> Starlette:
    """The application over `config.folder`. `fetch` gets the inputs by their URLs; without one, it uses its own.

    `call` makes the callbacks, likewise; it is used on an event loop in a thread of its own, or on that of whoever calls
    `deliver_callbacks`. The application needs no lifespan (an in-process transport runs none), and may serve several
    event loops at once, unless `fetch` is bound to one.
    """
    service = Service(config, fetch)
    results, files = Results(service), Files(service)
    short, aiml = ShortApi(service, results), aimlapi.AimlApi(service, results)
    wave = wavespeed.WaveSpeed(service, results, files)
    aiml_account, wave_account = AimlApiAccount(service), WaveSpeedAccount(service, wave)
    compose = {shortapi.PROVIDER: short.call, wavespeed.PROVIDER: wave.call}
    automatic = config.callbacks == "by themselves"
    callbacks = Callbacks(service.books, compose, config.callback_retries_s, call, automatic=automatic)
    service.on_callback = callbacks.wake
    callbacks.wake()  # for what an earlier process left
    traffic = Traffic()

    async def books(request: Request) -> Response:
        """GET /simulator/books: the whole books as JSON (no provider has this)."""
        return JSONResponse(await asyncio.to_thread(books_json, service.books))

    async def requests(request: Request) -> Response:
        """GET /simulator/requests: how often this process was asked what (no provider has this)."""
        return JSONResponse(traffic.as_json())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        yield
        await asyncio.to_thread(callbacks.stop)
        await service.close()

    routes = [
        Route("/api/v1/job/create", short.create, methods=["POST"]),
        Route("/api/v1/job/query", short.query, methods=["GET"]),
        Route("/v2/video/generations", aiml.create, methods=["POST"]),
        Route("/v2/video/generations", aiml.get, methods=["GET"]),
        Route("/v2/logs", aiml_account.logs, methods=["GET"]),
        Route("/v2/billing/transactions", aiml_account.transactions, methods=["GET"]),
        Route(f"/api/v3/{wavespeed.MODEL}", wave.create, methods=["POST"]),
        Route("/api/v3/predictions", wave_account.predictions, methods=["POST"]),
        Route("/api/v3/billings/search", wave_account.billings, methods=["POST"]),
        Route("/api/v3/webhook/secret", wave.webhook_secret, methods=["GET"]),
        Route("/api/v3/predictions/{id}/result", wave.result, methods=["GET"]),
        Route("/api/v3/predictions/{id}", wave.result, methods=["GET"]),
        Route("/api/v3/model/price", wave.price, methods=["POST"]),
        Route("/api/v3/balance", wave.balance, methods=["GET"]),
        Route("/api/v3/media/uploads", wave.upload, methods=["POST"]),
        Route("/files/{name}.mp4", files.result, methods=["GET"]),
        Route("/uploads/{id}/{name}", files.put_upload, methods=["PUT"]),
        Route("/uploads/{id}/{name}", files.get_upload, methods=["GET"]),
        Route("/simulator/books", books, methods=["GET"]),
        Route("/simulator/requests", requests, methods=["GET"]),
    ]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={HTTPException: _not_there},
        middleware=[Middleware(Counted, traffic)],
    )
    app.state.callbacks = callbacks
    return app


async def deliver_callbacks(app: Starlette) -> int:
    """Makes the callbacks that are due by the simulator's clock, on this event loop; gives how many there were."""
    return await app.state.callbacks.deliver_due()


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
        "deliveries": [_plain(asdict(delivery)) for delivery in books.deliveries()],
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
