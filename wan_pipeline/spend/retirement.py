"""Which shots are over for good, as the ledger and the index know it: questions asked once a day.

What belongs here: reading both over all shots, without a row for each in memory. What does not: the partitions, and what
runs are at (defs/retiring.py).
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import OPEN_STATES, JobState
from wan_pipeline.spend.tables import NOT_AT_REST, deferrals, jobs, shot_index, takes


def gone_since(ledger: Ledger, moment: datetime) -> set[str]:
    """Shots whose files were gone by then, and have not come back."""
    return _keys(ledger, sa.select(shot_index.c.key).where(shot_index.c.gone_at <= moment))


def finished_since(ledger: Ledger, moment: datetime, *, simulated: bool) -> set[str]:
    """Shots in the bucket with which nothing is to be done, and whose newest take was stored by then."""
    newest = sa.select(takes.c.shot, sa.func.max(takes.c.take).label("take")).group_by(takes.c.shot).subquery()
    query = (
        sa.select(shot_index.c.key)
        .join(newest, newest.c.shot == shot_index.c.key)
        .join(takes, (takes.c.shot == newest.c.shot) & (takes.c.take == newest.c.take))
        .join(jobs, jobs.c.id == takes.c.job_id)
        .where(
            shot_index.c.gone_at.is_(None),
            sa.not_(NOT_AT_REST),
            shot_index.c.ready,
            takes.c.created_at <= moment,
            jobs.c.simulated == simulated,
            jobs.c.state == JobState.STORED,
            jobs.c.stored_at <= moment,
        )
    )
    return _keys(ledger, query)


def present_at_rest(ledger: Ledger) -> set[str]:
    """Shots in the bucket with which nothing is to be done."""
    return _keys(ledger, sa.select(shot_index.c.key).where(shot_index.c.gone_at.is_(None), sa.not_(NOT_AT_REST)))


def without_end(ledger: Ledger) -> set[str]:
    """Shots with a job in flight, an ambiguous one, or a deferral; in demo mode and in live mode alike."""
    states = [*OPEN_STATES, JobState.RESERVED, JobState.SUBMITTING, JobState.AMBIGUOUS]
    busy = _keys(ledger, sa.select(jobs.c.shot).where(jobs.c.state.in_(states)))
    # Those too that have the same request as another shot's job: its end is theirs.
    reused = sa.select(takes.c.shot).join(jobs, jobs.c.id == takes.c.job_id).where(jobs.c.state.in_(states))
    return busy | _keys(ledger, reused) | _keys(ledger, sa.select(deferrals.c.shot))


def _keys(ledger: Ledger, query: sa.Select[str]) -> set[str]:
    with ledger.engine.connect() as connection:
        return set(connection.execute(query).scalars())
