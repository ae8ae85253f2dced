"""The running totals of the budgets: always the sums of the jobs, whoever changes them, and folded while others write."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from wan_pipeline.money import Money
from wan_pipeline.spend import totals
from wan_pipeline.spend.budget_tables import budget_totals
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import JobState
from wan_pipeline.spend.tables import jobs
from wan_pipeline.spend.transacting import FOLD_EVERY
from wan_pipeline_tests.spend.samples import NOON, PRICE, bought, job_in, request_for

MIDNIGHT = NOON.replace(hour=0)
MOMENTS = st.sampled_from([MIDNIGHT - timedelta(microseconds=1), MIDNIGHT, NOON, NOON + timedelta(days=31)])
ROW = st.fixed_dictionaries(
    {
        "claimed_at": MOMENTS,
        "simulated": st.booleans(),
        "provider": st.sampled_from(["wavespeed", "aimlapi"]),
        "campaign": st.sampled_from([None, "", "spring"]),
        "held_nanos": st.sampled_from([0, 1, 2**40]),
        "billed_nanos": st.sampled_from([None, 0, 1, 7]),
        "quoted_high_nanos": st.sampled_from([0, 5]),  # no budget counts it
    }
)
# Which job, and what becomes of it: a new row, another one in its place, or (None) none.
DEEDS = st.lists(st.tuples(st.integers(0, 2), st.one_of(st.none(), ROW, st.just("fold"))), max_size=12)


def _row(number: int, **values: Any) -> dict[str, Any]:
    fixed = {"shot": "cat", "take": 1, "model": "m", "repeat": 1, "own_digest": "", "state": "stored", "arguments": {}}
    more = {"inputs": [], "duration_s": 5, "resolution": "720p", "quoted_low_nanos": 0, "quoted_high_nanos": 0}
    usual = {"simulated": False, "provider": "wavespeed", "held_nanos": 0, "claimed_at": NOON, "retryable": False}
    hashes = {"id": f"j{number}", "request_hash": f"{number}", "fingerprint": f"{number}", "updated_at": NOON}
    return {**fixed, **more, **usual, **hashes, **values}


def _sums(connection: sa.Connection) -> dict[tuple[Any, ...], tuple[int, int]]:
    found: dict[tuple[Any, ...], tuple[int, int]] = {}
    for row in connection.execute(sa.select(budget_totals)):
        key = (row.day, row.simulated, row.provider, row.campaign)
        held, billed = found.get(key, (0, 0))
        found[key] = held + row.held_nanos, billed + row.billed_nanos
    return {key: sums for key, sums in found.items() if sums != (0, 0)}


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    database=None,
)
@given(deeds=DEEDS)
def test_whatever_becomes_of_jobs_the_totals_are_their_sums(ledger: Ledger, deeds: list[tuple[int, Any]]) -> None:
    there: dict[int, dict[str, Any]] = {}
    with ledger.engine.connect() as connection, connection.begin() as transaction:
        before = _sums(connection)
        for number, deed in deeds:
            if deed == "fold":
                totals.fold(connection)
            elif deed is None:
                connection.execute(jobs.delete().where(jobs.c.id == f"j{number}"))
                there.pop(number, None)
            elif number in there:
                connection.execute(jobs.update().where(jobs.c.id == f"j{number}").values(deed))
                there[number] = deed
            else:
                connection.execute(jobs.insert().values(_row(number, **deed)))
                there[number] = deed
            expected = dict(before)
            for row in there.values():
                key = (row["claimed_at"].date(), row["simulated"], row["provider"], row["campaign"])
                held, billed = expected.get(key, (0, 0))
                expected[key] = held + row["held_nanos"], billed + (row["billed_nanos"] or 0)
            assert _sums(connection) == {key: sums for key, sums in expected.items() if sums != (0, 0)}
            assert totals.differences(connection) == []
        transaction.rollback()


def test_totals_that_are_wrong_are_told_and_added_up_anew(ledger: Ledger) -> None:
    job_in(ledger, JobState.STORED, request_for(campaign="spring"))
    job_in(ledger, JobState.SUBMITTED, request_for("dog", "a dog"))
    now = ledger.now()
    right = ledger.budget_use(now, simulated=False)
    with ledger.engine.begin() as connection:
        connection.execute(budget_totals.update().values(billed_nanos=budget_totals.c.billed_nanos + 1, folded=False))
        connection.execute(budget_totals.insert().values(_total(held_nanos=5)))
    told = ledger.verify()
    assert {difference.what.partition(":")[0] for difference in told} == {
        f"budget total of {now:%Y-%m-%d} wavespeed",
        f"budget total of {now:%Y-%m-%d} wavespeed spring",
        f"budget total of {NOON:%Y-%m-%d} nobody",
    }
    assert all("doctor --rebuild-ledger" in difference.expected for difference in told)
    ledger.rebuild_totals()
    assert ledger.verify() == []
    assert ledger.budget_use(now, simulated=False) == right


def _total(**values: Any) -> dict[str, Any]:
    return {"day": NOON.date(), "simulated": False, "provider": "nobody", "billed_nanos": 0, "folded": True} | values


def test_what_is_not_folded_yet_stays_few_however_many_jobs_there_were(ledger: Ledger) -> None:
    for number in range(FOLD_EVERY):
        purchase = bought(ledger, request_for(f"shot-{number}", f"{number}"), now=NOON)
        ledger.mark_rejected(purchase.job.id, purchase.attempt_id, "no", now=NOON)
        with ledger.engine.connect() as connection:
            count = connection.execute(sa.select(sa.func.count()).select_from(budget_totals)).scalar_one()
        assert count <= FOLD_EVERY + 1
    kept = bought(ledger, now=NOON).job
    ledger.release_owner(now=NOON)
    with ledger.engine.connect() as connection:
        (row,) = connection.execute(sa.select(budget_totals)).all()
    assert (row.day, row.held_nanos, row.billed_nanos, row.folded) == (NOON.date(), kept.held.nanos, 0, True)


@contextmanager
def _uncommitted(ledger: Ledger, job_id: str, billed: Money) -> Generator[None]:
    """Somebody else's transaction, which ends with this context."""
    with ledger.engine.connect() as connection, connection.begin():
        connection.execute(jobs.update().where(jobs.c.id == job_id).values(billed_nanos=billed.nanos))
        yield


