"""A server that is a process of its own and can be stopped, killed and started again, at the same address."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx


@dataclass
class ServerProcess:
    """`command` serves `url` until SIGTERM; what it prints goes to the end of `output`."""

    command: Sequence[str]
    url: str
    output: Path
    environment: Mapping[str, str] | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self, timeout_s: float = 60) -> None:
        """Starts it, and returns once it answers anything at all."""
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(self.command, env=self.environment, stdout=output, stderr=output)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                httpx.get(self.url, timeout=5)
                return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError(f"nothing answers at {self.url}:\n{self.output.read_text(errors='replace')[-2000:]}")

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 30) -> None:
        """By its own process id. SIGKILL: the plug is pulled."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
