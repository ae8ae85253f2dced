"""How each way is started, how it is seen to be done, and what a person does to go on after a `kill -9`.

CPU is that of all its processes. Where Dagster's daemon is one of them, from the moment it is up: it would run anyway.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from benchmarks.arena import WAN_PIPELINE, Child, settings

PROMPT = "It moves."
DURATION_S = 5
_DAGSTER = (sys.executable, "-m", "dagster")
_LOOK_EVERY_S = 0.1
_LIMIT_S = 1200
_BEATS = "SELECT count(*) FROM daemon_heartbeats WHERE daemon_type = 'QUEUED_RUN_COORDINATOR' AND timestamp >= ?"
_SUCCEEDED = "SELECT count(DISTINCT partition) FROM runs WHERE status = 'SUCCESS'"


@dataclass(frozen=True)
class Scene:
    """Where one way works: a folder of its own, the simulator's address, pictures at a URL (and below `bucket`)."""

    folder: Path
    provider_url: str
    pictures_url: str
    bucket: Path
    names: list[str]
    in_flight: int

    def orders(self) -> Path:
        """A file with all that a rival's program is told."""
        videos = self.folder / "videos"
        videos.mkdir(parents=True, exist_ok=True)
        path = self.folder / "orders.json"
        told = {
            "provider_url": self.provider_url,
            "pictures_url": f"{self.pictures_url}/inbox",
            "names": self.names,
            "videos": str(videos),
            "in_flight": self.in_flight,
            "prompt": PROMPT,
            "duration": DURATION_S,
        }
        path.write_text(json.dumps(told))
        return path

    @property
    def output(self) -> Path:
        """What its processes print."""
        return self.folder / "output.txt"


