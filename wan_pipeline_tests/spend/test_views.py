"""The analysts' views: each amount on the day, and in the row, that it belongs to; nothing lost, nothing counted twice."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from sqlalchemy.engine import Connection

from wan_pipeline.spend import views
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import JobState
from wan_pipeline.spend.tables import metadata
from wan_pipeline_tests.spend.books_of_any_kind import BOOKS, DIMENSIONS, AnyJob, daily, wasted_kind, write
from wan_pipeline_tests.spend.conftest import empty_postgres
from wan_pipeline_tests.spend.samples import NOON, PRICE, corrected, job_in

Filled = Callable[[Sequence[AnyJob]], AbstractContextManager[Connection]]


@pytest.fixture(scope="module")
def filled() -> Filled:
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine)

    @contextmanager
    def fill(books: Sequence[AnyJob]) -> Any:
        with engine.connect() as connection, connection.begin() as transaction:
            write(connection, books)
            yield connection
            transaction.rollback()

    return fill


@pytest.fixture
def filled_postgres(postgres_ledger: str) -> Any:
    empty_postgres(postgres_ledger)
    engine = sa.create_engine(postgres_ledger, connect_args={"options": "-csearch_path=wan_ledger"})

    @contextmanager
    def fill(books: Sequence[AnyJob]) -> Any:
        with engine.connect() as connection, connection.begin() as transaction:
            write(connection, books)
            yield connection
            transaction.rollback()

    yield fill
    engine.dispose()


def rows(connection: Connection, query: str) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.exec_driver_sql(query).mappings()]


def check_days(connection: Connection, books: Sequence[AnyJob]) -> None:
    """Every figure of every day, kind and combination of dimensions."""
    expected = daily(books)
    seen = {}
    for row in rows(connection, "SELECT * FROM daily_costs"):
        key = (str(row["day"]), bool(row["simulated"]), tuple(row[name] for name in DIMENSIONS))
        assert key not in seen, "a row twice"
        assert row["month"] == str(row["day"])[:7]
        seen[key] = row
    assert set(seen) == set(expected)
    for key, figures in expected.items():
        names = {name for name in seen[key] if name.endswith("_nanos")} | {"jobs", "stored_s"}
        names -= {"quoted_low_nanos"}
        assert {name: seen[key][name] for name in names} == {name: figures.get(name, 0) for name in names}
        for name in ("billed", "refunded", "wasted", "unknown"):
            assert Decimal(seen[key][f"{name}_usd"]) * 1_000_000_000 == seen[key][f"{name}_nanos"]


def check_sums(connection: Connection, books: Sequence[AnyJob]) -> None:
    """By every dimension the lines come to what the jobs' rows say, and to nothing else."""
    for name in DIMENSIONS:
        billed = "CAST(sum(billed_nanos) AS bigint)"
        of_jobs = rows(connection, f"SELECT {name}, simulated, {billed} AS n FROM job_costs GROUP BY {name}, simulated")
        of_days = rows(
            connection, f"SELECT {name}, simulated, {billed} AS n FROM daily_costs GROUP BY {name}, simulated"
        )
        lines = f"SELECT {name}, simulated, CAST(sum(amount_nanos) AS bigint) AS n FROM charge_lines"
        of_lines = rows(connection, f"{lines} GROUP BY {name}, simulated")
        sums = [{(row[name], row["simulated"]): row["n"] or 0 for row in each} for each in (of_jobs, of_days, of_lines)]
        assert sums[0] == sums[1] == dict.fromkeys(sums[0], 0) | sums[2]
    kinds = {row["job_id"]: row["wasted_kind"] for row in rows(connection, "SELECT job_id, wasted_kind FROM job_costs")}
    assert kinds == {f"j{number}": wasted_kind(books, number) for number in range(len(books))}
    for row in rows(connection, "SELECT * FROM job_costs"):
        assert row["charged_nanos"] - row["refunded_nanos"] == (row["billed_nanos"] or 0)
    for row in rows(connection, "SELECT amount_nanos, amount_usd FROM charge_lines"):
        assert Decimal(row["amount_usd"]) * 1_000_000_000 == row["amount_nanos"]
        assert isinstance(row["amount_usd"], (str, Decimal))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(books=BOOKS)
def test_days_and_sums_are_those_of_the_rules_on_sqlite(filled: Filled, books: list[AnyJob]) -> None:
    with filled(books) as connection:
        check_days(connection, books)
        check_sums(connection, books)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(books=BOOKS)
def test_days_and_sums_are_those_of_the_rules_on_postgres(filled_postgres: Filled, books: list[AnyJob]) -> None:
    with filled_postgres(books) as connection:
        check_days(connection, books)
        check_sums(connection, books)


def test_the_migration_makes_the_views_of_the_module() -> None:
    migration = importlib.import_module("wan_pipeline.spend.migrations.versions.0004_views_for_analysts")
    assert tuple(views.definitions("sqlite").values()) == migration._SQLITE
    assert tuple(views.definitions("postgresql").values()) == migration._POSTGRES


def test_an_amount_in_dollars_is_a_decimal_of_nine_places_and_never_a_float(ledger: Ledger) -> None:
    job_in(ledger, JobState.STORED)
    with ledger.engine.connect() as connection:
        (line,) = rows(connection, "SELECT amount_usd, amount_nanos FROM charge_lines")
        (shot,) = rows(connection, "SELECT * FROM shot_costs")
    postgres = ledger.engine.dialect.name == "postgresql"
    assert line == {"amount_usd": Decimal("0.200000000") if postgres else "0.200000000", "amount_nanos": PRICE.nanos}
    assert [name for name, value in shot.items() if isinstance(value, float)] == []


def test_what_is_ambiguous_is_listed_as_unknown_and_not_as_billed(ledger: Ledger) -> None:
    job = job_in(ledger, JobState.AMBIGUOUS)
    with ledger.engine.connect() as connection:
        (doubt,) = rows(connection, "SELECT job_id, held_nanos, error FROM ambiguous_jobs")
        (day,) = rows(connection, "SELECT unknown_nanos, held_nanos, billed_nanos, ambiguous FROM daily_costs")
    assert doubt == {"job_id": job.id, "held_nanos": PRICE.nanos, "error": "read timeout"}
    assert day == {"unknown_nanos": PRICE.nanos, "held_nanos": 0, "billed_nanos": 0, "ambiguous": 1}


def test_a_refund_is_on_its_own_day_and_the_charge_stays_on_the_jobs(ledger: Ledger) -> None:
    job = job_in(ledger, JobState.STORED)
    assert job.submitted_at is not None
    corrected(ledger, job.id, PRICE - PRICE, "transaction t-1", NOON)
    with ledger.engine.connect() as connection:
        days = rows(connection, "SELECT day, billed_nanos FROM daily_costs WHERE billed_nanos <> 0 ORDER BY day")
    expected = sorted([(str(job.submitted_at.date()), PRICE.nanos), (str(NOON.date()), -PRICE.nanos)])
    assert [(str(row["day"]), row["billed_nanos"]) for row in days] == expected
