"""Callbacks: sent when the job has ended, tried again, signed where documented, and never the job's trouble."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wan_pipeline.simulator.app import create_app, deliver_callbacks
from wan_pipeline_tests.simulator.test_server import served
from wan_pipeline_tests.simulator.world import KEY, Http, World, accepted, picture

TOKEN = "0123456789abcdef-unguessable"
URL = f"https://pipeline.test/shortapi/attempt-1/{TOKEN}"


@dataclass
class Receiver:
    """A web server that is called back. It answers as `answers` say, and 204 after that."""

    answers: list[int] = field(default_factory=list)
    calls: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    broken: bool = False

    async def receive(self, request: Request) -> Response:
        if self.broken:
            raise httpx.ConnectError(f"nobody there at {request.url}")
        self.calls.append((str(request.url), dict(request.headers), await request.body()))
        return Response(status_code=self.answers.pop(0) if self.answers else 204)

    @property
    def client(self) -> httpx.AsyncClient:
        app = Starlette(routes=[Route("/{path:path}", self.receive, methods=["POST"])])
        return httpx.AsyncClient(transport=httpx.ASGITransport(app))

    @property
    def payloads(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.calls]


class CalledWorld(World):
    """A world whose callbacks go to `receiver`, when told."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **({"callbacks": "when told"} | settings))
        self.receiver = Receiver()
        self.restart()

    def restart(self) -> None:
        fetch = httpx.AsyncClient(transport=httpx.ASGITransport(self.source.app))
        self.app = create_app(self.config, fetch=fetch, call=self.receiver.client)
        self.http = Http(self.app)

    def deliver(self) -> int:
        return asyncio.run(deliver_callbacks(self.app))

    def order(self, callback_url: str | None = URL, **args: Any) -> httpx.Response:
        args = {"prompt": "A cat", "image_url": self.image} | args
        body = {"model": "alibaba/wan-2.6/image-to-video", "args": args}
        return self.http.post(
            "/api/v1/job/create", json=body | ({"callback_url": callback_url} if callback_url else {})
        )


@pytest.fixture
def world(tmp_path: Path) -> CalledWorld:
    return CalledWorld(tmp_path)


def test_a_callback_comes_once_when_the_job_has_ended_and_says_what_a_query_would_and_the_jobs_id(world: CalledWorld):
    job_id = accepted(world.order())
    assert world.deliver() == 0 and world.receiver.calls == []
    world.finish()
    assert world.deliver() == 1 and world.deliver() == 0
    [(url, headers, _)], [payload] = world.receiver.calls, world.receiver.payloads
    assert url == URL and headers["content-type"] == "application/json"
    queried = world.http.get("/api/v1/job/query", params={"id": job_id}).json()
    assert payload == queried | {"data": {"job_id": job_id} | queried["data"]}
    assert payload["data"]["status"] == 2
    world.clock.now += 1000
    assert world.deliver() == 0
    [delivery] = world.books.deliveries()
    assert (delivery.job_id, delivery.provider, delivery.status, delivery.error) == (job_id, "shortapi", 204, None)


def test_a_failed_job_is_told_of_too(world: CalledWorld):
    job_id = accepted(world.order(prompt="[fail]"))
    world.finish()
    world.deliver()
    assert world.receiver.payloads == [
        {"code": 0, "message": "generation failed", "data": {"job_id": job_id, "status": 3}}
    ]


def test_the_words_of_the_samples_are_no_address_and_only_http_is_one(world: CalledWorld):
    for ignored in ("CALLBACK_URL", None):
        assert accepted(world.order(ignored))
    for wrong in ("callback_url", "ftp://pipeline.test/x", "file:///etc/passwd", "http://"):
        refused = world.order(wrong)
        assert refused.json()["code"] == 400 and "callback_url" in refused.json()["message"]
    world.finish()
    assert world.deliver() == 0 and world.receiver.calls == []


def test_a_refused_submission_calls_nobody_back(world: CalledWorld):
    assert not accepted(world.order(duration=7))
    assert not accepted(world.order(prompt="[refuse]"))
    world.finish()
    assert world.deliver() == 0


def test_what_was_not_answered_with_2xx_is_tried_again_a_few_times_and_then_left(world: CalledWorld):
    world.receiver.answers = [500, 302, 404, 500, 500]
    job_id = accepted(world.order())
    world.finish()
    tries = []
    for seconds in (0, 0.9, 0.2, 4.9, 0.2, 24.9, 0.2, 1000):
        world.clock.now += seconds
        tries.append(world.deliver())
    assert tries == [1, 0, 1, 0, 1, 0, 1, 0], "at once, and 1, 5 and 25 seconds later"
    assert [delivery.status for delivery in world.books.deliveries()] == [500, 302, 404, 500]
    assert world.http.get("/api/v1/job/query", params={"id": job_id}).json()["data"]["status"] == 2


def test_a_receiver_that_breaks_harms_neither_the_job_nor_other_callbacks(world: CalledWorld):
    world.receiver.broken = True
    job_id = accepted(world.order())
    world.finish()
    assert world.deliver() == 1
    [delivery] = world.books.deliveries()
    assert (delivery.status, delivery.error) == (None, "ConnectError")
    answer = world.http.get("/api/v1/job/query", params={"id": job_id}).json()
    assert world.http.get(answer["data"]["result"]["images"][0]["url"]).status_code == 200
    world.receiver.broken = False
    world.clock.now += 1
    assert world.deliver() == 1 and len(world.receiver.calls) == 1


