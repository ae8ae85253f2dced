"""What the other processes of the tests do. They are spawned, so all of this is importable and touches no fixture."""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import TypeVar

from wan_pipeline.money import Money
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Bought, Budgets, JobState, ProviderBusy, SubmitLimits
from wan_pipeline_tests.spend.samples import NO_LIMIT, finish, job_in, request_for

T = TypeVar("T")

PROCESSES = 8
THREADS = 7

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


def spend(url: str, process: int, prices: list[str], budgets: Budgets) -> list[tuple[str, bool]]:
    """Each thread claims its own shots at these prices; gives each price, and whether it was bought."""
    with Ledger.open(url) as ledger:
        _together()

        def one(number: int) -> list[tuple[str, bool]]:
            answers: list[tuple[str, bool]] = []
            for price in prices[number::THREADS]:
                name = f"{process}-{number}-{price}"
                request = request_for(name, name, quoted_high=Money.usd(price), campaign="spring")
                answers.append((price, isinstance(ledger.claim(request, budgets), Bought)))
            return answers

        found = [item for some in _in_threads(one) for item in some]
        _together()
    return found


def keep_limits(url: str, process: int, shots: int, limits: SubmitLimits) -> list[tuple[str, float, float]]:
    """Each thread wants as many shots made, some of which are refused once. Gives from when to when each submission was at
    the provider (`time.monotonic`, the same for all processes of a host), and why a thread stopped before its last shot."""
    with Ledger.open(url) as ledger:
        _together()
        told = _in_threads(lambda number: list(_make_within(ledger, f"{process}-{number}", shots, limits)))
        _together()
    return [item for some in told for item in some]


def _make_within(ledger: Ledger, name: str, shots: int, limits: SubmitLimits) -> Iterator[tuple[str, float, float]]:
    for number in range(shots):
        request = request_for(f"{name}-{number}", f"{name}-{number}")
        sent = _patiently(lambda request=request: ledger.claim(request, NO_LIMIT, limits=limits))
        if isinstance(sent, ProviderBusy):
            yield (sent.reason, 0, 0)
            return
        assert isinstance(sent, Bought), sent
        job_id, attempt_id = sent.job.id, sent.attempt_id
        if number % 2:
            yield _at_the_provider()
            ledger.mark_refused(job_id, attempt_id, "429")
            again = _patiently(lambda job_id=job_id: ledger.begin_attempt(job_id, limits))
            if isinstance(again, ProviderBusy):
                yield (again.reason, 0, 0)
                return
            assert isinstance(again, str), again
            attempt_id = again
        begin = time.monotonic()
        job = ledger.mark_accepted(job_id, attempt_id, f"p-{job_id}", None)
        yield ("", begin, _at_the_provider()[2])
        finish(ledger, job, JobState.STORED)


def _at_the_provider() -> tuple[str, float, float]:
    begin = time.monotonic()
    time.sleep(0.005)  # it works on it; the others knock meanwhile
    return ("", begin, time.monotonic())


def _patiently(ask: Callable[[], T]) -> T:
    """Asks again while all places are taken; whoever would have to wait for the next minute is answered so."""
    while True:
        answer = ask()
        if not isinstance(answer, ProviderBusy) or "last minute" in answer.reason:
            return answer
        time.sleep(random.uniform(0.01, 0.05))


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
