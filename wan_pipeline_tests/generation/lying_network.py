"""The network and the providers' front doors, which lie: answers are lost before and after the work is done, late,
refused, garbled, of the wrong type, cut short.

A lie is told of a request of its class: a submission, a poll, a result's file, or a witness who is asked for a lost one.
What no answer can be told from is no lie here: a provider that says no and charges, or a witness that for ever leaves out
what there is, breaks every promise. What does not belong here: what is true (the simulator's books, lying_world.py).
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import httpx

from wan_pipeline_tests.generation.lying_process import Process, ProcessDied, never

# The lies by class of request. "before": the provider never sees the request; "after": it has done its work.
SUBMIT_LIES = (
    "no connection",
    "lost before",
    "lost after",
    "reset after",
    "hangs before",
    "hangs after",
    "late",
    "429",
    "429 soon",
    "429 in an hour",
    "429 whenever",
    "503 soon",
    "500 before",
    "500 after",
    "504 after",
    "408 after",
    "garbage after",
    "cut JSON after",
    "no id after",
    "wrong types after",
    "nothing after",
    "401",
    "402",
    "moved",
)
ASK_LIES = (
    *("lost", "reset", "hangs", "late", "429", "429 soon", "500", "404"),
    *("garbage", "wrong types", "nothing", "cut JSON"),
)
FILE_LIES = (
    *("lost", "reset", "hangs", "403", "404", "410", "500", "503 soon"),
    *("cut", "cut short", "page", "reset within", "empty"),
)
WITNESS_LIES = ("lost", "hangs", "429 soon", "500", "garbage", "wrong types", "nothing", "cut JSON", "401")
SUBMIT, POLL, FILE, WITNESS = "submit", "poll", "file", "witness"

ATTEMPT: ContextVar[str | None] = ContextVar("attempt", default=None)  # which attempt's POST this is


@dataclass(frozen=True)
class Lies:
    """What is told in a row, by class; None: the truth. When they are used up, all is true."""

    submit: tuple[str | None, ...] = ()
    poll: tuple[str | None, ...] = ()
    file: tuple[str | None, ...] = ()
    witness: tuple[str | None, ...] = ()


NO_LIES = Lies()


@dataclass
class Post:
    """A submission that left a process. `job_id`: what the provider took it as, whatever it then said."""

    attempt_id: str | None
    path: str
    process: Process
    arrived: bool = False
    job_id: str | None = None
    status: int | None = None


@dataclass
class Wire:
    """What went over it, and what was lied about."""

    posts: list[Post] = field(default_factory=list[Post])
    told: Counter[str] = field(default_factory=Counter[str])
    file_lies: Counter[str] = field(default_factory=Counter[str])  # by the provider's job id
    poll_lies: Counter[str] = field(default_factory=Counter[str])
    before_post: Callable[[Post], None] = lambda post: None


def class_of(request: httpx.Request) -> str:
    """The class of a request to the simulator."""
    path = request.url.path
    if path.startswith("/files/"):
        return FILE
    if request.method == "POST":
        if path == "/api/v1/job/create" or path == "/v2/video/generations" or path.startswith("/api/v3/alibaba/"):
            return SUBMIT
        return WITNESS
    return POLL if path in ("/api/v1/job/query", "/v2/video/generations") or path.endswith("/result") else WITNESS


class LyingTransport(httpx.AsyncBaseTransport):
    """Between one process and the providers."""

    def __init__(self, server: httpx.AsyncBaseTransport, wire: Wire, process: Process, lies: Lies) -> None:
        self._server = server
        self._wire = wire
        self._process = process
        self._lies = {
            SUBMIT: iter(lies.submit),
            POLL: iter(lies.poll),
            FILE: iter(lies.file),
            WITNESS: iter(lies.witness),
        }

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        kind = class_of(request)
        lie = next(self._lies[kind], None)
        if lie is not None:
            self._wire.told[f"{kind}: {lie}"] += 1
        if self._process.died:
            await never()
        self._step(self._process.before, f"http {kind}")
        if self._process.died:
            await never()
        try:
            response = await (self._submit(request, lie) if kind == SUBMIT else self._ask(request, kind, lie))
        finally:
            if not self._process.died:
                self._step(self._process.after, f"http {kind}")
        if self._process.died:
            await never()
        return response

    def _step(self, step: Callable[[str], None], kind: str) -> None:
        """Death is noticed by the process' end, not by an exception out of the network."""
        with suppress(ProcessDied):
            step(kind)

    # --- submissions ---

    async def _submit(self, request: httpx.Request, lie: str | None) -> httpx.Response:
        if lie == "no connection":
            raise httpx.ConnectError("nobody there")
        post = Post(ATTEMPT.get(), request.url.path, self._process)
        self._wire.posts.append(post)
        self._wire.before_post(post)
        match lie:
            case "lost before":
                raise httpx.ReadTimeout("silence")
            case "hangs before":
                await never()
            case "429" | "429 soon" | "429 in an hour" | "429 whenever":
                after = {"429 soon": "2", "429 in an hour": "3600", "429 whenever": "when there is room"}.get(lie)
                return httpx.Response(
                    429, headers={"retry-after": after} if after else {}, json={"message": "slow down"}
                )
            case "503 soon":
                return httpx.Response(503, headers={"retry-after": "1"}, text="busy")
            case "500 before":
                return httpx.Response(500, text="oops")
            case "401" | "402":
                return httpx.Response(int(lie), json={"message": "no"})
            case "moved":
                return httpx.Response(308, headers={"location": "http://elsewhere.invalid" + request.url.path})
            case _:
                pass
        post.arrived = True
        response = await self._serve(request)
        post.status, post.job_id = response.status_code, _job_id(response)
        if not response.is_success:  # an honest refusal: what is said in its place must not sound like a no
            return response
        return await self._answer(lie, response)

    async def _answer(self, lie: str | None, true: httpx.Response) -> httpx.Response:
        match lie:
            case "lost after" | "lost":
                raise httpx.ReadTimeout("silence")
            case "reset after" | "reset":
                raise httpx.RemoteProtocolError("reset")
            case "hangs after" | "hangs":
                await never()
            case "late":
                await asyncio.sleep(90)  # a holder on another host that is silent so long is taken for dead
            case "500 after" | "504 after" | "408 after" | "500" | "404" | "410" | "403" | "401":
                return httpx.Response(int(lie[:3]), json={"message": "oops"})
            case "429":
                return httpx.Response(429, json={"message": "slow down"})
            case "429 soon":
                return httpx.Response(429, headers={"retry-after": "1"}, text="slow down")
            case "503 soon":
                return httpx.Response(503, headers={"retry-after": "1"}, text="busy")
            case "garbage after" | "garbage" | "page":
                return httpx.Response(200, text="<html>not what you expect</html>")
            case "nothing after" | "nothing" | "empty":
                return httpx.Response(200, content=b"")
            case "cut JSON after" | "cut JSON":
                return httpx.Response(200, content=true.content[: len(true.content) * 2 // 3])
            case "no id after":
                return httpx.Response(200, json=_without_ids(json.loads(true.content)))
            case "wrong types after" | "wrong types":
                return httpx.Response(200, json=_wrong(json.loads(true.content)))
            case _:
                pass
        return true

    # --- questions ---

    async def _ask(self, request: httpx.Request, kind: str, lie: str | None) -> httpx.Response:
        true = await self._serve(request)
        if kind != FILE:
            return await self._answer(lie, true)
        name = request.url.path.rpartition("/")[2].partition(".")[0]
        if lie is not None:
            self._wire.file_lies[name] += 1
        if true.status_code != 200:
            return true
        if b"moov" not in true.content or str(len(true.content)) != true.headers.get("content-length"):
            return true if lie is None else await self._answer(lie, true)  # it is no whole video by itself
        whole = own_video(true.content, name)
        match lie:
            case "cut":  # the length says that there is more
                return httpx.Response(
                    200, headers={"content-length": str(len(whole))}, stream=httpx.ByteStream(whole[: len(whole) // 2])
                )
            case "cut short":
                return httpx.Response(200, content=whole[: len(whole) // 3])
            case "reset within":
                return httpx.Response(200, headers={"content-length": str(len(whole))}, stream=_Broken(whole))
            case _:
                return await self._answer(lie, httpx.Response(200, content=whole))

    async def _serve(self, request: httpx.Request) -> httpx.Response:
        """By the provider, who goes on whatever becomes of the asker."""

        async def serve() -> httpx.Response:
            answer = await self._server.handle_async_request(request)
            return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())

        task = asyncio.get_running_loop().create_task(serve(), context=contextvars.Context())
        return await asyncio.shield(task)


class _Broken(httpx.AsyncByteStream):
    def __init__(self, whole: bytes) -> None:
        self._whole = whole

    async def __aiter__(self) -> Any:
        yield self._whole[: len(self._whole) // 2]
        raise httpx.ReadError("reset")


class Told:
    """A provider's client, which says on the way which attempt it is that is sent."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def submit(self, model: Any, body: Any, attempt_id: str) -> Any:
        token = ATTEMPT.set(attempt_id)
        try:
            return await self._client.submit(model, body, attempt_id)
        finally:
            ATTEMPT.reset(token)

    async def __aenter__(self) -> Told:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._client.__aexit__(*error)


def own_video(shared: bytes, name: str) -> bytes:
    """One video serves all jobs; a box that players skip makes each job's bytes its own."""
    data = name.encode()
    return shared + struct.pack(">I4s", 8 + len(data), b"free") + data


def _job_id(answer: httpx.Response) -> str | None:
    if not answer.is_success:
        return None
    try:
        payload = json.loads(answer.content)
    except ValueError:
        return None
    data = payload.get("data") if isinstance(payload, dict) else None
    for holder in (payload, data):
        if isinstance(holder, dict):
            for name in ("id", "job_id"):
                if isinstance(holder.get(name), str):
                    return holder[name]
    return None


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_ids(item) for key, item in value.items() if "id" not in key.lower()}
    return value


def _wrong(value: Any) -> Any:
    """Each thing of another type than it is."""
    if isinstance(value, dict):
        return {key: _wrong(item) for key, item in value.items()}
    if isinstance(value, str):
        return [value[::-1]]
    if isinstance(value, list):
        return {"0": None}
    return None if isinstance(value, bool | int | float) and value else value
