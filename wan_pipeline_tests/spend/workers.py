"""What the other processes of the tests do. They are spawned, so all of this is importable and touches no fixture."""

from __future__ import annotations

import json
import random
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import TypeVar

from wan_pipeline.money import Money
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Bought, Budgets, JobState
from wan_pipeline_tests.spend.samples import NO_LIMIT, finish, job_in, request_for

T = TypeVar("T")

PROCESSES = 4
THREADS = 5

_barrier: Barrier | None = None


def remember(barrier: Barrier) -> None:
    """Each pool process's first act."""
    global _barrier
    _barrier = barrier


def _together() -> None:
    """Waits for the other processes."""
    assert _barrier is not None
    _barrier.wait(120)


def _in_threads(work: Callable[[int], T]) -> list[T]:
    ready = threading.Barrier(THREADS)

    def begin(number: int) -> T:
        ready.wait(120)
        return work(number)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(begin, range(THREADS)))


def open_together(url: str) -> list[str]:
    """Opens a ledger in several threads at once; gives what `check` has against it."""
    _together()

    def one(_: int) -> str:
        with Ledger.open(url) as ledger:
            ledger.check()
        return ""

    return _in_threads(one)


def want_the_same(url: str, prompts: int) -> list[tuple[int, str]]:
    """Every thread wants every request; gives which were bought here, and the jobs. Nobody leaves before all are done,
    or those who come late would meet dead holders."""
    with Ledger.open(url) as ledger:
        _together()

        def one(number: int) -> list[tuple[int, str]]:
            order = list(range(prompts))
            random.Random(f"{ledger.owner_id} {number}").shuffle(order)
            outcomes = [(i, ledger.claim(request_for(f"shot-{i}", f"prompt-{i}"), NO_LIMIT)) for i in order]
            return [(i, outcome.job.id) for i, outcome in outcomes if isinstance(outcome, Bought)]

        found = [item for some in _in_threads(one) for item in some]
        _together()
    return found


def spend(url: str, process: int, prices: list[str], limit: str) -> list[tuple[str, bool]]:
    """Each thread claims its own shots at these prices; gives each price, and whether it was bought."""
    with Ledger.open(url) as ledger:
        _together()

        def one(number: int) -> list[tuple[str, bool]]:
            answers: list[tuple[str, bool]] = []
            for price in prices[number::THREADS]:
                name = f"{process}-{number}-{price}"
                request = request_for(name, name, quoted_high=Money.usd(price))
                answer = ledger.claim(request, Budgets(Money.usd(limit), None, None))
                answers.append((price, isinstance(answer, Bought)))
            return answers

        found = [item for some in _in_threads(one) for item in some]
        _together()
    return found


# --- programs to be killed: `python -m wan_pipeline_tests.spend.workers hold|work URL` ---


def hold(url: str) -> None:
    """Holds a job in each open state, and lives on."""
    ledger = Ledger.open(url)
    states = (JobState.RESERVED, JobState.SUBMITTING, JobState.SUBMITTED, JobState.GENERATED)
    print(json.dumps({state: job_in(ledger, state, request_for(state, state)).id for state in states}), flush=True)
    sys.stdin.read()


def work(url: str) -> None:
    """Buys one shot after another and carries each to its end; says so before each POST, as a provider would notice."""
    ledger = Ledger.open(url)
    for number in range(10_000):
        outcome = ledger.claim(request_for(f"shot-{number}", f"prompt-{number}"), NO_LIMIT)
        if isinstance(outcome, Bought):
            print(outcome.job.id, flush=True)
            reported = Money.usd("0.11") if number % 2 else None
            job = ledger.mark_accepted(outcome.job.id, outcome.attempt_id, f"p-{outcome.job.id}", reported)
            finish(ledger, job, (JobState.STORED, JobState.FAILED, JobState.LOST)[number % 3])


if __name__ == "__main__":
    {"hold": hold, "work": work}[sys.argv[1]](sys.argv[2])
