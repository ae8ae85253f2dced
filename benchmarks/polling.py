"""Polling: with how many questions a result is found, and how late.

    python -m benchmarks.polling [--quick] [--in-flight 200] [--shots 600] [--latency 20] [--only arithmetic|real]

(a) Computed, for several distributions of the times that jobs take: the ideal (the schedule of single questions that knows
the distribution, with as many questions as ours), this pipeline's single polls, learned from 5, 50 and 500 times, the
`wavespeed` SDK's way (2.0.5: every second) and that of AI/ML API's script (every 15 s). And how many single questions the
ideal needs to be 3 % late on average.

(b) Measured: the engine (without Dagster) against the simulator as a server, 200 in flight, 20 s +- 30 %. Late is the
ledger's moment at which a result was known less the simulator's own end of the job, as a share of the job's time. Requests
are counted where they leave: polls of single jobs, and readings of the list of jobs. A first batch knows no times; a second
has learned them from the ledger; a third has a client that does not offer its list. Exits with 1 where a video is missing,
a job was charged twice, or the second batch needs a request per video or more, or is 1.5 % late or more.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from statistics import mean
from typing import cast

import httpx
from pydantic import SecretStr

from benchmarks import arena
from benchmarks.polling_arithmetic import (
    DISTRIBUTIONS,
    SCRIPT_INTERVAL_S,
    SDK_INTERVAL_S,
    Asked,
    drifting,
    every,
    ideal,
    learned,
    moments,
)
from wan_pipeline.bucket import open_bucket
from wan_pipeline.generation.engine import Engine
from wan_pipeline.generation.events import Finished, Stage, Verdict
from wan_pipeline.generation.parts import EngineParts
from wan_pipeline.money import Money
from wan_pipeline.providers.base import ProviderClient, ProviderLimits
from wan_pipeline.providers.connect import connect
from wan_pipeline.shots.discovery import discover
from wan_pipeline.simulator.books import Books
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Budgets, ClaimOptions

SEED = 5


def arithmetic(jobs: int) -> str:
    """The tables of (a)."""
    import random

    rows: list[list[str]] = []
    needed: list[list[str]] = []
    for name, draw in DISTRIBUTIONS.items():
        source = random.Random(SEED)
        times = [draw(source) for _ in range(jobs)]
        ours = {samples: learned(draw, samples, jobs // 4, SEED) for samples in (5, 50, 500)}
        best = ideal(times, questions=ours[500].questions)
        rows.append([name, "ideal", *_shown(Asked.of([moments(best, each) for each in times if each <= best[-1]]))])
        rows += [["", f"ours, {samples} times seen", *_shown(asked)] for samples, asked in ours.items()]
        rows.append(["", "SDK, every second", *_shown(Asked.of([every(SDK_INTERVAL_S, each) for each in times]))])
        rows.append(["", "script, every 15 s", *_shown(Asked.of([every(SCRIPT_INTERVAL_S, each) for each in times]))])
        three = ideal(times, late=0.03)
        needed.append(
            [name, f"{Asked.of([moments(three, each) for each in times if each <= three[-1]]).questions:.1f}"]
        )
    rows += [[f"+-30 %, {name}", "ours", *_shown(asked)] for name, asked in drifting(jobs // 2, SEED).items()]
    return (
        arena.table(["a job takes 20 s,", "asked by", "polls", "late", "p95"], rows)
        + "\n\n"
        + arena.table(["single questions of the ideal for 3 %", "polls"], needed)
    )


def _shown(asked: Asked) -> list[str]:
    return [f"{asked.questions:.1f}", f"{asked.late:.1%}", f"{asked.late_p95:.1%}"]


class Counting(httpx.AsyncBaseTransport):
    """Counts what asks."""

    def __init__(self, connections: int) -> None:
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._inner = httpx.AsyncHTTPTransport(limits=limits)
        self.counted: Counter[str] = Counter()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/v3/predictions":
            self.counted["list"] += 1
        elif request.url.path.startswith("/api/v3/predictions/"):
            self.counted["polls"] += 1
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


class WithoutList:
    """A client that offers no list."""

    def __init__(self, client: ProviderClient) -> None:
        for name in ("name", "limits", "account", "submit", "poll", "look_for"):
            setattr(self, name, getattr(client, name))


def batch(home: Path, url: str, public: str, in_flight: int, keys: Sequence[str], *, listed: bool) -> list[str]:
    """Makes these shots; gives the row of figures. Raises RuntimeError where one is not made, or was charged twice."""
    ledger = Ledger.open(f"sqlite:///{home / 'ledger.sqlite'}")
    bucket = open_bucket(str(home / "bucket"), public)
    limits = ProviderLimits(in_flight, 60_000)
    counted: Counter[str] = Counter()

    async def run() -> list[Finished]:
        transport = Counting(max(100, in_flight))

        @asynccontextmanager
        async def client(provider: str) -> AsyncGenerator[ProviderClient]:
            async with connect(provider, url, SecretStr("benchmark"), limits, transport) as real:
                yield real if listed else cast("ProviderClient", WithoutList(real))

        def connected(provider: str) -> AbstractAsyncContextManager[ProviderClient]:
            return client(provider)

        much = Money.usd(100_000)
        parts = EngineParts(ledger, bucket, Budgets(much, much, much), connected, None, simulated=False)
        wanted = set(keys)
        shots = [shot for shot in discover(bucket, None) if shot.key in wanted]
        finished = await Engine(parts).run(shots, Stage.GENERATE, ClaimOptions(), lambda event: None, "benchmark")
        await transport.aclose()
        counted.update(transport.counted)
        return finished

    began = time.monotonic()
    finished = asyncio.run(run())
    wall_s = time.monotonic() - began
    books = {job.id: job for job in Books(home / "simulator").jobs()}
    made = {each.job_id for each in finished if each.verdict is Verdict.MADE}
    if len(made) != len(keys) or len(books) != len(ledger.jobs()):
        raise RuntimeError(f"{len(made)} of {len(keys)} were made; {len(books)} charged, {len(ledger.jobs())} known")
    late: list[float] = []
    for job in ledger.jobs():
        if job.id in made and job.generated_at is not None:
            theirs = books[job.provider_job_id or ""]
            late.append((job.generated_at - theirs.ready_at).total_seconds() / theirs.latency_s)
    ledger.close()
    late.sort()
    latencies = [books[job_id].latency_s for job_id in sorted(books, key=lambda each: books[each].number)][-len(keys) :]
    polls, readings = counted["polls"] / len(keys), counted["list"] / len(keys)
    return [
        f"{polls:.2f}",
        f"{readings:.2f}",
        f"{polls + readings:.2f}",
        f"{mean(late):.1%}",
        f"{late[int(0.95 * (len(late) - 1))]:.1%}",
        f"{wall_s / arena.ideal_s(latencies, in_flight):.3f}",
    ]


def real(in_flight: int, count: int, latency_s: float) -> tuple[str, bool]:
    """The table of (b), and whether the second batch did with less than a request per video and 1.5 % late."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        arena.write_shots(home / "bucket", 3 * count)
        keys = [f"shot{number:05d}" for number in range(3 * count)]
        rows: list[list[str]] = []
        with (
            arena.simulator(home / "simulator", latency_s, 0.3, in_flight) as url,
            arena.served(home / "bucket") as public,
        ):
            for number, what in enumerate(("no times known", "times learned", "learned, without a list")):
                mine = keys[number * count : (number + 1) * count]
                row = batch(home, url, public, in_flight, mine, listed=number < 2)
                rows.append([f"{what}, {count} shots", *row])
    enough = float(rows[1][3]) < 1 and float(rows[1][4].rstrip("%")) < 1.5
    heading = [f"{in_flight} in flight, {latency_s:g} s", "polls", "list", "requests/video", "late", "p95", "makespan"]
    return arena.table(heading, rows), enough


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="some seconds: whether it runs, not what it measures")
    options.add_argument("--jobs", type=int, default=4000)
    options.add_argument("--in-flight", type=int, default=200)
    options.add_argument("--shots", type=int, default=600)
    options.add_argument("--latency", type=float, default=20.0)
    options.add_argument("--only", choices=("arithmetic", "real"))
    given = options.parse_args(arguments)
    if given.quick:
        given.jobs, given.in_flight, given.shots, given.latency = 60, 8, 8, 0.5
    if given.only != "real":
        print(arithmetic(given.jobs), end="\n\n", flush=True)
    if given.only == "arithmetic":
        return 0
    try:
        shown, enough = real(given.in_flight, given.shots, given.latency)
    except RuntimeError as error:
        print(error)
        return 1
    print(shown)
    return 0 if enough or given.quick else 1


if __name__ == "__main__":
    sys.exit(main())
