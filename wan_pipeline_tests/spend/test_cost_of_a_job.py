"""What a job costs the ledger, counted: statements, transactions, and rows that are read without an index."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Bought, Budgets, ClaimOptions, JobState, NotBought, SubmitLimits
from wan_pipeline.spend.tables import attempts, jobs, money_entries, owners, takes
from wan_pipeline_tests.spend.samples import NOON, PRICE, expect, gone, job_in, request_for, video

BUDGETS = Budgets(PRICE * 99, PRICE * 99, PRICE * 9, {"spring": PRICE * 99}, {"wavespeed": PRICE * 99})
LIMITS = SubmitLimits(1000, 1000)
REQUEST = request_for("new", "new", campaign="spring")


class Counted:
    """What the database was given."""

    def __init__(self) -> None:
        self.statements: list[tuple[str, Any]] = []
        self.transactions = 0

    @property
    def plain(self) -> list[tuple[str, Any]]:
        return [each for each in self.statements if each[0].startswith(("SELECT", "UPDATE", "DELETE", "WITH"))]


@contextmanager
def counted(ledger: Ledger) -> Generator[Counted]:
    seen = Counted()

    def statement(connection: object, cursor: object, text: str, parameters: Any, *_: object) -> None:
        if not text.startswith("BEGIN"):
            seen.statements.append((text, parameters))

    def begin(connection: object) -> None:
        seen.transactions += 1

    event.listen(ledger.engine, "before_cursor_execute", statement)
    event.listen(ledger.engine, "begin", begin)
    try:
        yield seen
    finally:
        event.remove(ledger.engine, "before_cursor_execute", statement)
        event.remove(ledger.engine, "begin", begin)


def test_a_jobs_life_is_four_commits_and_few_statements(ledger: Ledger) -> None:
    """Apart from the clock and the lock, which are one statement more on PostgreSQL."""
    job_in(ledger, JobState.STORED)  # the holder is known
    job_in(ledger, JobState.STORED, request_for("dog", "a dog"))
    clock = int(ledger.engine.dialect.name == "postgresql")
    with counted(ledger) as look:
        expect(NotBought, ledger.claim(REQUEST, BUDGETS, ClaimOptions(collect_only=True), LIMITS))
    with counted(ledger) as claim:
        purchase = expect(Bought, ledger.claim(REQUEST, BUDGETS, None, LIMITS, "account"))
    job_id = purchase.job.id
    with counted(ledger) as accepted:
        ledger.mark_accepted(job_id, purchase.attempt_id, "p", PRICE)
    with counted(ledger) as generated:
        ledger.mark_generated(job_id, "https://cdn.invalid/v.mp4")
    with counted(ledger) as stored:
        ledger.mark_stored(job_id, video())
    calls = (look, claim, accepted, generated, stored)
    assert [call.transactions for call in calls] == [1] * 5
    assert [len(call.statements) for call in calls] == [1, 14 + clock, 4 + clock, 2 + clock, 3 + clock]
    assert not [text for text, _ in look.statements if "advisory" in text]


def test_nothing_that_is_asked_in_a_jobs_life_or_by_recovery_reads_a_whole_table(ledger: Ledger) -> None:
    with ledger.engine.begin() as connection:
        _many_jobs(connection, 3000)
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE")
    with counted(ledger) as seen:
        ledger.claim(REQUEST, BUDGETS, ClaimOptions(collect_only=True), LIMITS)
        purchase = expect(Bought, ledger.claim(REQUEST, BUDGETS, None, LIMITS, now=NOON))
        ledger.mark_refused(purchase.job.id, purchase.attempt_id, "429", now=NOON)
        later = NOON + timedelta(days=1)  # its hold is asked for again
        attempt = ledger.begin_attempt(purchase.job.id, SubmitLimits(1000, 0), BUDGETS, now=later)
        attempt = ledger.begin_attempt(purchase.job.id, LIMITS, BUDGETS, now=later)
        ledger.mark_accepted(purchase.job.id, str(attempt), "p", PRICE)
        ledger.mark_generated(purchase.job.id, "https://cdn.invalid/v.mp4")
        ledger.mark_stored(purchase.job.id, video())
        lost = job_in(ledger, JobState.SUBMITTED, request_for("lost", "lost"))
        gone(ledger)
        assert [job.id for job in ledger.settle_orphans(simulated=False)] == [lost.id]
        ledger.ambiguous(simulated=False, due=True)
        ledger.open_jobs(simulated=False)
        ledger.held(JobState.SUBMITTED)
        ledger.budget_lines(BUDGETS, simulated=False)
        ledger.budget_use(simulated=False)
        ledger.release_owner()
    assert len(seen.plain) > 50
    explain = "EXPLAIN QUERY PLAN " if ledger.engine.dialect.name == "sqlite" else "EXPLAIN "
    with ledger.engine.connect() as connection:
        for text, parameters in seen.plain:
            plan = "\n".join(str(tuple(row)) for row in connection.exec_driver_sql(explain + text, parameters))
            whole = re.search(r"(Seq Scan on|SCAN) (jobs|attempts|takes|money_entries|budget_totals)\b(?! USING)", plan)
            assert not whole, f"{text}\n{parameters}\n{plan}"
        connection.rollback()


def test_of_what_is_in_flight_recovery_reads_only_what_nobody_holds(ledger: Ledger, other: Ledger) -> None:
    for number in range(20):
        job_in(ledger, JobState.SUBMITTED, request_for(f"{number}", f"{number}"))
    orphan = job_in(other, JobState.SUBMITTED, request_for("orphan", "orphan"))
    gone(other)
    with counted(ledger) as seen:
        assert [job.id for job in ledger.orphans(simulated=False)] == [orphan.id]
        assert ledger.held(JobState.GENERATED) == []
    texts = [text for text, _ in seen.statements if "jobs.arguments" in text]
    assert len(texts) == 2
    assert all("jobs.owner" in text.partition("WHERE")[2] for text in texts)


@pytest.fixture(autouse=True)
def emptied(ledger: Ledger) -> Iterator[None]:
    """The rows of _many_jobs are no ledger that agrees with itself."""
    yield
    with ledger.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("DROP TRIGGER IF EXISTS money_entries_no_delete")
        else:
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for table in reversed(jobs.metadata.sorted_tables):
            connection.execute(table.delete())


def _many_jobs(connection: sa.Connection, count: int) -> None:
    life = {"registered_at": NOON, "heartbeat_at": NOON, "released_at": NOON}
    connection.execute(owners.insert().values(id="o", host="h", host_id="h", pid=1, process_started="1", **life))
    rows = [_job(number) for number in range(count)]
    connection.execute(jobs.insert(), rows)
    sent = {"n": 1, "owner": "o", "outcome": "accepted"}
    at = [{"job_id": row["id"], "began_at": row["claimed_at"], "ended_at": row["claimed_at"]} for row in rows]
    connection.execute(attempts.insert(), [{**sent, **each, "id": f"a-{each['job_id']}"} for each in at])
    made = {"take": 1, "own_digest": "o", "reused": False}
    each_take = [(row["shot"], row["id"], row["request_hash"], row["claimed_at"]) for row in rows]
    names = ("shot", "job_id", "request_hash", "created_at")
    connection.execute(takes.insert(), [made | dict(zip(names, values, strict=True)) for values in each_take])
    entry = {"kind": "charge", "amount_nanos": 1, "basis": "quoted", "note": ""}
    connection.execute(
        money_entries.insert(), [{**entry, "job_id": row["id"], "at": row["claimed_at"]} for row in rows]
    )


def _job(number: int) -> dict[str, Any]:
    request = {"request_hash": f"{number:064}", "fingerprint": f"{number:064}", "repeat": 1, "own_digest": "o"}
    order = {"arguments": {}, "inputs": [], "duration_s": 5, "resolution": "720p", "model": "p/m"}
    money = {"quoted_low_nanos": 0, "quoted_high_nanos": 0, "held_nanos": 0, "billed_nanos": 1, "basis": "quoted"}
    moment = NOON - timedelta(days=10 + number)
    moments = {"claimed_at": moment, "submitted_at": moment, "updated_at": moment}
    whose = {"provider": "wavespeed", "provider_job_id": f"p-{number}", "campaign": f"c{number % 300}", "owner": "o"}
    job = {"id": f"j{number}", "shot": f"shot-{number}", "take": 1, "state": "stored", "attempt_id": f"a-j{number}"}
    return {**request, **order, **money, **moments, **whose, **job, "retryable": False, "simulated": False}
