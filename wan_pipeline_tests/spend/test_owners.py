"""Is a holder alive? Its own process knows, its host knows, and everybody else goes by its heartbeat."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.owners import HEARTBEAT_STALE, Owner
from wan_pipeline.spend.records import JobState
from wan_pipeline.spend.tables import owners
from wan_pipeline_tests.spend.samples import NO_LIMIT, NOON, elsewhere, job_in, joined, request_for

SECOND = timedelta(seconds=1)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Another process of this host."""
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def is_waited_for(ledger: Ledger, url: str, owner: Owner | None, *, after: timedelta = timedelta()) -> bool:
    """Would `ledger` wait for a job that this owner holds, whose last heartbeat was at noon?"""
    holder = Ledger.open(url, owner=owner)
    holder.register_owner(NOON)
    job = job_in(holder, JobState.SUBMITTED)
    return not getattr(ledger.take_over(job.id, now=NOON + after), "mine", None)


def test_a_holder_elsewhere_is_alive_while_its_heartbeat_is_fresh(ledger: Ledger, ledger_url: str) -> None:
    assert is_waited_for(ledger, ledger_url, elsewhere(), after=HEARTBEAT_STALE - SECOND)


def test_a_holder_elsewhere_that_is_silent_for_long_is_gone(ledger: Ledger, ledger_url: str) -> None:
    assert not is_waited_for(ledger, ledger_url, elsewhere(), after=HEARTBEAT_STALE)


def test_a_heartbeat_keeps_a_holder_alive(ledger: Ledger, ledger_url: str) -> None:
    with Ledger.open(ledger_url, owner=elsewhere()) as holder:
        holder.register_owner(NOON)
        job = job_in(holder, JobState.SUBMITTED)
        holder.heartbeat(NOON + HEARTBEAT_STALE)
        joined(ledger.take_over(job.id, now=NOON + HEARTBEAT_STALE * 1.5), mine=False)


def test_a_holder_elsewhere_that_ended_in_order_is_not_waited_for(ledger: Ledger, ledger_url: str) -> None:
    with Ledger.open(ledger_url, owner=elsewhere()) as holder:
        job = job_in(holder, JobState.SUBMITTED)
        joined(ledger.take_over(job.id), mine=False)
        holder.release_owner()
        joined(ledger.take_over(job.id), mine=True)


def test_a_process_of_this_host_is_alive_however_silent_it_is(
    ledger: Ledger, ledger_url: str, sleeper: subprocess.Popen[bytes]
) -> None:
    assert is_waited_for(ledger, ledger_url, _as(sleeper.pid), after=timedelta(days=1))


def test_a_process_of_this_host_that_was_killed_is_gone_at_once(
    ledger: Ledger, ledger_url: str, sleeper: subprocess.Popen[bytes]
) -> None:
    owner = _as(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    assert not is_waited_for(ledger, ledger_url, owner)


def test_another_process_with_the_same_pid_is_not_the_holder(
    ledger: Ledger, ledger_url: str, sleeper: subprocess.Popen[bytes]
) -> None:
    assert not is_waited_for(ledger, ledger_url, replace(_as(sleeper.pid), process_started="12"))


def test_the_same_pid_in_another_container_is_another_process(ledger: Ledger, ledger_url: str) -> None:
    owner = replace(Owner.this_process(), host_id="same boot, other pid namespace", pid=1, process_started="5")
    assert is_waited_for(ledger, ledger_url, owner, after=SECOND)


def test_two_batches_of_one_process_wait_for_each_other(ledger: Ledger, ledger_url: str) -> None:
    with Ledger.open(ledger_url) as holder:
        job = job_in(holder, JobState.SUBMITTED)
        joined(ledger.claim(request_for(), NO_LIMIT), mine=False)
    joined(ledger.claim(request_for(), NO_LIMIT), mine=True)
    assert ledger.job(job.id).owner == ledger.owner_id


def test_a_ledger_that_was_dropped_without_a_word_holds_nothing(ledger: Ledger, ledger_url: str) -> None:
    """The batch's thread crashed and the process goes on, as Dagster's does."""
    holder = Ledger.open(ledger_url)
    job_in(holder, JobState.SUBMITTED)
    joined(ledger.claim(request_for(), NO_LIMIT), mine=False)
    del holder
    gc.collect()
    joined(ledger.claim(request_for(), NO_LIMIT), mine=True)


def test_an_owner_is_written_down_once_it_holds_something(ledger: Ledger) -> None:
    def rows() -> list[sa.RowMapping]:
        with ledger.engine.connect() as connection:
            return list(connection.execute(sa.select(owners)).mappings())

    ledger.heartbeat()
    ledger.claim(request_for(), replace(NO_LIMIT, daily=request_for().quoted_high - request_for().quoted_high))
    assert rows() == []
    job_in(ledger, JobState.SUBMITTED)
    (row,) = rows()
    assert (row["id"], row["pid"], row["released_at"]) == (ledger.owner_id, os.getpid(), None)
    assert row["process_started"].isdigit()
    ledger.release_owner()
    assert rows()[0]["released_at"] is not None
    assert ledger.owner_id != row["id"]


def test_a_batch_is_alone_until_another_one_that_lives_buys_or_waits(ledger: Ledger, ledger_url: str) -> None:
    job_in(ledger, JobState.SUBMITTED)
    assert ledger.is_alone()
    with Ledger.open(ledger_url) as other:
        assert ledger.is_alone(), "it has come to nothing yet"
        other.register_owner()
        assert not ledger.is_alone()
        assert not other.is_alone()
    assert ledger.is_alone(), "it has ended"


def test_the_mark_of_this_process_own_run_is_no_other_batch_and_that_of_another_process_is(
    ledger: Ledger, ledger_url: str, sleeper: subprocess.Popen[bytes]
) -> None:
    with Ledger.open(ledger_url) as mark:
        mark.register_mark()
        assert ledger.is_alone()
    with Ledger.open(ledger_url, owner=_as(sleeper.pid)) as mark:
        mark.register_owner()
        mark.heartbeat()
        assert not ledger.is_alone()
        sleeper.kill()
        sleeper.wait()
        assert ledger.is_alone(), "it was killed"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_is_another_holder_with_connections_of_its_own(ledger: Ledger) -> None:
    job = job_in(ledger, JobState.SUBMITTED)
    child = os.fork()
    if child == 0:  # joins what its parent holds, and then leaves without any of pytest's goodbyes
        status = 1
        try:
            joined(ledger.claim(request_for(), NO_LIMIT), mine=False)
            job_in(ledger, JobState.SUBMITTED, request_for("dog", "a dog"))
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    joined(ledger.claim(request_for("dog", "a dog"), NO_LIMIT), mine=True)
    assert ledger.mark_generated(job.id, "https://x/v").state is JobState.GENERATED


def _as(pid: int) -> Owner:
    """The identity that this process would have had."""
    from wan_pipeline.spend import owners as module

    return replace(Owner.this_process(), pid=pid, process_started=str(module._process_started(pid)))