@dataclass
class Took:
    """Seconds of wall and CPU, added up over the starts of one way."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def add(self, wall_s: float, cpu_s: float) -> None:
        self.wall_s += wall_s
        self.cpu_s += cpu_s


class Way(Protocol):
    """One way to have the videos made. `after_a_kill`: what a person has to do, in words."""

    title: str
    provider: str
    after_a_kill: str

    def work(self, scene: Scene, took: Took, *, again: bool, kill_at: int | None) -> None:
        """From start to end, or to the moment at which `kill_at` videos are saved: then all its processes are killed.
        `again`: as one goes on after such a kill."""
        ...

    def saved(self, scene: Scene) -> list[Path]:
        """The files of the videos by now."""
        ...


def whole(videos: list[Path]) -> int:
    """How many of them are whole: the provider serves the same file for all, so each has the size that most have."""
    sizes = Counter(path.stat().st_size for path in videos)
    return max((count for size, count in sizes.items() if size), default=0)


@dataclass
class Program:
    """A way that is one program, and is started again by the same command."""

    title: str
    provider: str
    module: str
    after_a_kill: str

    def work(self, scene: Scene, took: Took, *, again: bool, kill_at: int | None) -> None:
        child = Child([sys.executable, "-m", self.module, str(scene.orders())], output=scene.output)
        _until(self, scene, child, took, kill_at)

    def saved(self, scene: Scene) -> list[Path]:
        return sorted((scene.folder / "videos").glob("*.mp4"))


@dataclass
class Pipeline:
    """`wan-pipeline run`."""

    title: str = "this pipeline"
    provider: str = "wavespeed"
    after_a_kill: str = "start it again"

    def work(self, scene: Scene, took: Took, *, again: bool, kill_at: int | None) -> None:
        home = scene.folder
        environment = settings(home, scene.provider_url, scene.pictures_url, scene.in_flight)
        if not (home / "bucket").exists():
            shutil.copytree(scene.bucket, home / "bucket")
        _until(self, scene, Child([*WAN_PIPELINE, "run", "--json"], environment, output=scene.output), took, kill_at)

    def saved(self, scene: Scene) -> list[Path]:
        return sorted((scene.folder / "bucket" / "videos").glob("*/*.mp4"))


@dataclass
class RunPerVideo:
    """Dagster's daemon, and a backfill of one run per partition."""

    title: str = "one Dagster run per video"
    provider: str = "wavespeed"
    after_a_kill: str = "force-terminate each run that reads Started, launch those partitions again"
    _module: list[str] = field(default_factory=lambda: ["-m", "benchmarks.rivals.run_per_video"])

    def work(self, scene: Scene, took: Took, *, again: bool, kill_at: int | None) -> None:
        environment = self._environment(scene)
        wanted = scene.names
        if again:
            stale = scene.folder / "stale.txt"
            ended = Child([sys.executable, "-m", "benchmarks.rivals.end_stale_runs"], environment, output=stale).wait()
            took.add(ended.wall_s, ended.cpu_s)
            wanted = json.loads(stale.read_text().splitlines()[-1])
        since = datetime.now(UTC)
        command = [sys.executable, "-m", "dagster._daemon", "run", *self._module]
        daemon = Child(command, environment, output=scene.output)
        try:
            while not self._asked(scene, _BEATS, f"{since:%Y-%m-%d %H:%M:%S}"):
                time.sleep(_LOOK_EVERY_S)
                if not daemon.running():
                    raise RuntimeError(f"Dagster's daemon has ended: {scene.output.read_text()[-2000:]}")
            began, cpu_before_s = time.monotonic(), daemon.cpu_so_far_s()
            if wanted:
                launch = [*_DAGSTER, "job", "backfill", *self._module, "-j", "videos", "--noprompt"]
                launch += ["--partitions", ",".join(wanted)]
                launched = Child(launch, environment, output=scene.output).wait()
                took.add(0, launched.cpu_s)
            while time.monotonic() - began < _LIMIT_S:
                if kill_at is not None and len(self.saved(scene)) >= kill_at:
                    break
                if kill_at is None and self._asked(scene, _SUCCEEDED) >= len(scene.names):
                    break
                time.sleep(_LOOK_EVERY_S)
            took.add(time.monotonic() - began, daemon.cpu_so_far_s() - cpu_before_s)
        finally:
            daemon.kill()

    def saved(self, scene: Scene) -> list[Path]:
        return sorted((scene.folder / "videos").glob("*.mp4"))

    def _environment(self, scene: Scene) -> dict[str, str]:
        home = scene.folder / "dagster"
        home.mkdir(parents=True, exist_ok=True)
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        given = {name: value for name, value in os.environ.items() if not name.startswith(("WAN_", "DAGSTER_"))}
        given.pop("PYTHONDONTWRITEBYTECODE", None)
        return given | {"DAGSTER_HOME": str(home), "RIVAL_ORDERS": str(scene.orders())}

    def _asked(self, scene: Scene, question: str, *values: str) -> int:
        """A number out of Dagster's storage, read past Dagster: that costs nobody anything. 0 before there is one."""
        path = scene.folder / "dagster" / "history" / "runs.db"
        if not path.exists():
            return 0
        with closing(sqlite3.connect(path, timeout=10)) as database, suppress(sqlite3.OperationalError):
            return int(database.execute(question, values).fetchone()[0])
        return 0


def _until(way: Way, scene: Scene, child: Child, took: Took, kill_at: int | None) -> None:
    while child.running():
        if kill_at is not None and len(way.saved(scene)) >= kill_at:
            used = child.kill()
            break
        time.sleep(_LOOK_EVERY_S)
    else:
        used = child.wait()
    took.add(used.wall_s, used.cpu_s)


def ways() -> list[Way]:
    """In the order of the table."""
    start_again = "start it again; look for what was paid and is not there"
    return [
        Program("wavespeed SDK, thread pool", "wavespeed", "benchmarks.rivals.sdk_pool", start_again),
        Program("AI/ML API's polling script", "aimlapi", "benchmarks.rivals.polling_script", start_again),
        RunPerVideo(),
        Pipeline(),
    ]
