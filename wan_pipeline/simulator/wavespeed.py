"""WaveSpeed as its document of wan-2.6 image-to-video-flash describes it, and what its official SDK (2.0.5) needs.

`?webhook=URL` of a submission is called when the prediction has ended, signed: see `call`. The list of predictions and
the billing records are in wavespeed_account.py.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from starlette.requests import Request
from starlette.responses import JSONResponse

from wan_pipeline.simulator.books import Job
from wan_pipeline.simulator.callbacks import Message
from wan_pipeline.simulator.files import MAX_UPLOAD_BYTES, Files
from wan_pipeline.simulator.money import NANOS_PER_USD, usd
from wan_pipeline.simulator.orders import (
    ANY_AUDIO,
    ANY_IMAGE,
    STATUSES,
    Body,
    Input,
    Order,
    RefusalError,
    read_body,
    web_url,
)
from wan_pipeline.simulator.queries import Query, web_time
from wan_pipeline.simulator.records import State
from wan_pipeline.simulator.results import Results
from wan_pipeline.simulator.service import Service, json_body

PROVIDER = "wavespeed"
MODEL = "alibaba/wan-2.6/image-to-video-flash"
_NANOS_PER_SECOND = usd("0.125") // 5
STATUS_WORDS: Mapping[State, str] = {
    "queued": "created",
    "generating": "processing",
    "completed": "completed",
    "failed": "failed",
}
_SYNC_LOOK_EVERY_S = 0.5

Url = Annotated[str, AfterValidator(web_url)]


class Settings(Body):
    """What the price depends on, and the rest that may be left out."""

    audio: Url | None = None
    negative_prompt: str = ""
    resolution: Literal["720p", "1080p"] = "720p"
    duration: Annotated[int, Field(ge=2, le=15)] = 5
    shot_type: Literal["single", "multi"] = "single"
    enable_prompt_expansion: bool = False
    enable_audio: bool = True
    seed: Annotated[int, Field(ge=-1, le=2147483647)] = -1

    @property
    def price_nanos(self) -> int:
        """0.125 per 5 s, times 1.5 at 1080p, times 2 with audio (the document's billing rules)."""
        nanos = _NANOS_PER_SECOND * self.duration * (3 if self.resolution == "1080p" else 2)
        return nanos * (2 if self.enable_audio else 1) // 2


class FlashBody(Settings):
    """POST /api/v3/alibaba/wan-2.6/image-to-video-flash. `enable_sync_mode` is the SDK's: the answer waits for the end.

    `enable_audio=false`: "outputs silent video", and is billed as that, with a given audio too.
    """

    image: Url
    prompt: Annotated[str, Field(min_length=1)]
    enable_sync_mode: bool = False

    def order(self) -> Order:
        inputs = [Input("image", self.image, ANY_IMAGE)]
        if self.audio is not None:
            inputs.append(Input("audio", self.audio, ANY_AUDIO))
        return Order(
            provider=PROVIDER,
            model=MODEL,
            prompt=self.prompt,
            duration_s=self.duration,
            resolution=self.resolution,
            sound="none" if not self.enable_audio else "generated" if self.audio is None else "given",
            price_nanos=self.price_nanos,
            inputs=tuple(inputs),
            audio=1 if self.audio is not None else None,
        )


class PriceInputs(Settings):
    """What a price may be asked with: the body, of which image and prompt may be missing."""

    image: Url | None = None
    prompt: str | None = None


class PriceBody(Body):
    """POST /api/v3/model/price"""

    model_id: str
    inputs: dict[str, Any] = {}


class UploadBody(Body):
    """POST /api/v3/media/uploads, as the SDK sends it."""

    filename: Annotated[str, Field(min_length=1)]
    size: Annotated[int, Field(ge=0, le=MAX_UPLOAD_BYTES)]
    content_type: str | None = None


def read_order(body: dict[str, Any]) -> Order:
    """What the body orders. Raises RefusalError."""
    return read_body(FlashBody, body).order()


class WaveSpeed:
    """The endpoints of WaveSpeed."""

    def __init__(self, service: Service, results: Results, files: Files) -> None:
        self._service = service
        self._results = results
        self._files = files

    async def create(self, request: Request) -> JSONResponse:
        """POST /api/v3/alibaba/wan-2.6/image-to-video-flash, with `?webhook=URL` or without"""

        def read(body: dict[str, Any]) -> Order:
            return replace(read_order(body), callback_url=_webhook(request))

        try:
            job = await self._service.submit(request, PROVIDER, read, uuid.uuid4().hex)
        except RefusalError as refusal:
            return error(refusal)
        if job.body.get("enable_sync_mode"):
            while job.state(self._service.now_s()) not in ("completed", "failed"):
                left_s = job.ready_at.timestamp() - self._service.now_s()
                await asyncio.sleep(min(max(left_s, 0.0), _SYNC_LOOK_EVERY_S))
            return success(self.prediction(job, self._service.base_url(request)))
        return success(self.prediction(job, self._service.base_url(request), just_created=True))

    async def result(self, request: Request) -> JSONResponse:
        """GET /api/v3/predictions/{id}/result and /api/v3/predictions/{id}"""
        try:
            self._service.authorize(request)
            job = self._service.find(PROVIDER, request.path_params["id"])
            if job is None:
                raise RefusalError("prediction not found", "unknown")
        except RefusalError as refusal:
            return error(refusal)
        return success(self.prediction(job, self._service.base_url(request)))

    async def price(self, request: Request) -> JSONResponse:
        """POST /api/v3/model/price: what these inputs would cost; free."""
        try:
            self._service.authorize(request)
            asked = read_body(PriceBody, await json_body(request))
            if asked.model_id != MODEL:
                raise RefusalError(f"model_id: unknown model; there is {MODEL}", "unknown")
            nanos = read_body(PriceInputs, asked.inputs, "inputs").price_nanos
        except RefusalError as refusal:
            return error(refusal)
        price = nanos / NANOS_PER_USD  # a JSON number, as WaveSpeed gives it: for display, no books are kept with it
        answer = {"model_id": MODEL, "price": price, "discounted_price": price, "discount_rate": 0, "currency": "USD"}
        return success(answer)

    async def balance(self, request: Request) -> JSONResponse:
        """GET /api/v3/balance: of an account that began with 1,000 dollars, or with what is configured."""
        try:
            self._service.authorize(request)
        except RefusalError as refusal:
            return error(refusal)
        left = self._service.config.shown_opening_nanos - self._service.books.total_nanos(PROVIDER)
        return success({"balance": left / NANOS_PER_USD})

    async def upload(self, request: Request) -> JSONResponse:
        """POST /api/v3/media/uploads: where to put a file, and its URL afterwards."""
        try:
            self._service.authorize(request)
            asked = read_body(UploadBody, await json_body(request))
        except RefusalError as refusal:
            return error(refusal)
        put_url, download_url = self._files.upload_ticket(request, asked.filename)
        headers = {"Content-Type": asked.content_type} if asked.content_type else {}
        upload = {"method": "PUT", "url": put_url, "headers": headers}
        return success({"upload": upload, "download_url": download_url})

    async def webhook_secret(self, request: Request) -> JSONResponse:
        """GET /api/v3/webhook/secret: what the webhooks are signed with."""
        try:
            self._service.authorize(request)
        except RefusalError as refusal:
            return error(refusal)
        return success({"secret": self._secret()})

    def call(self, job: Job, base_url: str) -> Message:
        """What a webhook is sent: the prediction without an envelope, with its `input`, signed over its very bytes.

        `webhook-signature: v3,<hex>` is the HMAC-SHA256 of `id.timestamp.body` with the secret less its `whsec_`.
        """
        told = self.prediction(job, base_url)
        told["input"] = {name: value for name, value in job.body.items() if name != "enable_sync_mode"}
        body = json.dumps(told, ensure_ascii=False).encode()
        identity, timestamp = job.id, str(int(self._service.now_s()))  # one id for every try at it
        signed = b".".join((identity.encode(), timestamp.encode(), body))
        signature = hmac.new(self._secret().removeprefix("whsec_").encode(), signed, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "webhook-id": identity,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v3,{signature}",
        }
        return Message(body, headers)

    def prediction(self, job: Job, base_url: str, *, just_created: bool = False) -> dict[str, Any]:
        """A prediction as every endpoint shows it."""
        state = "queued" if just_created else job.state(self._service.now_s())
        done = state == "completed"
        return {
            "id": job.id,
            "model": job.model,
            "outputs": [self._results.url(job, base_url)] if done else [],
            "urls": {"get": f"{base_url}/api/v3/predictions/{job.id}/result"},
            "has_nsfw_contents": [False] if done else [],
            "status": STATUS_WORDS[state],
            "created_at": web_time(job.created_at),
            "error": "The generation did not succeed." if state == "failed" else "",
            "timings": {"inference": round(job.latency_s * 1000) if state in ("completed", "failed") else 0},
        }

    def _secret(self) -> str:
        return f"whsec_{self._service.signer.fingerprint('webhook')}"


def _webhook(request: Request) -> str | None:
    query = Query(request, ("webhook",))
    url = query.one("webhook")
    if url is not None:
        try:
            web_url(url)
        except ValueError as mistake:
            raise RefusalError(f"webhook: {mistake}") from None
    return url


def success(data: dict[str, Any]) -> JSONResponse:
    """An answer in WaveSpeed's style."""
    return JSONResponse({"code": 200, "message": "success", "data": data})


def error(refusal: RefusalError) -> JSONResponse:
    """A refusal in WaveSpeed's style. Which status it has for an empty account is not documented: 402 here."""
    code = STATUSES[refusal.kind]
    headers = None if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    return JSONResponse({"code": code, "message": refusal.message, "data": None}, code, headers)
