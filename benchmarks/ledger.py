"""The ledger: what each call of a job's life costs in a ledger of 1,000, of 100,000 and of 1,000,000 jobs.

    python -m benchmarks.ledger [--sizes 1000,100000,1000000] [--database sqlite|postgres|both] [--folder FOLDER]
                                [--rounds 60] [--quick]

Generated ledgers (wan_pipeline_tests/reports/year.py), three jobs in ten of them bought in this UTC month, and 200 jobs
more in flight. PostgreSQL as nobody wants it: every job of the month was changed once more after the last VACUUM, and
autovacuum is off. In each round one job goes through its life in each of the ledgers, one after the other, so that whatever
disturbs the machine disturbs all sizes alike. CPU is this process's and that of its database connection, the median of all
rounds; wall time has the disk's fsync in it, once for each commit. With --folder the ledgers stay there and are used again
that day.

Below them, not judged: the month's sum added up from its jobs, as it would be without the running totals; and how many
claims, and how many bills, four and eight processes write at once.

Exit status 1: a call's CPU with the most jobs is beyond 1.3 times that with the fewest (and by more than 0.1 ms), or the
ledger does not agree with itself afterwards.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event

from benchmarks.arena import table
from benchmarks.ledger_sizes import ledgers
from wan_pipeline.money import Money
from wan_pipeline.spend import budget, totals
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import (
    Bought,
    Budgets,
    ClaimOptions,
    JobRequest,
    JobState,
    StoredVideo,
    SubmitLimits,
)

T = TypeVar("T")

AT_MOST = 1.3
_NOTHING_S = 0.0001  # less than this is no difference
_IN_FLIGHT = 200
_VERIFIED = 100_000  # jobs; of more, only the running totals are held against their jobs
_PLENTY = Money.usd(10**8)
_BUDGETS = Budgets(_PLENTY, _PLENTY, _PLENTY, {"spring": _PLENTY}, {"wavespeed": _PLENTY})
_LIMITS = SubmitLimits(100_000, 100_000)
_VIDEO = StoredVideo("file:///b/v.mp4", "v.mp4", "f" * 64, 123_456, 5.04, None)
_LIFE = ("look", "claim", "accepted", "generated", "stored")


# --- one job's life, measured call by call ---


@dataclass(frozen=True)
class Cost:
    cpu_s: float
    wall_s: float
    statements: int


class Meter:
    """What the calls on one ledger cost."""

    def __init__(self, url: str) -> None:
        self.ledger = Ledger.open(url)
        self.costs: defaultdict[str, list[Cost]] = defaultdict(list)
        self._statements = 0
        self._server: Path | None = None
        event.listen(self.ledger.engine, "before_cursor_execute", self._count)
        if self.ledger.engine.dialect.name == "postgresql":
            with self.ledger.engine.connect() as connection:  # the one connection of this one thread
                pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            self._server = Path(f"/proc/{pid}/schedstat")

    def _count(self, connection: object, cursor: object, statement: str, *_: object) -> None:
        self._statements += not statement.startswith("BEGIN")

    def _cpu_s(self) -> float:
        server_ns = int(self._server.read_text().split()[0]) if self._server else 0
        return time.process_time() + server_ns / 1e9

    def __call__(self, name: str, call: Callable[[], T]) -> T:
        statements, wall_s, cpu_s = self._statements, time.perf_counter(), self._cpu_s()
        answer = call()
        cost = Cost(self._cpu_s() - cpu_s, time.perf_counter() - wall_s, self._statements - statements)
        self.costs[name].append(cost)
        return answer

    def median(self, name: str, of: Callable[[Cost], float]) -> float:
        return statistics.median(of(cost) for cost in self.costs[name])

    def one_life(self) -> None:
        ledger, request = self.ledger, _request()
        self("look", lambda: ledger.claim(request, _BUDGETS, ClaimOptions(collect_only=True)))
        bought = _bought(self("claim", lambda: ledger.claim(request, _BUDGETS, None, _LIMITS, "account")))
        job_id, price = bought.job.id, Money.usd("0.15")
        self("accepted", lambda: ledger.mark_accepted(job_id, bought.attempt_id, f"p-{job_id}", price))
        self("generated", lambda: ledger.mark_generated(job_id, "https://cdn.invalid/v.mp4"))
        self("stored", lambda: ledger.mark_stored(job_id, _VIDEO))
        self("every 10 s: heartbeat", ledger.heartbeat)
        self("every 10 s: orphans", lambda: ledger.settle_orphans(simulated=False))
        self("every 10 s: ambiguous, due", lambda: ledger.ambiguous(simulated=False, due=True))
        self("every 10 s: what I hold", lambda: ledger.held(JobState.GENERATED))
        self("every 10 s: open jobs (200)", lambda: ledger.open_jobs(simulated=False))
        self("every minute: budgets", lambda: ledger.budget_lines(_BUDGETS, simulated=False))

    def month_from_its_jobs(self) -> None:
        since, until = budget.month_of(datetime.now(UTC))
        text = sa.text(
            "SELECT sum(held_nanos), sum(billed_nanos) FROM jobs WHERE NOT simulated"
            " AND claimed_at >= :since AND claimed_at < :until"
        )
        if self.ledger.engine.dialect.name == "sqlite":
            values: dict[str, Any] = {"since": f"{since:%Y-%m-%d}", "until": f"{until:%Y-%m-%d}"}
        else:
            values = {"since": since, "until": until}
        with self.ledger.engine.connect() as connection:
            self("not done: the month's sum of its jobs", lambda: connection.execute(text, values).one())


def _request() -> JobRequest:
    number = time.time_ns()
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    arguments = {"prompt": "The cat looks up at the falling leaves. " * 5, "duration": 5, "image": digest, "seed": 7}
    inputs = ({"slot": "first_frame", "key": "inbox/x.png", "sha256": digest},)
    what = (
        "wavespeed",
        "wavespeed/wan-2.6-i2v-flash",
        digest,
        digest[:16],
        arguments,
        inputs,
        5,
        "720p",
        False,
        "spring",
    )
    return JobRequest(f"spring/{number}", *what, Money.usd("0.10"), Money.usd("0.20"), simulated=False)


def _bought(outcome: object) -> Bought:
    if not isinstance(outcome, Bought):
        raise RuntimeError(f"the claim bought nothing: {outcome}")  # noqa: TRY004
    return outcome


def _submitted(ledger: Ledger) -> str:
    bought = _bought(ledger.claim(_request(), _BUDGETS, None, _LIMITS))
    return ledger.mark_accepted(bought.job.id, bought.attempt_id, f"p-{bought.job.id}", None).id


# --- several processes at once ---

_barrier: Barrier | None = None


def _remember(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _write_at_once(url: str, count: int, what: str) -> float:
    """Seconds that this process took for so many claims, or bills of jobs of one day, provider and campaign."""
    assert _barrier is not None
    with Ledger.open(url) as ledger:
        jobs = [_submitted(ledger) for _ in range(count if what == "bills" else 0)]
        _barrier.wait(600)
        began = time.perf_counter()
        for number in range(count):
            if what == "bills":
                ledger.mark_failed(jobs[number], "content policy", Money.usd("0.01"))
            else:
                _bought(ledger.claim(_request(), _BUDGETS, None, _LIMITS))
        return time.perf_counter() - began


def at_once(url: str, processes: int, count: int, what: str) -> float:
    """How many a second, of all processes together."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    with ProcessPoolExecutor(processes, context, _remember, (barrier,)) as pool:
        seconds = list(pool.map(_write_at_once, [url] * processes, [count] * processes, [what] * processes))
    return processes * count / max(seconds)


