"""Plays histories, many of them: on SQLite or PostgreSQL, each in an installation of its own, with figures.

What does not belong here: what can happen (lying_history.py), and what must hold (lying_books.py).
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.strategies import SearchStrategy

from wan_pipeline.spend.database import Database, parse_url
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline_tests.generation.lying_books import Reckoning
from wan_pipeline_tests.generation.lying_history import HISTORIES, History
from wan_pipeline_tests.generation.lying_world import World, surroundings
from wan_pipeline_tests.spend.conftest import empty_postgres


class Violation(AssertionError):
    """The promise is broken: the history says how to see it again."""


@dataclass
class Figures:
    """What has happened in all the histories together."""

    histories: int = 0
    batches: int = 0
    posts: int = 0
    charges: int = 0
    videos: int = 0
    outages: int = 0
    seconds: float = 0.0
    deaths: Counter[str] = field(default_factory=Counter[str])
    lies: Counter[str] = field(default_factory=Counter[str])
    ends: Counter[str] = field(default_factory=Counter[str])
    ambiguities: Counter[str] = field(default_factory=Counter[str])
    verdicts: Counter[str] = field(default_factory=Counter[str])

    def add(self, world: World, reckoning: Reckoning, seconds: float) -> None:
        self.histories += 1
        self.batches += len(world.runs)
        self.posts += len(world.wire.posts)
        self.charges += sum(reckoning.charges.values())
        self.seconds += seconds
        self.outages += sum(process.failed_steps for process in world.processes)
        self.lies.update(world.wire.told)
        self.deaths.update(each.died_at for each in world.processes if each.died_at)
        self.ends.update(str(job.state) for job in reckoning.jobs.values())
        self.videos += sum(job.state == "stored" for job in reckoning.jobs.values())
        self.ambiguities.update(reckoning.ambiguities())
        self.verdicts.update(str(each.verdict) for results in world.results.values() for each in results)

    def lines(self) -> list[str]:
        """For a reader."""
        per_s = self.histories / self.seconds if self.seconds else 0.0
        return [
            f"{self.histories} histories, {self.batches} batches in {self.seconds:.0f} s ({per_s:.1f} histories/s)",
            f"{self.posts} submissions, {self.charges} charges, {self.videos} videos stored",
            f"{sum(self.deaths.values())} deaths: {_counted(self.deaths)}",
            f"{sum(self.lies.values())} lies: {_counted(self.lies)}",
            f"{self.outages} steps of the ledger or the bucket that failed",
            f"{sum(self.ambiguities.values())} ambiguities: {_counted(self.ambiguities)}",
            f"jobs ended: {_counted(self.ends)}",
            f"shots ended: {_counted(self.verdicts)}",
        ]


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common())


class Lab:
    """Where histories are played, one after the other; leave it by `close`."""

    def __init__(self, postgres_url: str | None = None) -> None:
        memory = Path("/dev/shm")
        self._base = Path(tempfile.mkdtemp(prefix="wan-lying-", dir=memory if memory.is_dir() else None))
        self._postgres_url = postgres_url
        self._shared = Database(parse_url(postgres_url)) if postgres_url else None
        self._template = self._base / "template.sqlite"
        self.figures = Figures()
        Ledger.open(postgres_url or f"sqlite:///{self._template}").close()

    def close(self) -> None:
        if self._shared is not None:
            self._shared.close()
        shutil.rmtree(self._base, ignore_errors=True)

    @contextmanager
    def _database(self, folder: Path) -> Generator[Database]:
        if self._shared is not None and self._postgres_url is not None:
            empty_postgres(self._postgres_url)
            yield self._shared
            return
        shutil.copy(self._template, folder / "ledger.sqlite")
        database = Database(parse_url(f"sqlite:///{folder / 'ledger.sqlite'}"))
        try:
            yield database
        finally:
            database.close()

    def play(self, history: History, see: Callable[[World], None] = lambda world: None) -> list[str]:
        """What the history broke; nothing, where the promise holds. `see` has a look at the world at its end."""
        began = time.monotonic()
        folder = Path(tempfile.mkdtemp(dir=self._base))
        try:
            with self._database(folder) as database, surroundings(history.setting.seed) as unforeseen:
                world = World(folder, database, history.setting)
                try:
                    world.play(history.steps)
                    world.heal()
                    reckoning = Reckoning(world)
                    see(world)
                    violations = reckoning.violations()
                    if not any(process.failed_steps for process in world.processes):
                        violations += unforeseen  # a shot's run ended by an error that only an outage explains
                finally:
                    world.close()
                self.figures.add(world, reckoning, time.monotonic() - began)
                return violations
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def search(
    lab: Lab,
    count: int,
    seed: int,
    *,
    histories: SearchStrategy[History] = HISTORIES,
    shrink: bool = False,
    after_each: Callable[[], None] = lambda: None,
) -> None:
    """Plays `count` histories; raises Violation for the first that breaks the promise, made small where `shrink` says."""

    @seeded(seed)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
    )
    @given(histories)
    def holds(history: History) -> None:
        violations = lab.play(history)
        after_each()
        if violations:
            listed = "\n  ".join(violations)
            raise Violation(f"the promise is broken:\n  {listed}\nby (seed {seed}):\n  {history}")

    holds()
