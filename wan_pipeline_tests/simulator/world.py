"""What the simulator's tests share: sample files, a place to fetch them from, a clock to move, a simulator over both."""

from __future__ import annotations

import asyncio
import io
import wave
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from wan_pipeline.simulator.app import create_app
from wan_pipeline.simulator.books import Books
from wan_pipeline.simulator.config import SimulatorConfig

SOURCE = "http://bucket.test"
KEY = {"Authorization": "Bearer key-1"}


@cache
def picture(width: int = 640, height: int = 360, kind: str = "JPEG", mode: str = "RGB", color: Any = None) -> bytes:
    buffer = io.BytesIO()
    if color is None:
        image = Image.radial_gradient("L").resize((width, height)).convert(mode)
    else:
        image = Image.new(mode, (width, height), color)
    image.save(buffer, kind)
    return buffer.getvalue()


@cache
def clip(seconds: float = 2, width: int = 320, height: int = 240, kind: str = "mp4") -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as container:
        stream = container.add_stream("libx264" if kind in ("mp4", "mov") else "libvpx", rate=8)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(round(seconds * 8)):
            frame = av.VideoFrame.from_image(Image.new("RGB", (width, height), (200, 30, 10)))
            frame.pts, frame.time_base = number, Fraction(1, 8)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


@cache
def sound(seconds: float = 3, kind: str = "wav") -> bytes:
    samples = (np.sin(np.arange(round(seconds * 16000)) / 20) * 12000).astype(np.int16)
    buffer = io.BytesIO()
    if kind == "wav":
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(samples.tobytes())
        return buffer.getvalue()
    with av.open(buffer, "w", format=kind) as container:
        stream = container.add_stream("libmp3lame" if kind == "mp3" else "aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32) / 32768, format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Source:
    """A web server of sample files that counts what it is asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    def put(self, name: str, data: bytes) -> str:
        self.files[name] = data
        return f"{SOURCE}/{name}"

    async def serve(self, request: Request) -> Response:
        name = request.path_params["name"]
        self.asked[name] += 1
        if name == "loop":
            return RedirectResponse(f"{SOURCE}/loop")
        if name == "moved":
            return RedirectResponse(f"{SOURCE}/cat.jpg")
        return Response(self.files[name]) if name in self.files else Response(status_code=404)

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{name:path}", self.serve)])


class Http:
    """Talks to the application as demo mode does: in process, each time on another event loop."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    def request(self, method: str, url: str, headers: dict[str, str] | None = None, **extra: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://sim.test", headers=KEY) as client:
                return await client.request(method, url, headers=headers, **extra)

        return asyncio.run(send())

    def get(self, url: str, **extra: Any) -> httpx.Response:
        return self.request("GET", url, **extra)

    def post(self, url: str, **extra: Any) -> httpx.Response:
        return self.request("POST", url, **extra)


class World:
    """A simulator, its clock, its books, and the files that can be given to it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.clock = Clock()
        self.source = Source()
        self.image = self.source.put("cat.jpg", picture())
        settings = {"render": "shared", "jitter": 0.0, "clock": self.clock} | settings
        self.config = SimulatorConfig(folder=folder, **settings)
        fetch = httpx.AsyncClient(transport=httpx.ASGITransport(self.source.app))
        self.http = Http(create_app(self.config, fetch=fetch))
        self.books = Books(folder, self.clock)

    def finish(self) -> None:
        """Lets the time pass in which every job gets ready."""
        self.clock.now += self.config.latency_s * 2 + 1

    # --- submissions as the documents' examples have them ---

    def shortapi(self, model: str = "alibaba/wan-2.6/image-to-video", **args: Any) -> httpx.Response:
        if model.endswith("wan-2.6/image-to-video"):
            args = {"prompt": "A cat", "image_url": self.image} | args
        return self.http.post("/api/v1/job/create", json={"model": model, "args": args})

    def aimlapi(self, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        body = {"model": "alibaba/wan-2-6-i2v", "prompt": "A cat", "image_url": self.image} | body
        return self.http.post("/v2/video/generations", json=body, headers=headers)

    def wavespeed(self, **body: Any) -> httpx.Response:
        body = {"image": self.image, "prompt": "A cat"} | body
        return self.http.post("/api/v3/alibaba/wan-2.6/image-to-video-flash", json=body)


PROVIDERS = ("shortapi", "aimlapi", "wavespeed")


def accepted(answer: httpx.Response) -> str | None:
    """The job's id, where the answer is an acceptance in its provider's style."""
    body = answer.json()
    if answer.status_code != 200 or body.get("code", 0) not in (0, 200):
        return None
    return body["id"] if "id" in body else (body["data"].get("job_id") or body["data"]["id"])


def probe(data: bytes) -> dict[str, Any]:
    """What the finished video is."""
    with av.open(io.BytesIO(data)) as container:
        video = container.streams.video[0]
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video)]
        found = {
            "codec": video.codec_context.name,
            "pixels": video.codec_context.pix_fmt,
            "size": (video.width, video.height),
            "frames": len(frames),
            "fps": float(video.average_rate or 0),
            "duration_s": (container.duration or 0) / 1_000_000,
            "audio": [stream.codec_context.name for stream in container.streams.audio],
            "moves": float(np.abs(frames[0].astype(int) - frames[-1]).mean()),
            "last": frames[-1],
        }
    if found["audio"]:
        with av.open(io.BytesIO(data)) as container:
            parts = [frame.to_ndarray() for frame in container.decode(container.streams.audio[0])]
            found["sound"] = np.concatenate(parts, axis=1)[0]
    return found
