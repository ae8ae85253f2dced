"""Reads a period's jobs and refunds from the ledger's tables: one set-wise statement for each, none per job.

Charges and adjustments belong to the moment of their job's submission (of its claim, where it was never accepted), and so
does all else about a job. A refund belongs to its own moment: when it took place at the provider where that is known, when
it was written down otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from wan_pipeline.money import Money
from wan_pipeline.reports.changes import Cause
from wan_pipeline.reports.figures import SOUND, Refund
from wan_pipeline.reports.period import Period
from wan_pipeline.spend.records import EntryKind, JobState
from wan_pipeline.spend.tables import jobs, money_entries, takes

_MOMENT = sa.func.coalesce(jobs.c.submitted_at, jobs.c.claimed_at)  # whose day and month a job belongs to
_REFUNDED_AT = sa.func.coalesce(money_entries.c.effective_at, money_entries.c.at)
# A job's entries, found from the job. As an expression, or SQLite may go through all entries ever and look for their jobs.
_ENTRIES = money_entries.c.job_id == jobs.c.id.concat(sa.literal_column("''"))
_IS_REFUND = money_entries.c.kind == sa.literal_column("'refund'")  # written out: so that its partial index is found


class Sums(NamedTuple):
    """The entries of one job, in nano-dollars. `charged` None: nobody has said what it costs."""

    charged: int | None
    refunded: int  # whenever that was
    held: int


class JobRow(NamedTuple):
    """A job of the period, as its row has it; amounts in nano-dollars."""

    id: str
    shot: str
    provider: str
    model: str
    resolution: str
    has_audio: bool | None
    campaign: str | None
    state: str
    simulated: bool
    duration_s: int
    quoted_low: int
    quoted_high: int
    basis: str | None
    moment: datetime
    is_duplicate: bool  # a person let it be bought once more, and it was, and that is billed
    is_current: bool  # some shot's current take of its kind


class RefundRow(NamedTuple):
    """A refund of the period, with what its job is."""

    refund: Refund
    resolution: str
    has_audio: bool | None
    campaign: str | None
    written_at: datetime


def job_rows(connection: Connection, period: Period) -> Iterator[JobRow]:
    """The jobs of the period."""
    columns = (
        jobs.c.id,
        jobs.c.shot,
        jobs.c.provider,
        jobs.c.model,
        jobs.c.resolution,
        jobs.c.has_audio,
        jobs.c.campaign,
        jobs.c.state,
        jobs.c.simulated,
        jobs.c.duration_s,
        jobs.c.quoted_low_nanos,
        jobs.c.quoted_high_nanos,
        jobs.c.basis,
        _MOMENT.label("moment"),
        sa.case((jobs.c.duplicate_allowed_nanos.is_not(None), _bought_again()), else_=sa.false()),
        sa.case((jobs.c.state == JobState.STORED.value, _is_current()), else_=sa.false()),
    )
    for row in connection.execute(sa.select(*columns).where(_within(period))).all():
        yield JobRow(*row)


def sums_of(connection: Connection, period: Period) -> dict[str, Sums]:
    """By job of the period: its entries, added up."""
    kind, amount = money_entries.c.kind, money_entries.c.amount_nanos
    charged = sa.case((kind.in_([EntryKind.CHARGE.value, EntryKind.ADJUSTMENT.value]), amount))  # NULL for the others
    refunded = sa.case((kind == EntryKind.REFUND.value, amount), else_=0)
    held = sa.case((kind == EntryKind.HOLD.value, amount), (kind == EntryKind.RELEASE.value, -amount), else_=0)
    query = (
        sa.select(money_entries.c.job_id, sa.func.sum(charged), sa.func.sum(refunded), sa.func.sum(held))
        .select_from(jobs.join(money_entries, _ENTRIES))
        .where(_within(period))
        .group_by(money_entries.c.job_id)
    )
    # Whole numbers: int from SQLite, Decimal (numeric) from PostgreSQL.
    return {
        job_id: Sums(None if charged is None else int(charged), int(refunded), int(held))
        for job_id, charged, refunded, held in connection.execute(query).all()
    }


def refund_rows(connection: Connection, period: Period) -> list[RefundRow]:
    """The refunds that took place in the period, of whichever period's jobs, in the order of their moments."""
    since, until, entry = period.since, period.until, money_entries.c
    in_time = sa.or_(
        sa.and_(entry.effective_at >= since, entry.effective_at < until),
        sa.and_(entry.effective_at.is_(None), entry.at >= since, entry.at < until),
    )
    query = (
        sa.select(
            jobs.c.simulated,
            jobs.c.id,
            jobs.c.shot,
            jobs.c.provider,
            jobs.c.model,
            entry.amount_nanos,
            _REFUNDED_AT.label("took_place_at"),
            _MOMENT.label("moment"),
            entry.note,
            jobs.c.resolution,
            jobs.c.has_audio,
            jobs.c.campaign,
            entry.at,
        )
        .select_from(money_entries.join(jobs, jobs.c.id == entry.job_id))
        .where(_IS_REFUND, in_time)
        .order_by(_REFUNDED_AT, entry.id)
    )
    rows: list[RefundRow] = []
    for simulated, job, shot, provider, model, nanos, took_place_at, moment, note, *rest in connection.execute(query):
        refund = Refund(simulated, job, shot, provider, model, Money(int(nanos)), took_place_at, moment, note)
        rows.append(RefundRow(refund, *rest))
    return rows


