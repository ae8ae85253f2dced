"""Which days' figures have changed since a moment: by what was written of their jobs, however long ago they were.

What belongs here: from rows that changed to the days whose reports they are in. What does not: making those reports anew.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from wan_pipeline.bucket import Bucket, ObjectNotFoundError
from wan_pipeline.reports.period import Period
from wan_pipeline.reports.snapshot import snapshot
from wan_pipeline.spend.records import EntryKind, JobState
from wan_pipeline.spend.tables import jobs, money_entries, takes

_AT_ONCE = 500
_HEAD_BYTES = 1000  # of a report's JSON: the moment of its making is among the first lines
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
Query = sa.Select[Any, Any]
_AS_OF = re.compile(rb'"as_of": "([^"]+)"')


def changed_days(engine: Engine, since: datetime) -> tuple[dict[date, datetime], datetime]:
    """By UTC day: the last change written after `since` that its report has to do with. And the ledger's moment.

    A job's row changes with each of its entries. Beside its own day, it changes that of the refund, and that of the earlier
    takes and duplicates of which it makes waste.
    """
    found: dict[date, datetime] = {}
    with snapshot(engine) as (connection, as_of):
        jobs_changed = connection.execute(_jobs(since)).all()
        facts: list[tuple[datetime, datetime]] = [(moment, changed) for _, _, moment, changed in jobs_changed]
        facts += _rows(connection, _refunds(since))
        new = takes.alias("new")
        stored = [job for job, state, _, _ in jobs_changed if state == JobState.STORED.value]
        for some in (stored[start : start + _AT_ONCE] for start in range(0, len(stored), _AT_ONCE)):
            facts += _rows(connection, _replaced(new, new.c.job_id.in_(some)))
        facts += _rows(connection, _replaced(new, new.c.created_at > since))
        facts += _rows(connection, _duplicates(since))
        for moment, changed in facts:
            day = moment.astimezone(UTC).date()
            if day not in found or changed > found[day]:
                found[day] = changed
    return found, as_of


def made_at(bucket: Bucket, period: Period) -> datetime | None:
    """Of when the report in the bucket is; the beginning of time for one that does not say; None: there is none. Raises
    BucketError."""
    try:
        head = bucket.read(f"{period.key}.json", 0, _HEAD_BYTES)
    except ObjectNotFoundError:
        return None
    match = _AS_OF.search(head)
    try:
        moment = datetime.fromisoformat(match[1].decode()) if match else _NEVER
    except ValueError:
        return _NEVER
    return moment if moment.tzinfo else _NEVER


def _rows(connection: Connection, query: Query) -> list[tuple[datetime, datetime]]:
    return [(moment, changed) for moment, changed in connection.execute(query)]


def _jobs(since: datetime) -> sa.Select[Any, Any, Any, Any]:
    return sa.select(jobs.c.id, jobs.c.state, _moment(jobs), jobs.c.updated_at).where(jobs.c.updated_at > since)


def _refunds(since: datetime) -> Query:
    entry = money_entries.c
    took_place_at = sa.func.coalesce(entry.effective_at, entry.at)
    return sa.select(took_place_at, entry.at).where(entry.at > since, entry.kind == EntryKind.REFUND.value)


def _replaced(new: sa.FromClause, which: sa.ColumnElement[bool]) -> Query:
    """The earlier takes of shots that have a new video, one of their own or one of another's that they use; and when that
    was written."""
    old, maker, made = takes.alias("old"), jobs.alias("maker"), jobs.alias("made")
    earlier = (
        new.join(old, (old.c.shot == new.c.shot) & (old.c.take < new.c.take))
        .join(maker, maker.c.id == new.c.job_id)
        .join(made, made.c.id == old.c.job_id)
    )
    changed = sa.case((new.c.created_at > maker.c.updated_at, new.c.created_at), else_=maker.c.updated_at)
    return sa.select(_moment(made), changed).select_from(earlier).where(new.c.video_uri.is_not(None), which)


def _duplicates(since: datetime) -> Query:
    """Those that a person allowed to be bought once more, where they were."""
    again, first = jobs.alias("again"), jobs.alias("first")
    return (
        sa.select(_moment(first), again.c.updated_at)
        .select_from(
            again.join(first, (first.c.request_hash == again.c.request_hash) & (first.c.repeat < again.c.repeat))
        )
        .where(again.c.updated_at > since, again.c.repeat > 1, first.c.duplicate_allowed_nanos.is_not(None))
    )


def _moment(table: sa.FromClause) -> sa.ColumnElement[Any]:
    return sa.func.coalesce(table.c.submitted_at, table.c.claimed_at)
