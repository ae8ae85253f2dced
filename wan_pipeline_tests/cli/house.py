"""An installation in a temporary folder, and `wan-pipeline` run on it as a person would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from wan_pipeline.simulator.books import Books

COMMAND = (sys.executable, "-m", "wan_pipeline.cli")
DEFAULTS = "model: wavespeed/wan-2.6-i2v-flash\nprompt: It moves.\nduration: 2\n"
PRICE_USD = "0.05"  # of such a shot: 0.125 per 5 s


def picture(number: int) -> bytes:
    """A small image; each number another one."""
    buffer = BytesIO()
    Image.new("RGB", (640, 360), (number * 7 % 256, number // 32, 120)).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class House:
    """Demo mode with a quick simulator; variables can be added."""

    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        quick = {"WAN_SIMULATOR_LATENCY": "0.2", "WAN_SIMULATOR_RENDER": "shared", "WAN_SETTLE_SECONDS": "0"}
        # Live mode is tried with made-up keys: they go to nobody.
        nowhere = {f"{name}_BASE_URL": "http://127.0.0.1:9" for name in ("SHORTAPI", "AIMLAPI", "WAVESPEED")}
        return os.environ | {"WAN_HOME": str(self.home)} | quick | nowhere | self.variables

    @property
    def inbox(self) -> Path:
        path = self.home / "bucket" / "inbox"
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def books(self) -> Books:
        return Books(self.home / "simulator")

    def put(self, name: str, content: bytes | str) -> None:
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def put_shots(self, names: Sequence[str]) -> None:
        """One image for each name, and the defaults."""
        for number, name in enumerate(names):
            self.put(f"{name}.png", picture(number))
        self.put("_defaults.yaml", DEFAULTS)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, *arguments], env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment | variables,
            text=True,
            capture_output=True,
            timeout=240,
            check=False,
        )

    def data(self, *arguments: str, status: int = 0) -> Any:
        """What the command prints as JSON; it must leave with this exit status."""
        done = self.run(*arguments, "--json")
        assert done.returncode == status, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def verdicts(self, *arguments: str, status: int = 0) -> dict[str, str]:
        """Of `run`: each shot's."""
        return {shot["shot"]: shot["verdict"] for shot in self.data("run", *arguments, status=status)["shots"]}

    def jobs(self) -> list[dict[str, Any]]:
        return self.data("jobs")