def causes_since(connection: Connection, period: Period, since: datetime, refunds: Iterable[RefundRow]) -> list[Cause]:
    """What was written since then about the period's jobs, and which of its refunds; in the order of the writing. A job
    without an entry since is told where its row has changed."""
    entry = money_entries.c
    query = (
        sa.select(
            jobs.c.simulated, jobs.c.id, jobs.c.shot, entry.kind, entry.amount_nanos, entry.basis, entry.at, entry.note
        )
        .select_from(jobs.join(money_entries, _ENTRIES))
        .where(_within(period), entry.at > since)
        .order_by(entry.id)
    )
    causes = [
        Cause(simulated, job, shot, _entry_words(EntryKind(kind), Money(int(nanos)), basis, note), at)
        for simulated, job, shot, kind, nanos, basis, at, note in connection.execute(query)
    ]
    told = {cause.job for cause in causes}
    causes += [
        Cause(each.refund.simulated, each.refund.job, each.refund.shot, _refund_words(each.refund), each.written_at)
        for each in refunds
        if each.written_at > since and each.refund.job not in told
    ]
    told |= {cause.job for cause in causes}
    changed = sa.select(jobs.c.simulated, jobs.c.id, jobs.c.shot, jobs.c.state, jobs.c.updated_at).where(
        _within(period), jobs.c.updated_at > since
    )
    causes += [
        Cause(simulated, job, shot, f"is {JobState(state).value} now", at)
        for simulated, job, shot, state, at in connection.execute(changed)
        if job not in told
    ]
    return sorted(causes, key=lambda cause: (cause.at, cause.job))


def _entry_words(kind: EntryKind, amount: Money, basis: str | None, note: str) -> str:
    said = f" ({basis})" if basis and kind in (EntryKind.CHARGE, EntryKind.ADJUSTMENT) else ""
    return f"{kind.value} of {amount} USD{said}" + (f": {note}" if note else "")


def _refund_words(refund: Refund) -> str:
    submitted = f"of the job submitted at {refund.submitted_at:%Y-%m-%d %H:%M} UTC"
    return f"refund of {refund.amount} USD {submitted}" + (f": {refund.note}" if refund.note else "")


def dimensions(row: JobRow | RefundRow) -> tuple[bool, str, str, str, str, str | None]:
    """The key of its line in the table: simulated, provider, model, resolution, sound, campaign."""
    job: Any = row.refund if isinstance(row, RefundRow) else row
    return job.simulated, job.provider, job.model, row.resolution, SOUND[row.has_audio], row.campaign or None


def _within(period: Period) -> sa.ColumnElement[bool]:
    """Two ranges of two indexes; the same as the range of _MOMENT."""
    since, until = period.since, period.until
    # As a case, or SQLite would look at every job that was never accepted.
    never_accepted = sa.case((jobs.c.submitted_at.is_(None), 1)) == 1
    return sa.or_(
        sa.and_(jobs.c.submitted_at >= since, jobs.c.submitted_at < until),
        sa.and_(jobs.c.claimed_at >= since, jobs.c.claimed_at < until, never_accepted),
    )


def _bought_again() -> sa.ColumnElement[bool]:
    again = jobs.alias("again")
    later = sa.exists().where(
        again.c.request_hash == jobs.c.request_hash,
        again.c.repeat > jobs.c.repeat,
        again.c.simulated == jobs.c.simulated,
        again.c.billed_nanos > 0,
    )
    return later.correlate(jobs)


def _is_current() -> sa.ColumnElement[bool]:
    """Is the job the current take of a shot: its latest of this kind that has a video, its own or a reused one."""
    mine, later, other = takes.alias("mine"), takes.alias("later"), jobs.alias("other")
    replaced = sa.exists().where(
        later.c.shot == mine.c.shot,
        later.c.take > mine.c.take,
        later.c.video_uri.is_not(None),
        other.c.id == later.c.job_id,
        other.c.simulated == jobs.c.simulated,
    )
    # Said, since by itself a subquery sees the one around it alone: `jobs` would be all jobs.
    return sa.exists().where(mine.c.job_id == jobs.c.id, ~replaced.correlate(mine, jobs)).correlate(jobs)
