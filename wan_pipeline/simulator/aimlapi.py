"""AI/ML API's video generation as its document and its OpenAPI description say, for `alibaba/wan-2-6-i2v`.

`duration` is an integer here, as the schema has it; the document's sample sends "5", which is refused, so that a client
that sends strings shows. The request logs and account transactions are in aimlapi_account.py.
"""

from __future__ import annotations

import re
import secrets
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from starlette.requests import Request
from starlette.responses import JSONResponse

from wan_pipeline.simulator.money import NANOS_PER_CREDIT, dollars, usd
from wan_pipeline.simulator.orders import (
    ANY_AUDIO,
    ANY_IMAGE,
    STATUSES,
    Body,
    Input,
    Order,
    RefusalError,
    one_of,
    read_body,
    web_url,
)
from wan_pipeline.simulator.results import Results
from wan_pipeline.simulator.service import Service

PROVIDER = "aimlapi"
MODEL = "alibaba/wan-2-6-i2v"
_NANOS_PER_SECOND = {"720p": usd("0.105"), "1080p": usd("0.1575")}
_CLIENT_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def _image_reference(url: str) -> str:
    return url if url.startswith("data:") else web_url(url)


class GenerationBody(Body):
    """POST /v2/video/generations"""

    model: Literal["alibaba/wan-2-6-i2v"]
    prompt: Annotated[str, Field(min_length=1)]
    image_url: Annotated[str, AfterValidator(_image_reference)]
    audio_url: Annotated[str, AfterValidator(web_url)] | None = None
    resolution: Literal["720p", "1080p"] = "1080p"
    duration: Annotated[int, one_of(5, 10, 15)] = 10
    negative_prompt: str = ""
    shot_type: Literal["single", "multi"] = "single"
    generate_audio: bool = True
    seed: int | None = None
    enhance_prompt: bool = True

    def order(self) -> Order:
        # generate_audio "takes effect only when 'audio_url' is not provided"
        sound = "given" if self.audio_url is not None else "generated" if self.generate_audio else "none"
        inputs = [Input("image_url", self.image_url, ANY_IMAGE)]
        if self.audio_url is not None:
            inputs.append(Input("audio_url", self.audio_url, ANY_AUDIO))
        return Order(
            provider=PROVIDER,
            model=MODEL,
            prompt=self.prompt,
            duration_s=self.duration,
            resolution=self.resolution,
            sound=sound,
            price_nanos=_NANOS_PER_SECOND[self.resolution] * self.duration,
            inputs=tuple(inputs),
            audio=1 if self.audio_url is not None else None,
        )


def read_order(body: dict[str, Any]) -> Order:
    """What the body orders. Raises RefusalError."""
    return read_body(GenerationBody, body).order()


class AimlApi:
    """The endpoints of AI/ML API."""

    def __init__(self, service: Service, results: Results) -> None:
        self._service = service
        self._results = results

    async def create(self, request: Request) -> JSONResponse:
        """POST /v2/video/generations"""
        client_request_id = request.headers.get("x-client-request-id", "")
        known = client_request_id if _CLIENT_REQUEST_ID.fullmatch(client_request_id) else None  # dropped silently
        try:
            job = await self._service.submit(request, PROVIDER, read_order, secrets.token_urlsafe(16), known)
        except RefusalError as refusal:
            return error(request, refusal)
        credits_used = job.charged_nanos // NANOS_PER_CREDIT
        headers = {
            "x-inference-id": job.id,
            "x-aimlapi-credits-used": str(credits_used),
            "x-aimlapi-usd-spent": dollars(job.charged_nanos),
        }
        body = {"id": job.id, "status": "queued", "meta": {"usage": {"credits_used": credits_used}}}
        return JSONResponse(body, headers=headers)

    async def get(self, request: Request) -> JSONResponse:
        """GET /v2/video/generations?generation_id= (the credits are told at submission alone)"""
        try:
            self._service.authorize(request)
            generation_id = request.query_params.get("generation_id")
            if not generation_id:
                raise RefusalError("generation_id: Required")
            job = self._service.find(PROVIDER, generation_id)
            if job is None:
                raise RefusalError("Generation not found", "unknown")
        except RefusalError as refusal:
            return error(request, refusal)
        state = job.state(self._service.now_s())
        answer: dict[str, Any] = {"id": job.id, "status": "error" if state == "failed" else state}
        if state == "completed":
            answer["video"] = {"url": self._results.url(job, self._service.base_url(request))}
        elif state == "failed":
            answer["error"] = {"name": "GenerationError", "message": "The generation did not succeed."}
        return JSONResponse(answer, headers={"x-inference-id": job.id})


def error(request: Request, refusal: RefusalError, status: int | None = None) -> JSONResponse:
    """A refusal in AI/ML API's style."""
    status = status or (403 if refusal.kind == "no credit" else STATUSES[refusal.kind])
    headers = None if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    body = {
        "message": refusal.message,
        "path": request.url.path,
        "requestId": str(uuid.uuid4()),
        "statusCode": status,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    return JSONResponse(body, status, headers)
