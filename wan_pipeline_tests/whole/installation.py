"""A live installation for tests of the front door: real processes of `wan-pipeline`, a simulator as a server, a bucket."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from wan_pipeline.bucket_server import bucket_app
from wan_pipeline.simulator.books import Books

COMMAND = (sys.executable, "-m", "wan_pipeline.cli")
PROVIDERS = ("SHORTAPI", "AIMLAPI", "WAVESPEED")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_up(url: str, process: subprocess.Popen[bytes] | None = None, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise AssertionError(f"the process behind {url} ended with {process.returncode}")
        try:
            httpx.get(url, timeout=5)
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"nothing answers at {url} after {timeout_s} s")


@contextmanager
def simulator_server(folder: Path, *options: str) -> Iterator[str]:
    """`wan-pipeline simulator` in a process of its own; gives its base URL; stopped by its own process id."""
    port = free_port()
    command = [*COMMAND, "simulator", "--port", str(port), "--folder", str(folder), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_up(f"http://127.0.0.1:{port}/simulator/books", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@contextmanager
def served_folder(folder: Path) -> Iterator[str]:
    """A folder bucket over HTTP; gives its public base URL."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(bucket_app(folder), port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until_up(f"http://127.0.0.1:{port}/")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@dataclass
class Installation:
    """Settings by environment, as an operator would give them."""

    home: Path
    simulator_folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"WAN_HOME": str(self.home), "WAN_SETTLE_SECONDS": "0"} | self.variables

    @property
    def books(self) -> Books:
        return Books(self.simulator_folder)

    def live(self, simulator_url: str, bucket_url: str, public: str | None = None) -> None:
        self.variables |= {"WAN_MODE": "live", "WAN_BUCKET_URL": bucket_url}
        self.variables |= {"SHORTAPI_KEY": "key-1", "AIMLAPI_KEY": "key-2", "WAVESPEED_API_KEY": "key-3"}
        for name in PROVIDERS:
            self.variables[f"{name}_BASE_URL"] = simulator_url
            self.variables[f"WAN_{name}_MAX_IN_FLIGHT"] = "20"
            self.variables[f"WAN_{name}_SUBMITS_PER_MINUTE"] = "6000"
        if public:
            self.variables["WAN_PUBLIC_BASE_URL"] = public

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*COMMAND, *arguments], env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def run(self, *arguments: str, timeout_s: float = 180) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments], env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def jobs(self) -> list[dict[str, Any]]:
        done = self.run("jobs", "--json", "--limit", "100000")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