# --- the tables ---


def measure(
    database: str, urls: dict[int, str], rounds: int, *, at_once_each: int = 160, crowds: Sequence[int] = (1, 4, 8)
) -> list[str]:
    """Prints the tables of one database; gives what is wrong."""
    meters = {size: Meter(url) for size, url in urls.items()}
    for meter in meters.values():
        for _ in range(max(0, _IN_FLIGHT - len(meter.ledger.open_jobs()))):
            _submitted(meter.ledger)
        meter.one_life()  # what is compiled and read once
        meter.costs.clear()
    for number in range(rounds):
        for meter in meters.values():
            meter.one_life()
            if number % 10 == 0:
                meter.month_from_its_jobs()
    few, many = meters[min(meters)], meters[max(meters)]
    rows: list[list[str]] = []
    wrong: list[str] = []

    def row(name: str, of: Callable[[Meter, Callable[[Cost], float]], float], *, judged: bool = True) -> None:
        cpu_s = {size: of(meter, lambda cost: cost.cpu_s) for size, meter in meters.items()}
        ratio, more_s = cpu_s[max(cpu_s)] / cpu_s[min(cpu_s)], cpu_s[max(cpu_s)] - cpu_s[min(cpu_s)]
        if judged and ratio > AT_MOST and more_s > _NOTHING_S:
            wrong.append(f"{database}, {name}: {ratio:.2f} x, {AT_MOST} allowed")
        walls = [f"{of(meter, lambda cost: cost.wall_s) * 1e3:.2f}" for meter in (few, many)]
        statements = f"{of(many, lambda cost: float(cost.statements)):.0f}"
        rows.append([name, *(f"{each * 1e3:.2f}" for each in cpu_s.values()), f"{ratio:.2f}", *walls, statements])

    for name in few.costs:
        row(name, lambda meter, of, name=name: meter.median(name, of), judged=not name.startswith("not done"))
    row("a job's life", lambda meter, of: sum(meter.median(name, of) for name in _LIFE))
    walls = [f"wall {size:,}" for size in (min(meters), max(meters))]
    print(f"\n{database}: milliseconds of CPU, the database's too, with so many jobs in the ledger")
    print(table(["", *(f"{size:,}" for size in meters), "ratio", *walls, "statements"], rows))
    for size, meter in meters.items():
        with meter.ledger.engine.connect() as connection:
            differences = totals.differences(connection) if size > _VERIFIED else meter.ledger.verify()
        wrong += [f"{database}, {size:,} jobs: {difference}" for difference in differences[:3]]
        meter.ledger.close()
    ends = {size: urls[size] for size in (min(urls), max(urls))}
    together: list[list[str]] = []
    for processes in crowds:
        for what in ("claims", "bills"):
            figures = [f"{at_once(url, processes, at_once_each // processes, what):.0f}" for url in ends.values()]
            together.append([f"{what}, {processes} {'process' if processes == 1 else 'processes'}", *figures])
    print(f"\n{database}: a second, all processes together")
    print(table(["", *(f"{size:,}" for size in ends)], together))
    return wrong


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sizes", default="1000,100000,1000000")
    options.add_argument("--database", choices=["sqlite", "postgres", "both"], default="both")
    options.add_argument("--folder", type=Path)
    options.add_argument("--rounds", type=int, default=60)
    options.add_argument("--quick", action="store_true", help="small ledgers, few rounds: does it run at all?")
    given = options.parse_args()
    sizes = [300, 3000] if given.quick else [int(size) for size in given.sizes.split(",")]
    names = {"sqlite": ["SQLite"], "postgres": ["PostgreSQL"], "both": ["SQLite", "PostgreSQL"]}[given.database]
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="wan-ledger-", ignore_cleanup_errors=True) as temporary:
        folder: Path = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            with ledgers(name, sizes, folder.absolute()) as urls:
                if given.quick:
                    wrong += measure(name, urls, rounds=3, at_once_each=4, crowds=(2,))
                else:
                    wrong += measure(name, urls, given.rounds)
    print("\n" + ("\n".join(wrong) if wrong else f"the same with every size: within {AT_MOST} x"))
    too_slow = [line for line in wrong if not given.quick or " allowed" not in line]
    return 1 if too_slow else 0


if __name__ == "__main__":
    sys.exit(main())
