"""ShortAPI as its three documents describe it (wan-2.6 image-to-video, wan-2.6 reference-to-video, wan-2.7).

An error is HTTP 200 with a non-zero `code`, but for a missing key and too many requests, which a proxy before the API
would answer. Where the documents are silent (statuses 0, 1 and 3; the shape of an error), shared/providers/README.md is
followed. What a `callback_url` is sent is documented nowhere: here it is what a query would answer, and the job's id.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse

from wan_pipeline.simulator.books import Job
from wan_pipeline.simulator.callbacks import Message
from wan_pipeline.simulator.money import dollars, usd
from wan_pipeline.simulator.orders import (
    ANY_AUDIO,
    ANY_IMAGE,
    MEGABYTE,
    STATUSES,
    Body,
    Input,
    InputLimits,
    Order,
    RefusalError,
    one_of,
    read_body,
    web_url,
)
from wan_pipeline.simulator.results import Results
from wan_pipeline.simulator.service import Service

PROVIDER = "shortapi"
I2V_26 = "alibaba/wan-2.6/image-to-video"
R2V_26 = "alibaba/wan-2.6/reference-to-video"
I2V_27 = "alibaba/wan-2.7/image-to-video"
_NANOS_PER_SECOND_26 = {"720p": usd("0.085"), "1080p": usd("0.128")}
_NANOS_PER_SECOND_27 = usd("0.085")

_NO_CALLBACK = "CALLBACK_URL"
_PICTURES = frozenset({"jpeg", "png", "bmp", "webp"})
_R2V_IMAGE = InputLimits("image", 10 * MEGABYTE, _PICTURES, 240, 5000, png_alpha=False)
_R2V_CLIP = InputLimits("clip", 100 * MEGABYTE, frozenset({"mp4", "mov"}), min_duration_s=1, max_duration_s=30)
_IMAGE_27 = InputLimits("image", 20 * MEGABYTE, _PICTURES, 240, 8000, max_aspect=8, png_alpha=False)
_AUDIO_27 = InputLimits("audio", 15 * MEGABYTE, frozenset({"wav", "mp3"}), min_duration_s=2, max_duration_s=30)
_CLIP_27 = InputLimits(
    "clip", 100 * MEGABYTE, frozenset({"mp4", "mov"}), 240, 4096, 8, min_duration_s=2, max_duration_s=10
)

Url = Annotated[str, AfterValidator(web_url)]
NegativePrompt = Annotated[str, Field(max_length=500)]


class I2V26Args(Body):
    """Document "alibaba/wan-2.6/image-to-video"."""

    prompt: Annotated[str, Field(min_length=1, max_length=1500)]
    negative_prompt: NegativePrompt | None = None
    image_url: Url
    duration: Annotated[int, one_of(5, 10, 15)] = 5
    resolution: Literal["720P", "1080P"] = "1080P"
    audio_url: Url | None = None
    shot_type: Literal["single", "multi"] | None = None
    prompt_extend: bool = False
    audio: bool = False

    def order(self) -> Order:
        # A given audio is the background music, unless the sound is switched off in so many words (README, trap 12).
        given = self.audio_url is not None and not ("audio" in self.model_fields_set and not self.audio)
        inputs = [Input("image_url", self.image_url, ANY_IMAGE)]
        if self.audio_url is not None:
            inputs.append(Input("audio_url", self.audio_url, ANY_AUDIO))
        resolution = _resolution(self.resolution)
        return Order(
            provider=PROVIDER,
            model=I2V_26,
            prompt=self.prompt,
            duration_s=self.duration,
            resolution=resolution,
            sound="given" if given else "generated" if self.audio else "none",
            price_nanos=_NANOS_PER_SECOND_26[resolution] * self.duration,
            inputs=tuple(inputs),
            audio=1 if self.audio_url is not None else None,
        )


class R2V26Args(Body):
    """Document "alibaba/wan-2.6/reference-to-video". Billed by the duration ordered, as its price reads."""

    prompt: Annotated[str, Field(min_length=1, max_length=1500)]
    negative_prompt: NegativePrompt | None = None
    image_urls: Annotated[list[Url], Field(max_length=5)] = []
    video_urls: Annotated[list[Url], Field(min_length=1, max_length=3)]
    duration: Annotated[int, one_of(2, 3, 4, 5, 6, 7, 8, 9, 10)] = 5
    resolution: Literal["720p", "1080p"] = "1080p"
    shot_type: Literal["single", "multi"] = "single"
    audio: bool = False

    @model_validator(mode="after")
    def _few_references(self) -> R2V26Args:
        if len(self.image_urls) + len(self.video_urls) > 5:
            raise ValueError("image_urls and video_urls: at most 5 in total")
        return self

    def order(self) -> Order:
        videos = [Input(f"video_urls.{number}", url, _R2V_CLIP) for number, url in enumerate(self.video_urls)]
        images = [Input(f"image_urls.{number}", url, _R2V_IMAGE) for number, url in enumerate(self.image_urls)]
        return Order(
            provider=PROVIDER,
            model=R2V_26,
            prompt=self.prompt,
            duration_s=self.duration,
            resolution=self.resolution,
            sound="generated" if self.audio else "none",
            price_nanos=_NANOS_PER_SECOND_26[self.resolution] * self.duration,
            inputs=(*videos, *images),
        )


_COMBINATIONS_27 = (
    {"first_frame_image"},
    {"first_frame_image", "driving_audio_url"},
    {"first_frame_image", "last_frame_image"},
    {"first_frame_image", "last_frame_image", "driving_audio_url"},
    {"first_clip_video_url"},
    {"first_clip_video_url", "last_frame_image"},
)


class I2V27Args(Body):
    """Document "alibaba/wan-2.7/image-to-video". It has no switch for sound: only a driving audio makes any."""

    prompt: Annotated[str, Field(max_length=5000)] = ""
    negative_prompt: NegativePrompt | None = None
    resolution: Literal["720p", "1080p"] = "1080p"
    duration: Annotated[int, Field(ge=2, le=15)] = 5
    prompt_extend: bool = False
    first_frame_image: Url | None = None
    last_frame_image: Url | None = None
    driving_audio_url: Url | None = None
    first_clip_video_url: Url | None = None

    @model_validator(mode="after")
    def _supported_combination(self) -> I2V27Args:
        given = {field for field, _ in self._given()}
        if given not in _COMBINATIONS_27:
            allowed = "; ".join(" + ".join(sorted(each)) for each in _COMBINATIONS_27)
            shown = " + ".join(sorted(given)) or "no input"
            raise ValueError(f"{shown}: not a supported input combination, which are: {allowed}")
        return self

    def _given(self) -> list[tuple[str, InputLimits]]:
        limits = {
            "first_frame_image": _IMAGE_27,
            "first_clip_video_url": _CLIP_27,
            "last_frame_image": _IMAGE_27,
            "driving_audio_url": _AUDIO_27,
        }
        return [(field, limit) for field, limit in limits.items() if getattr(self, field) is not None]

    def order(self) -> Order:
        inputs = tuple(Input(field, getattr(self, field), limits) for field, limits in self._given())
        fields = [item.field for item in inputs]
        return Order(
            provider=PROVIDER,
            model=I2V_27,
            prompt=self.prompt,
            duration_s=self.duration,
            resolution=self.resolution,
            sound="given" if self.driving_audio_url is not None else "none",
            price_nanos=_NANOS_PER_SECOND_27 * self.duration,
            inputs=inputs,
            last_frame=fields.index("last_frame_image") if "last_frame_image" in fields else None,
            audio=fields.index("driving_audio_url") if "driving_audio_url" in fields else None,
        )


def _callback_url(url: str) -> str:
    return url if url == _NO_CALLBACK else web_url(url)


class CreateBody(Body):
    """POST /api/v1/job/create. The samples send the words "CALLBACK_URL" as `callback_url`: they are taken for none."""

    model: str
    args: dict[str, Any]
    callback_url: Annotated[str, AfterValidator(_callback_url)] | None = None


_MODELS: dict[str, type[I2V26Args] | type[R2V26Args] | type[I2V27Args]] = {
    I2V_26: I2V26Args,
    R2V_26: R2V26Args,
    I2V_27: I2V27Args,
}


def read_order(body: dict[str, Any]) -> Order:
    """What the body orders. Raises RefusalError."""
    create = read_body(CreateBody, body)
    arguments = _MODELS.get(create.model)
    if arguments is None:
        raise RefusalError(f"model: unknown model; there are {', '.join(_MODELS)}")
    order = read_body(arguments, create.args, "args").order()
    return replace(order, callback_url=None if create.callback_url == _NO_CALLBACK else create.callback_url)


class ShortApi:
    """The endpoints of ShortAPI."""

    def __init__(self, service: Service, results: Results) -> None:
        self._service = service
        self._results = results

    async def create(self, request: Request) -> JSONResponse:
        """POST /api/v1/job/create"""
        try:
            job = await self._service.submit(request, PROVIDER, read_order, str(uuid.uuid4()))
        except RefusalError as refusal:
            return _error(refusal)
        return JSONResponse({"code": 0, "data": {"amount": dollars(job.charged_nanos), "job_id": job.id}})

    async def query(self, request: Request) -> JSONResponse:
        """GET /api/v1/job/query?id="""
        try:
            self._service.authorize(request)
            job = self._service.find(PROVIDER, request.query_params.get("id", ""))
            if job is None:
                raise RefusalError("job not found", "unknown")
        except RefusalError as refusal:
            return _error(refusal)
        return JSONResponse(self._told(job, self._service.base_url(request)))

    def call(self, job: Job, base_url: str) -> Message:
        """What a callback is sent."""
        told = self._told(job, base_url)
        told["data"] = {"job_id": job.id, **told["data"]}
        return Message(json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _told(self, job: Job, base_url: str) -> dict[str, Any]:
        match job.state(self._service.now_s()):
            case "queued":
                return {"code": 0, "data": {"status": 0}}
            case "generating":
                return {"code": 0, "data": {"status": 1}}
            case "failed":
                return {"code": 0, "message": "generation failed", "data": {"status": 3}}
            case "completed":
                kind = "videos" if job.model == R2V_26 else "images"  # as the documents show it
                result = {kind: [{"url": self._results.url(job, base_url)}]}
                return {"code": 0, "data": {"status": 2, "result": result}}


def _error(refusal: RefusalError) -> JSONResponse:
    code = STATUSES[refusal.kind]
    status = code if code in (401, 429) else 200
    headers = None if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    return JSONResponse({"code": code, "message": refusal.message}, status, headers)


def _resolution(text: Literal["720P", "1080P"]) -> Literal["720p", "1080p"]:
    return "720p" if text == "720P" else "1080p"
