"""One submission's way through, the same for the three providers: received, allowed, fetched, charged, rendered.

What a provider's document says (fields, prices, shapes, statuses) is in its own module.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from starlette.requests import Request

from wan_pipeline.simulator.books import Books
from wan_pipeline.simulator.config import SimulatorConfig
from wan_pipeline.simulator.inputs import Inputs, Taken
from wan_pipeline.simulator.mishaps import mishap_of
from wan_pipeline.simulator.money import dollars
from wan_pipeline.simulator.orders import Order, RefusalError, kept_body
from wan_pipeline.simulator.records import Full, Job, NewCallback, NewFetch, NewJob, NoCredit
from wan_pipeline.simulator.render import VideoOrder, video_size
from wan_pipeline.simulator.renderer import Renderer
from wan_pipeline.simulator.signing import Signer

_MAX_BODY_BYTES = 64 * 1024 * 1024  # AI/ML API takes images as data URIs


class Service:
    """The simulator behind its endpoints."""

    def __init__(self, config: SimulatorConfig, fetch: httpx.AsyncClient | None) -> None:
        self.config = config
        self.signer = Signer(config.folder)
        self.books = Books(config.folder, config.clock)
        self.inputs = Inputs(config.folder, fetch, keep=config.render == "each")
        self._renderer = Renderer(self.inputs.path)
        self.on_callback: Callable[[], None] = lambda: None  # told when somebody has to be called back

    def now_s(self) -> float:
        return self.config.clock()

    def base_url(self, request: Request) -> str:
        """Where result URLs point: as configured, or the host that the request named."""
        return (self.config.base_url or str(request.base_url)).rstrip("/")

    def authorize(self, request: Request) -> str:
        """The bearer token. Raises RefusalError where it is missing or wrong."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise RefusalError("missing API key: send Authorization: Bearer <key>", "unauthorized")
        if self.config.keys is not None and token not in self.config.keys:
            raise RefusalError("invalid API key", "unauthorized")
        return token

    async def submit(
        self,
        request: Request,
        provider: str,
        read: Callable[[dict[str, Any]], Order],
        job_id: str,
        client_request_id: str | None = None,
    ) -> Job:
        """The accepted job: charged, durably, before this returns. Raises RefusalError: then nothing is charged."""
        post_id = self.books.receive(provider, client_request_id)
        fetched: list[NewFetch] = []
        try:
            key = self.signer.fingerprint(self.authorize(request))
            body = await json_body(request)
            order = read(body)
            if "[refuse]" in order.prompt:
                raise RefusalError("prompt: the request was refused by the content policy")
            limit = self.config.limit(provider)
            full = self.books.full(provider, limit)  # asked before fetching; `accept` decides
            if full is not None:
                raise _busy(full)
            taken = [await self.inputs.take(item, fetched) for item in order.inputs]
        except RefusalError as refusal:
            self.books.refuse(post_id, refusal.kind, fetched)
            raise
        video = self._video(order, taken)
        new = NewJob(
            id=job_id,
            provider=provider,
            model=order.model,
            body=kept_body(body),
            client_request_id=client_request_id,
            charged_nanos=order.price_nanos,
            fails="[fail]" in order.prompt,
            video=json.dumps(video.as_json()),
            mishap=mishap_of(order.prompt),
            key=key,
            callback=NewCallback(order.callback_url, self.base_url(request)) if order.callback_url else None,
        )
        job = self.books.accept(post_id, new, fetched, self.config.job_latency_s, limit, self.config.opening_nanos)
        if isinstance(job, Full):
            raise _busy(job)
        if isinstance(job, NoCredit):
            raise RefusalError(f"insufficient balance: {dollars(job.left_nanos)} USD are left", "no credit")
        if new.callback is not None:
            self.on_callback()
        if not job.fails and self.config.render == "each":  # a shared one is quick enough when it is first downloaded
            self.rendering(job)
        return job

    def find(self, provider: str, job_id: str) -> Job | None:
        """The job, where it is this provider's."""
        job = self.books.job(job_id)
        return job if job is not None and job.provider == provider else None

    def rendering(self, job: Job, *, awaited: bool = False) -> Future[Path]:
        """The job's video, rendered by then. The result raises what went wrong."""
        video = VideoOrder(320, 240, 1, tone=False) if job.mishap == "other video" else VideoOrder(**job.video)
        if video.first is None:
            sound = "sound" if video.tone else "silent"
            name = f"{video.width}x{video.height}-{video.duration_s}s-{sound}.mp4"
            target = self.config.folder / "shared" / name
        else:
            video = replace(video, variant=job.number)
            target = self.config.folder / "videos" / f"{job.id}.mp4"
        return self._renderer.request(video, target, awaited=awaited)

    async def close(self) -> None:
        """Stops rendering and closes this event loop's connections."""
        self._renderer.stop()
        await self.inputs.close()
        self.books.close()

    def _video(self, order: Order, taken: list[Taken]) -> VideoOrder:
        width, height = video_size(taken[0].width, taken[0].height, order.resolution)
        if self.config.render == "shared":
            return VideoOrder(width, height, order.duration_s, tone=order.sound != "none")
        return VideoOrder(
            width,
            height,
            order.duration_s,
            tone=order.sound == "generated",
            first=taken[0].kept,
            last=None if order.last_frame is None else taken[order.last_frame].kept,
            audio=taken[order.audio].kept if order.sound == "given" and order.audio is not None else None,
        )


def _busy(full: Full) -> RefusalError:
    message = f"too many requests: {full.in_flight} jobs are in progress"
    return RefusalError(message, "busy", max(1, math.ceil(full.free_in_s)))


async def json_body(request: Request) -> dict[str, Any]:
    """The request's JSON object. Raises RefusalError for anything else."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MAX_BODY_BYTES:
            raise RefusalError(f"body: more than {_MAX_BODY_BYTES} bytes")
    try:
        body = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise RefusalError("body: must be valid JSON") from None
    if not isinstance(body, dict):
        raise RefusalError("body: must be a JSON object")
    return body


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
