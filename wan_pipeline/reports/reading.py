"""Reads a day's jobs from the ledger's tables. One statement, so that every figure is of the same moment."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from wan_pipeline.money import Money
from wan_pipeline.reports.figures import JobCost
from wan_pipeline.spend.records import EntryKind, JobState
from wan_pipeline.spend.tables import jobs, money_entries

_SIGN_IN_BILLED = {EntryKind.CHARGE: 1, EntryKind.REFUND: -1, EntryKind.ADJUSTMENT: 1}
_SIGN_IN_HELD = {EntryKind.HOLD: 1, EntryKind.RELEASE: -1}


def jobs_of(engine: Engine, day: date) -> list[JobCost]:
    """The jobs of a UTC day, by the moment of their submission: a refund that comes a week later still belongs to the day
    whose job it pays back. A job that was never accepted (rejected, ambiguous) belongs to the moment of its claim."""
    begin = datetime.combine(day, time(), UTC)
    end = begin + timedelta(days=1)
    columns = (
        jobs.c.id,
        jobs.c.shot,
        jobs.c.provider,
        jobs.c.model,
        jobs.c.resolution,
        jobs.c.campaign,
        jobs.c.state,
        jobs.c.simulated,
        jobs.c.duration_s,
        jobs.c.quoted_low_nanos,
        jobs.c.quoted_high_nanos,
    )
    query = (
        sa.select(*columns, _sum(_SIGN_IN_BILLED).label("billed"), _sum(_SIGN_IN_HELD).label("held"))
        .select_from(jobs.outerjoin(money_entries, money_entries.c.job_id == jobs.c.id))
        .where(
            sa.or_(
                sa.and_(jobs.c.submitted_at >= begin, jobs.c.submitted_at < end),
                sa.and_(jobs.c.submitted_at.is_(None), jobs.c.claimed_at >= begin, jobs.c.claimed_at < end),
            )
        )
        .group_by(*columns)
        .order_by(jobs.c.id)
    )
    with engine.connect() as connection:
        return [_job_cost(row) for row in connection.execute(query).mappings()]


def _sum(signs: dict[EntryKind, int]) -> sa.ColumnElement[Any]:
    """The signed sum of these kinds of entries; NULL where a job has none of them. Integers throughout."""
    return sa.func.sum(
        sa.case(
            *(
                (money_entries.c.kind == kind.value, sign * money_entries.c.amount_nanos)
                for kind, sign in signs.items()
            ),
            else_=None,
        )
    )


def _job_cost(row: Any) -> JobCost:
    billed, held = row["billed"], row["held"]  # whole numbers: int from SQLite, Decimal (numeric) from PostgreSQL
    return JobCost(
        id=row["id"],
        shot=row["shot"],
        provider=row["provider"],
        model=row["model"],
        resolution=row["resolution"],
        campaign=row["campaign"],
        state=JobState(row["state"]),
        simulated=row["simulated"],
        duration_s=row["duration_s"],
        quoted_low=Money(row["quoted_low_nanos"]),
        quoted_high=Money(row["quoted_high_nanos"]),
        billed=None if billed is None else Money(int(billed)),
        held=Money(int(held or 0)),
    )
