"""The simulator over real HTTP: the official WaveSpeed SDK works against it unchanged, and a kill loses nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import wavespeed

from wan_pipeline.simulator.books import Books
from wan_pipeline_tests.simulator.world import KEY, picture, probe

SERVE = """
import sys
from pathlib import Path
from wan_pipeline.simulator.config import SimulatorConfig
from wan_pipeline.simulator.server import serve
config = SimulatorConfig(Path(sys.argv[1]), **eval(sys.argv[2]))
serve(config, "127.0.0.1", 0, log=lambda url: print(url, flush=True))
"""


@contextmanager
def served(folder: Path, **settings: Any) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The simulator as a process of its own; gives its URL."""
    settings = {"latency_s": 0.2} | settings
    command = [sys.executable, "-c", SERVE, str(folder), repr(settings)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        yield url, process
    finally:
        process.terminate()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture(scope="module")
def image_url() -> Iterator[str]:
    """A picture on a real server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            data = picture()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 200  # five are too few for a hundred fetches at once
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/cat.jpg"
    server.shutdown()
    server.server_close()


MODEL = "alibaba/wan-2.6/image-to-video-flash"


def test_the_official_wavespeed_sdk_uploads_runs_and_fetches_a_video_unchanged(tmp_path: Path):
    (tmp_path / "cat.jpg").write_bytes(picture())
    with served(tmp_path / "simulator") as (url, _):
        client = wavespeed.Client(api_key="key-1", base_url=url)
        image = client.upload(str(tmp_path / "cat.jpg"))
        order = {"image": image, "prompt": "The cat looks up", "duration": 2, "enable_audio": True}
        result = client.run(MODEL, order, poll_interval=0.1, timeout=60)
        found = probe(httpx.get(result["outputs"][0], timeout=60).content)
        waited = client.run(MODEL, order, enable_sync_mode=True, timeout=60)
        assert waited["outputs"][0] != result["outputs"][0]
        with pytest.raises(RuntimeError, match="HTTP 400"):
            client.run(MODEL, {"image": image}, timeout=60)
        failed = client.run_no_throw(MODEL, order | {"prompt": "[fail]"}, poll_interval=0.1, timeout=60)
        assert failed["status"] == "failed" and failed["task_id"] != "unknown"
    assert (found["codec"], found["size"], found["frames"]) == ("h264", (1280, 720), 48)
    assert found["audio"] == ["aac"]
    books = Books(tmp_path / "simulator")
    assert books.total_nanos() == 200_000_000 and len(books.charges()) == 3
    assert {fetch.url for fetch in books.fetches()} == {image}


def test_a_hundred_submissions_at_once_are_all_answered_and_all_in_the_books(tmp_path: Path, image_url: str):
    async def submit_all(url: str) -> list[httpx.Response]:
        body = {"image": image_url, "prompt": "x", "duration": 2}
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(base_url=url, headers=KEY, limits=limits, timeout=60) as client:
            return await asyncio.gather(*[client.post(f"/api/v3/{MODEL}", json=body) for _ in range(100)])

    with served(tmp_path, render="shared") as (url, _):
        answers = asyncio.run(submit_all(url))
    assert {answer.status_code for answer in answers} == {200}
    told = {answer.json()["data"]["id"] for answer in answers}
    books = Books(tmp_path)
    assert told == {job.id for job in books.jobs()} and len(told) == 100
    assert books.posts() == {"wavespeed": 100} and len(books.fetches()) == 100


def test_a_server_killed_with_a_job_in_flight_and_started_again_has_the_video(tmp_path: Path, image_url: str):
    with served(tmp_path, latency_s=0.5) as (url, process):
        body = {"image": image_url, "prompt": "x", "duration": 2}
        job_id = httpx.post(f"{url}/api/v3/{MODEL}", json=body, headers=KEY).json()["data"]["id"]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with served(tmp_path) as (url, _):
        assert wavespeed.Client(api_key="key-1", base_url=url)._wait(job_id, 60, 0.1)["outputs"]
        result = httpx.get(f"{url}/api/v3/predictions/{job_id}/result", headers=KEY).json()["data"]
        assert result["outputs"][0].startswith(url), "the URL names the host that was asked"
        assert probe(httpx.get(result["outputs"][0], timeout=60).content)["frames"] == 48
        assert httpx.get(f"{url}/simulator/books").json()["total_usd"] == "0.1"


def test_it_imports_nothing_of_the_project_and_nothing_heavy_before_it_is_needed():
    script = """
import sys, wan_pipeline.simulator.app, wan_pipeline.simulator.server
ours = [name for name in sys.modules if name.startswith("wan_pipeline.")]
print([name for name in ours if not name.startswith("wan_pipeline.simulator")])
print([name for name in ("av", "numpy", "PIL", "uvicorn", "dagster", "sqlalchemy") if name in sys.modules])
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.split("\n") == ["[]", "[]", ""]


def test_a_port_that_is_taken_is_an_error_at_once(tmp_path: Path):
    with served(tmp_path / "a") as (url, _):
        port = url.rpartition(":")[2]
        script = SERVE.replace('"127.0.0.1", 0', f'"127.0.0.1", {port}')
        again = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "b"), "{}"], capture_output=True, text=True, check=False
        )
    assert again.returncode != 0 and "OSError" in again.stderr and "in use" in again.stderr
