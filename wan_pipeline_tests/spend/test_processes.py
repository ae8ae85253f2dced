"""Real processes: many that want the same at once, and such that are killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Bought, Budgets, JobState, Joined, Reused, Standing, SubmitLimits
from wan_pipeline_tests.spend import workers
from wan_pipeline_tests.spend.samples import COLLECT, NO_LIMIT, PRICE, expect, joined, request_for

S = JobState
Everybody = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def everybody() -> Iterator[Everybody]:
    """Calls a function of workers.py in all processes of a pool at once, each with its arguments; joins the answers."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(workers.PROCESSES)
    with ProcessPoolExecutor(
        workers.PROCESSES, mp_context=context, initializer=workers.remember, initargs=(barrier,)
    ) as pool:

        def call(work: Callable[..., list[Any]], *arguments: list[Any]) -> list[Any]:
            return [item for some in pool.map(work, *arguments) for item in some]

        yield call


@contextmanager
def program(name: str, url: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "wan_pipeline_tests.spend.workers", name, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_processes_that_open_a_new_ledger_at_once_all_get_it(everybody: Everybody, empty_url: str) -> None:
    assert set(everybody(workers.open_together, [empty_url] * workers.PROCESSES)) == {""}


def test_requests_that_many_processes_want_at_once_are_bought_once_each(
    everybody: Everybody, ledger: Ledger, ledger_url: str
) -> None:
    prompts = 8
    bought = everybody(workers.want_the_same, [ledger_url] * workers.PROCESSES, [prompts] * workers.PROCESSES)
    assert Counter(prompt for prompt, _ in bought) == dict.fromkeys(range(prompts), 1)
    assert {job for _, job in bought} == {job.id for job in ledger.jobs()}
    assert len(ledger.entries()) == prompts


TEN = Money.usd(10)


@pytest.mark.parametrize("budgets", [Budgets(TEN, None, None), Budgets(None, None, None, {"spring": TEN})])
def test_ten_dollars_are_never_passed_and_used_but_for_less_than_one_job(
    everybody: Everybody, ledger: Ledger, ledger_url: str, budgets: Budgets
) -> None:
    """56 claims at once from eight processes; each process wants 1.96 USD, all together 15.68."""
    prices = [f"0.{cents}" for cents in range(25, 32)]
    n = workers.PROCESSES
    answers = everybody(workers.spend, [ledger_url] * n, list(range(n)), [prices] * n, [budgets] * n)
    assert len(answers) == 56
    spent = Money.total(Money.usd(price) for price, bought in answers if bought)
    refused = [Money.usd(price) for price, bought in answers if not bought]
    (line,) = ledger.budget_lines(budgets, simulated=False)
    assert line.held == spent
    assert refused
    assert spent <= TEN < spent + min(refused)


def test_many_processes_together_keep_one_providers_limits(
    everybody: Everybody, ledger: Ledger, ledger_url: str
) -> None:
    """What was at the provider at each moment as the provider would see it, and how many attempts began in any minute as
    their rows tell."""
    n = workers.PROCESSES
    limits = SubmitLimits(max_in_flight=2, submits_per_minute=70)  # 56 threads want two shots each: 168 submissions
    told = everybody(workers.keep_limits, [ledger_url] * n, list(range(n)), [2] * n, [limits] * n)
    assert [reason for reason, _, _ in told if reason], "the minute was not used up"
    spans = [(begin, end) for reason, begin, end in told if not reason]
    assert max(sum(begin <= moment < end for begin, end in spans) for moment, _ in spans) <= 2
    began_at = [attempt.began_at for job in ledger.jobs() for attempt in ledger.attempts(job.id)]
    assert len(began_at) == len(spans)
    minute = timedelta(seconds=60)
    assert max(sum(moment - minute < other <= moment for other in began_at) for moment in began_at) == 70


def test_what_a_killed_process_leaves_is_settled_without_a_person(ledger: Ledger, ledger_url: str) -> None:
    with program("hold", ledger_url) as holder:
        assert holder.stdout is not None
        jobs: dict[str, str] = json.loads(holder.stdout.readline())
        assert ledger.settle_orphans(simulated=False) == [], "it lives"
        assert {state: ledger.job(job_id).state for state, job_id in jobs.items()} == {
            S(state): S(state) for state in jobs
        }
        holder.kill()
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        collected = ledger.settle_orphans(simulated=False)
    assert {job.id for job in collected} == {jobs[S.SUBMITTED], jobs[S.GENERATED]}
    reserved, submitting = ledger.job(jobs[S.RESERVED]), ledger.job(jobs[S.SUBMITTING])
    assert (reserved.state, reserved.retryable, reserved.held) == (S.REJECTED, True, ZERO)
    assert (submitting.state, submitting.held) == (S.AMBIGUOUS, PRICE)
    assert [job.id for job in ledger.ambiguous(simulated=False, due=True)] == [submitting.id]
    assert len(ledger.jobs()) == 4
    joined(ledger.claim(request_for(S.SUBMITTED, S.SUBMITTED), NO_LIMIT, COLLECT), mine=True)


def test_a_killed_holders_jobs_are_found_at_once_in_every_state(ledger: Ledger, ledger_url: str) -> None:
    with program("hold", ledger_url) as holder:
        assert holder.stdout is not None
        jobs: dict[str, str] = json.loads(holder.stdout.readline())
        for state, job_id in jobs.items():
            assert joined(ledger.claim(request_for(state, state), NO_LIMIT), mine=False).id == job_id
        holder.kill()
        # Waits for its end and leaves it a zombie, as a careless parent process does.
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        for state in (S.SUBMITTED, S.GENERATED):
            assert joined(ledger.claim(request_for(state, state), NO_LIMIT), mine=True).id == jobs[state]
        standing = expect(Standing, ledger.claim(request_for(S.SUBMITTING, S.SUBMITTING), NO_LIMIT))
        assert (standing.job.id, standing.job.state) == (jobs[S.SUBMITTING], S.AMBIGUOUS)
        again = expect(Bought, ledger.claim(request_for(S.RESERVED, S.RESERVED), NO_LIMIT))
        assert again.job.id == jobs[S.RESERVED]
        assert [attempt.n for attempt in ledger.attempts(again.job.id)] == [1, 2]
    assert len(ledger.jobs()) == 4


def test_a_process_killed_at_any_moment_leaves_a_sound_ledger_that_knows_every_post(
    ledger: Ledger, ledger_url: str
) -> None:
    posted: set[str] = set()
    for kill_after in (1, 4, 9):
        with program("work", ledger_url) as worker:
            assert worker.stdout is not None
            for _ in range(kill_after):
                posted.add(worker.stdout.readline().strip())
            worker.kill()
            posted |= {line for line in worker.stdout.read().split("\n") if len(line) == 13}
        assert ledger.verify() == []
        assert posted <= {job.id for job in ledger.jobs()}
    # Whoever comes next buys nothing of that again: neither what ended, nor what was on its way.
    for job in ledger.jobs():
        outcome = ledger.claim(request_for(job.shot, job.shot.replace("shot", "prompt")), NO_LIMIT, COLLECT)
        assert isinstance(outcome, Joined | Standing | Reused)
        assert outcome.job.id == job.id
        assert len(ledger.attempts(job.id)) == 1