@pytest.fixture
def two_jobs(ledger: Ledger) -> tuple[str, str]:
    if ledger.engine.dialect.name == "sqlite":
        pytest.skip("there, one transaction writes at a time")
    return tuple(bought(ledger, request_for(name, name), now=NOON).job.id for name in ("cat", "dog"))  # type: ignore[return-value]


def test_a_bill_that_is_written_while_another_one_folds_is_counted_once(
    ledger: Ledger, two_jobs: tuple[str, str]
) -> None:
    with ledger.engine.connect() as other, other.begin():
        with _uncommitted(ledger, two_jobs[0], PRICE):
            assert totals.fold(other) == 2
            with ledger.engine.begin() as third:
                assert totals.fold(third) == 0, "one folds at a time, and nobody waits"
    assert _day(ledger, NOON) == PRICE * 3
    with ledger.engine.begin() as connection:
        assert totals.fold(connection) == 1
        connection.execute(jobs.update().values(billed_nanos=sa.null()))
    assert _day(ledger, NOON) == PRICE * 2


def test_a_bill_that_is_committed_in_the_midst_of_a_fold_is_not_thrown_away(
    ledger: Ledger, other: Ledger, two_jobs: tuple[str, str]
) -> None:
    committed: list[str] = []

    def commit_one(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(("INSERT INTO budget_totals", "UPDATE budget_totals")) and not committed:
            committed.append(statement)
            with _uncommitted(other, two_jobs[0], PRICE):
                pass

    event.listen(ledger.engine, "before_cursor_execute", commit_one)
    with ledger.engine.begin() as connection:
        assert totals.fold(connection) == 2
    assert committed
    assert _day(ledger, NOON) == PRICE * 3
    with ledger.engine.begin() as connection:
        connection.execute(jobs.update().values(billed_nanos=sa.null()))


def test_transactions_about_jobs_of_one_day_do_not_wait_for_each_other(
    ledger: Ledger, two_jobs: tuple[str, str]
) -> None:
    with _uncommitted(ledger, two_jobs[0], PRICE):
        with ledger.engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL lock_timeout TO '200ms'")
            connection.execute(jobs.update().where(jobs.c.id == two_jobs[1]).values(billed_nanos=PRICE.nanos))
        assert _day(ledger, NOON) == PRICE * 3
    assert _day(ledger, NOON) == PRICE * 4
    with ledger.engine.begin() as connection:
        connection.execute(jobs.update().values(billed_nanos=sa.null()))


def _day(ledger: Ledger, now: datetime) -> Money:
    return ledger.budget_use(now, simulated=False).day.used
