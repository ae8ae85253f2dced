"""The running totals that budgets are held against, and the triggers on `jobs` that keep them. docs/ledger.md.

So that a claim reads as much whether the month has a hundred jobs or a million. What belongs here: the table and its
triggers, for both databases. What does not: their sums, and the folding (totals.py). A change needs a migration.

The sum of a key's rows is what its jobs hold and were billed. A trigger appends what a change of a job adds to it, and
never changes a row that is there: on PostgreSQL transactions about jobs of one day do not wait for each other, and cannot
lock each other up. Whoever folds (one at a time) makes one row of many. Triggers, so that whatever changes a job counts:
this program, one of an earlier version, a person with psql.
"""

# ruff: noqa: S608 - every text here is made of constants

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, Date, Index, Integer, Table, event
from sqlalchemy.engine import Connection

from wan_pipeline.spend.tables import POSTGRES_SCHEMA, metadata

_NOT_FOLDED = sa.text("NOT folded")

budget_totals = Table(
    "budget_totals",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("day", Date, nullable=False),  # UTC, of claimed_at
    Column("simulated", Boolean, nullable=False),
    Column("provider", sa.Text, nullable=False),
    Column("campaign", sa.Text),
    Column("held_nanos", BigInteger, nullable=False),
    Column("billed_nanos", BigInteger, nullable=False),
    Column("folded", Boolean, nullable=False),  # False: one change of one job
    Index("ix_budget_totals_day", "day", "simulated"),
    Index("ix_budget_totals_campaign", "campaign", "simulated"),
    Index("ix_budget_totals_not_folded", "id", sqlite_where=_NOT_FOLDED, postgresql_where=_NOT_FOLDED),
)

_KEY = ("claimed_at", "simulated", "provider", "campaign")
_MONEY = ("held_nanos", "billed_nanos")
_INTO = "(day, simulated, provider, campaign, held_nanos, billed_nanos, folded)"


def _changed(columns: tuple[str, ...], *, differs: str) -> str:
    return " OR ".join(f"OLD.{name} {differs} NEW.{name}" for name in columns)


def _whole(row: str, sign: str, day: str) -> str:
    """All that a job counts, in (`+`) or out (`-`)."""
    return (
        f"{day.format(f'{row}.claimed_at')}, {row}.simulated, {row}.provider, {row}.campaign,"
        f" {sign}{row}.held_nanos, {sign}coalesce({row}.billed_nanos, 0)"
    )


_SQLITE_DAY = "substr({}, 1, 10)"
_POSTGRES_DAY = "CAST({} AT TIME ZONE 'UTC' AS date)"


def _sqlite() -> tuple[str, ...]:
    def append(row: str, sign: str, but: str) -> str:
        return f"INSERT INTO budget_totals {_INTO} SELECT {_whole(row, sign, _SQLITE_DAY)}, 0 WHERE {but};"

    new, old = (f"{row}.held_nanos <> 0 OR coalesce({row}.billed_nanos, 0) <> 0" for row in ("NEW", "OLD"))
    same_day = f"{_SQLITE_DAY.format('OLD.claimed_at')} = {_SQLITE_DAY.format('NEW.claimed_at')}"
    same_key = f"{same_day} AND NOT ({_changed(_KEY[1:], differs='IS NOT')})"
    change = (
        f"{_SQLITE_DAY.format('NEW.claimed_at')}, NEW.simulated, NEW.provider, NEW.campaign,"
        " NEW.held_nanos - OLD.held_nanos, coalesce(NEW.billed_nanos, 0) - coalesce(OLD.billed_nanos, 0), 0"
    )
    return (
        f"CREATE TRIGGER jobs_counted_insert AFTER INSERT ON jobs WHEN {new}\nBEGIN {append('NEW', '', 'true')} END",
        f"CREATE TRIGGER jobs_counted_delete AFTER DELETE ON jobs WHEN {old}\nBEGIN {append('OLD', '-', 'true')} END",
        f"CREATE TRIGGER jobs_counted_money AFTER UPDATE OF {', '.join((*_KEY, *_MONEY))} ON jobs\n"
        f"WHEN {same_key} AND ({_changed(_MONEY, differs='IS NOT')})\n"
        f"BEGIN INSERT INTO budget_totals {_INTO} SELECT {change}; END",
        f"CREATE TRIGGER jobs_counted_key AFTER UPDATE OF {', '.join(_KEY)} ON jobs\n"
        f"WHEN NOT ({same_key})\n"
        f"BEGIN {append('OLD', '-', old)} {append('NEW', '', new)} END",
    )


def _postgres() -> tuple[str, ...]:
    into = f"INSERT INTO {POSTGRES_SCHEMA}.budget_totals {_INTO}"
    day_differs = f"{_POSTGRES_DAY.format('OLD.claimed_at')} <> {_POSTGRES_DAY.format('NEW.claimed_at')}"
    return (
        f"""CREATE OR REPLACE FUNCTION {POSTGRES_SCHEMA}.jobs_counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NOT ({day_differs} OR {_changed(_KEY[1:], differs="IS DISTINCT FROM")}) THEN
            {into} VALUES ({_POSTGRES_DAY.format("NEW.claimed_at")}, NEW.simulated, NEW.provider, NEW.campaign,
                NEW.held_nanos - OLD.held_nanos, coalesce(NEW.billed_nanos, 0) - coalesce(OLD.billed_nanos, 0), false);
            RETURN NULL;
        END IF;
    END IF;
    IF TG_OP <> 'INSERT' AND (OLD.held_nanos <> 0 OR coalesce(OLD.billed_nanos, 0) <> 0) THEN
        {into} VALUES ({_whole("OLD", "-", _POSTGRES_DAY)}, false);
    END IF;
    IF TG_OP <> 'DELETE' AND (NEW.held_nanos <> 0 OR coalesce(NEW.billed_nanos, 0) <> 0) THEN
        {into} VALUES ({_whole("NEW", "", _POSTGRES_DAY)}, false);
    END IF;
    RETURN NULL;
END $$""",
        "CREATE TRIGGER jobs_counted AFTER INSERT OR DELETE ON jobs"
        f" FOR EACH ROW EXECUTE FUNCTION {POSTGRES_SCHEMA}.jobs_counted()",
        f"CREATE TRIGGER jobs_counted_update AFTER UPDATE OF {', '.join((*_KEY, *_MONEY))} ON jobs"
        f" FOR EACH ROW WHEN ({_changed((*_KEY, *_MONEY), differs='IS DISTINCT FROM')})"
        f" EXECUTE FUNCTION {POSTGRES_SCHEMA}.jobs_counted()",
    )


TRIGGERS = {"sqlite": _sqlite(), "postgresql": _postgres()}


def _create(target: object, connection: Connection, tables: Any = (), **_: object) -> None:
    if {"jobs", "budget_totals"} <= {table.name for table in tables}:
        for statement in TRIGGERS[connection.dialect.name]:
            connection.exec_driver_sql(statement)


event.listen(metadata, "after_create", _create)