def test_a_callback_outlives_the_process_that_took_the_order(world: CalledWorld):
    accepted(world.order())
    world.restart()
    world.finish()
    assert world.deliver() == 1 and len(world.receiver.calls) == 1


def test_two_processes_do_not_make_the_same_call_and_one_that_dies_over_it_leaves_it_to_the_other(world: CalledWorld):
    accepted(world.order())
    world.finish()
    first = world.app.state.callbacks
    world.restart()
    assert len(first._take()) == 1, "it dies here"
    assert world.deliver() == 0
    world.clock.now += 30
    assert world.deliver() == 1 and len(world.receiver.calls) == 1


def test_the_secret_path_of_a_callback_is_not_told_by_the_books_and_forgotten_when_it_was_made(world: CalledWorld):
    job_id = accepted(world.order())
    shown = json.dumps(world.http.get("/simulator/books").json())
    world.finish()
    world.deliver()
    shown += json.dumps(world.http.get("/simulator/books").json())
    assert TOKEN not in shown and "https://pipeline.test/" in shown
    [delivery] = world.http.get("/simulator/books").json()["deliveries"]
    assert delivery["host"] == "https://pipeline.test/…" and delivery["job_id"] == job_id
    with sqlite3.connect(world.books.path) as database:
        assert database.execute("SELECT url FROM callbacks").fetchall() == [("https://pipeline.test/…",)]


def test_a_webhook_is_the_prediction_signed_over_its_very_bytes(world: CalledWorld):
    hook = "https://pipeline.test/wavespeed?job=1"
    body = {"image": world.image, "prompt": "Die Katze schläft", "duration": 2}
    path = "/api/v3/alibaba/wan-2.6/image-to-video-flash"
    prediction_id = accepted(world.http.post(path, params={"webhook": hook}, json=body))
    world.finish()
    assert world.deliver() == 1
    [(url, headers, sent)] = world.receiver.calls
    assert url == hook
    polled = world.http.get(f"/api/v3/predictions/{prediction_id}/result").json()["data"]
    assert json.loads(sent) == polled | {"input": body}
    secret = world.http.get("/api/v3/webhook/secret").json()["data"]["secret"]
    assert secret.startswith("whsec_")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + sent
    expected = hmac.new(secret.removeprefix("whsec_").encode(), signed, hashlib.sha256).hexdigest()
    assert headers["webhook-signature"] == f"v3,{expected}"
    assert headers["webhook-timestamp"] == str(int(world.clock.now))


def test_a_webhook_that_cannot_be_called_is_refused(world: CalledWorld):
    for query in ({"webhook": "pipeline.test"}, {"webhook": ["http://a.test", "http://b.test"]}, {"callback": URL}):
        answer = world.http.post(
            "/api/v3/alibaba/wan-2.6/image-to-video-flash",
            params=query,
            json={"image": world.image, "prompt": "x"},
        )
        assert answer.status_code == 400, query
    assert world.books.jobs() == []


def test_over_http_a_callback_comes_although_the_server_was_killed_and_started_again_before_the_job_ended(
    tmp_path: Path,
):
    calls: list[tuple[str, Any]] = []
    called = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(picture())

        def do_POST(self) -> None:
            calls.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self._answer(b"")
            called.set()

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_port}"
    order = {
        "model": "alibaba/wan-2.6/image-to-video",
        "args": {"prompt": "A cat", "image_url": f"{here}/cat.jpg"},
        "callback_url": f"{here}/shortapi/attempt-1/{TOKEN}",
    }
    try:
        with served(tmp_path, latency_s=3.0, jitter=0.0, render="shared") as (url, process):
            job_id = httpx.post(f"{url}/api/v1/job/create", json=order, headers=KEY).json()["data"]["job_id"]
            process.kill()
            process.wait()
        with served(tmp_path, render="shared"):
            assert called.wait(60)
    finally:
        server.shutdown()
        server.server_close()
    [(path, payload)] = calls
    assert path == f"/shortapi/attempt-1/{TOKEN}" and payload["data"]["job_id"] == job_id


def test_by_themselves_callbacks_follow_the_clock_also_where_it_jumps(tmp_path: Path):
    world = CalledWorld(tmp_path, callbacks="by themselves", latency_s=3600)
    for _ in range(3):
        accepted(world.order())
    assert world.receiver.calls == []
    world.clock.now += 7200
    until = time.monotonic() + 20
    while len(world.books.deliveries()) < 3 and time.monotonic() < until:
        time.sleep(0.02)
    assert len(world.receiver.calls) == 3 and {delivery.status for delivery in world.books.deliveries()} == {204}
    accepted(world.order())  # the thread has ended or is about to: it comes again
    world.clock.now += 7200
    while len(world.books.deliveries()) < 4 and time.monotonic() < until:
        time.sleep(0.02)
    assert len(world.receiver.calls) == 4
    world.app.state.callbacks.stop()
