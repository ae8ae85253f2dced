"""What measurements share: the simulator as a server, a served bucket, settings, processes that are measured, tables.

Figures of a process include everything that it started: see `Child`.
"""

from __future__ import annotations

import ctypes
import heapq
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

WAN_PIPELINE = (sys.executable, "-m", "wan_pipeline.cli")
PROVIDERS = ("SHORTAPI", "AIMLAPI", "WAVESPEED")
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Usage:
    """What a process and all that it started took. `exit_status`: negative is the signal that ended it. `peak_mb`: of the
    largest of these processes; at least what the benchmark's own one held when it started them (Linux counts so)."""

    exit_status: int
    wall_s: float
    cpu_s: float
    peak_mb: float


class Child:
    """A process in a session of its own, with the processes that it starts.

    The CPU of a process counts once somebody has waited for it. So this process adopts the orphans of those that it starts
    (PR_SET_CHILD_SUBREAPER): a killed daemon's runs are counted like those of one that ended.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        output: Path | None = None,
        folder: Path | None = None,
    ) -> None:
        """Starts it. `output`: a file that what it prints is appended to; otherwise nobody sees it."""
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._cpu_s = self._peak_mb = 0.0
        self._exit_status = 0
        with output.open("ab") if output else tempfile.TemporaryFile() as printed:
            self.began = time.monotonic()
            self._process = subprocess.Popen(
                command,
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def running(self) -> bool:
        """Whether the first process has not ended yet."""
        with suppress(ChildProcessError):
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        return False

    def cpu_so_far_s(self) -> float:
        """What all of them took until now, and those that they have waited for; orphans that have ended are not in it."""
        total = 0.0
        for pid in self._members():
            with suppress(psutil.NoSuchProcess):
                times = psutil.Process(pid).cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def wait(self, timeout_s: float = 3600) -> Usage:
        """Its figures, once the first process has ended; those that it left behind are killed. Raises TimeoutError."""
        while self.running():
            if time.monotonic() - self.began > timeout_s:
                raise TimeoutError(f"{self._process.args} took more than {timeout_s} s")
            time.sleep(0.01)
        return self._over()

    def stop(self, number: signal.Signals = signal.SIGINT, timeout_s: float = 60) -> Usage:
        """Its figures, after the first process was sent this signal; killed where it does not end."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
        end = time.monotonic() + timeout_s
        while self.running() and time.monotonic() < end:
            time.sleep(0.01)
        return self._over()

    def kill(self) -> Usage:
        """`kill -9` of all of them at once; what they took until then."""
        return self._over()

    def _over(self) -> Usage:
        ended = time.monotonic()
        while members := self._members():
            for pid in members:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            # Only our own children can be waited for; what those leave behind comes to us.
            for pid in members:
                with suppress(ChildProcessError):
                    self._reap(pid)
        return Usage(self._exit_status, ended - self.began, self._cpu_s, self._peak_mb)

    def _members(self) -> list[int]:
        """The processes of the session, ended ones that nobody has waited for included."""
        found: list[int] = []
        for process in psutil.Process().children(recursive=True):
            with suppress(ProcessLookupError):
                if process.pid == self.pid or os.getsid(process.pid) == self.pid:
                    found.append(process.pid)
        return found

    def _reap(self, pid: int) -> None:
        _, status, used = os.wait4(pid, 0)
        self._cpu_s += used.ru_utime + used.ru_stime
        self._peak_mb = max(self._peak_mb, used.ru_maxrss / 1024)
        if pid == self.pid:
            self._exit_status = self._process.returncode = os.waitstatus_to_exitcode(status)


@contextmanager
def simulator(folder: Path, latency_s: float, jitter: float, in_flight: int | None, *more: str) -> Generator[str]:
    """The simulator as a server of its own process, its rendering off; gives its URL. `more`: options of the command."""
    port = free_port()
    command = [*WAN_PIPELINE, "simulator", "--port", str(port), "--folder", str(folder), "--render", "shared"]
    command += ["--latency", str(latency_s), "--jitter", str(jitter), *more]
    if in_flight is not None:
        command += ["--max-in-flight", str(in_flight)]
    server = Child(command)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{url}/simulator/books", server)
        yield url
    finally:
        server.stop()


@contextmanager
def served(folder: Path) -> Generator[str]:
    """The bucket's folder over HTTP, for the simulator to fetch inputs from; by a thread of this process."""
    import uvicorn

    from wan_pipeline.bucket_server import bucket_app

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


def settings(home: Path, url: str, public: str, in_flight: int, **more: str) -> dict[str, str]:
    """The environment of a pipeline in live mode that buys from the simulator at `url`.

    The bucket is `home/bucket`, served at `public`; neither budgets nor submissions per minute stand in the way.
    """
    given = {name: value for name, value in os.environ.items() if not name.startswith(("WAN_", "DAGSTER_"))}
    given.pop("PYTHONDONTWRITEBYTECODE", None)  # with it each process compiles all of Dagster anew
    given |= {
        "WAN_MODE": "live",
        "WAN_HOME": str(home / "home"),
        "WAN_BUCKET_URL": str(home / "bucket"),
        "WAN_PUBLIC_BASE_URL": public,
        "WAN_DAILY_BUDGET_USD": "100000",
        "WAN_MONTHLY_BUDGET_USD": "100000",
        "WAN_SETTLE_SECONDS": "0",
    }
    for provider in PROVIDERS:
        given[f"{provider}_BASE_URL"] = url
        given[f"WAN_{provider}_MAX_IN_FLIGHT"] = str(in_flight)
        given[f"WAN_{provider}_SUBMITS_PER_MINUTE"] = "60000"
    keys = {"SHORTAPI_KEY": "benchmark", "AIMLAPI_KEY": "benchmark", "WAVESPEED_API_KEY": "benchmark"}
    return given | keys | more


def write_shots(bucket: Path, count: int, model: str = "wavespeed/wan-2.6-i2v-flash") -> None:
    """So many different small pictures in the inbox, all for the same model, 5 s of 720p each."""
    from PIL import Image

    inbox = bucket / "inbox"
    inbox.mkdir(parents=True)
    (inbox / "_defaults.yaml").write_text(f"model: {model}\nprompt: It moves.\nduration: 5\n")
    for number in range(count):
        Image.new("RGB", (640, 360), (number % 256, number // 256, 128)).save(inbox / f"shot{number:05d}.png")


def ideal_s(times_s: Iterable[float], slots: int) -> float:
    """When the last of these jobs ends if the next one starts the moment a slot is free."""
    free = [0.0] * slots
    for time_s in times_s:
        heapq.heappush(free, heapq.heappop(free) + time_s)
    return max(free)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as they need to be, the first to the left, figures to the right."""
    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]

    def laid_out(line: Sequence[str]) -> str:
        cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        return "  ".join([line[0].ljust(widths[0]), *cells]).rstrip()

    return "\n".join([laid_out(lines[0]), "  ".join("-" * width for width in widths), *map(laid_out, lines[1:])])


def free_port() -> int:
    """A port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(url: str, server: Child, within_s: float = 60) -> None:
    end = time.monotonic() + within_s
    while time.monotonic() < end and server.running():
        try:
            httpx.get(url)
            return
        except httpx.TransportError:
            time.sleep(0.05)
    server.kill()
    raise RuntimeError(f"the server of {url} does not answer")
