"""Makespan: how much longer `wan-pipeline run` takes than the provider itself needs.

    python -m benchmarks.makespan [--shots 200] [--latency 10] [--in-flight 50]

200 shots, simulated latency 10 s +- 30 %, 50 in flight, against the simulator as a server (its rendering off: one file for
each size and length is served again and again). Wall time is that of the whole command: start, listing, inspection, quotes,
claims, submissions, polls, downloads, probes, posters, Dagster's events, the end. The ideal is the simulator's own time for
each of these very jobs, scheduled perfectly on 50 slots. Exits with 1 where a video is missing or the ledger and the
simulator's books disagree; the ratio is printed, not judged.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn
from PIL import Image

from wan_pipeline.bucket_server import bucket_app
from wan_pipeline.simulator.books import Books


def ideal_s(times_s: list[float], slots: int) -> float:
    """When the last of these jobs ends if the next one starts the moment a slot is free."""
    free = [0.0] * slots
    for time_s in times_s:
        heapq.heappush(free, heapq.heappop(free) + time_s)
    return max(free)


@contextmanager
def simulator(folder: Path, latency_s: float, jitter: float, in_flight: int) -> Iterator[str]:
    """The simulator as a server of its own process; gives its base URL."""
    port = free_port()
    command = [sys.executable, "-m", "wan_pipeline.cli", "simulator", "--port", str(port), "--folder", str(folder)]
    command += ["--latency", str(latency_s), "--jitter", str(jitter), "--max-in-flight", str(in_flight)]
    process = subprocess.Popen([*command, "--render", "shared"], stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                httpx.get(f"{url}/simulator/books")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The bucket's folder over HTTP, for the simulator to fetch inputs from."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(bucket_app(folder), port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def free_port() -> int:
    """A port of the loopback interface that is free now."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_shots(bucket: Path, count: int) -> None:
    """So many different small pictures, all for the quick model."""
    inbox = bucket / "inbox"
    inbox.mkdir(parents=True)
    (inbox / "_defaults.yaml").write_text("model: wavespeed/wan-2.6-i2v-flash\nprompt: It moves.\nduration: 5\n")
    for number in range(count):
        Image.new("RGB", (640, 360), (number % 256, number // 256, 128)).save(inbox / f"shot{number:05d}.png")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--shots", type=int, default=200)
    options.add_argument("--latency", type=float, default=10.0)
    options.add_argument("--jitter", type=float, default=0.3)
    options.add_argument("--in-flight", type=int, default=50)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        write_shots(home / "bucket", given.shots)
        with (
            simulator(home / "simulator", given.latency, given.jitter, given.in_flight) as url,
            served(home / "bucket") as public,
        ):
            environment = os.environ | {
                "WAN_MODE": "live",
                "WAN_HOME": str(home / "home"),
                "WAN_BUCKET_URL": str(home / "bucket"),
                "WAN_PUBLIC_BASE_URL": public,
                "WAVESPEED_API_KEY": "benchmark",
                "WAVESPEED_BASE_URL": url,
                "WAN_WAVESPEED_MAX_IN_FLIGHT": str(given.in_flight),
                "WAN_WAVESPEED_SUBMITS_PER_MINUTE": "60000",
                "WAN_DAILY_BUDGET_USD": "100000",
                "WAN_MONTHLY_BUDGET_USD": "100000",
                "WAN_SETTLE_SECONDS": "0",
            }
            began = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, "-m", "wan_pipeline.cli", "run", "--json"],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            _, status, usage = os.wait4(process.pid, 0)
            wall_s = time.monotonic() - began
            times_s = [job.latency_s for job in Books(home / "simulator").jobs()]
            told = subprocess.run(
                [sys.executable, "-m", "wan_pipeline.cli", "jobs", "--json", "--limit", str(given.shots * 2)],
                env=environment,
                capture_output=True,
                check=True,
            )
    jobs = json.loads(told.stdout)
    stored = [job for job in jobs if job["state"] == "stored"]
    best_s = ideal_s(times_s, given.in_flight)
    cpu_s = usage.ru_utime + usage.ru_stime
    print(f"shots             {given.shots}, {len(stored)} stored, {len(times_s)} charged; exit {status >> 8}")
    print(f"wall time         {wall_s:8.1f} s")
    print(f"ideal             {best_s:8.1f} s  (the simulator's own times on {given.in_flight} slots)")
    print(f"ratio             {wall_s / best_s:8.3f}")
    print(f"CPU per video     {cpu_s / given.shots:8.3f} s  ({cpu_s:.1f} s in all, {usage.ru_maxrss / 1024:.0f} MB)")
    return 0 if len(stored) == len(times_s) == given.shots else 1


if __name__ == "__main__":
    sys.exit(main())
