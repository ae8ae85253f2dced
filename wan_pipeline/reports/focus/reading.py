"""Reads a month's money from the ledger's tables: entries with their jobs, top-ups, and how much is unknown.

One moment of the database, a few statements over sets, no statement for each job. Which UTC month an entry belongs to:
charges and adjustments to the submission of their job, a refund to its own moment. What does not belong here: how a line
is priced and shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from wan_pipeline.money import Money
from wan_pipeline.reports.period import Period
from wan_pipeline.reports.snapshot import snapshot
from wan_pipeline.spend.audit_records import LineKind
from wan_pipeline.spend.audit_tables import statement_lines
from wan_pipeline.spend.records import EntryKind, JobState
from wan_pipeline.spend.tables import attempts, jobs, money_entries

_TO_THE_SECOND = 19  # characters of 2026-12-01T06:00:00


class Line(NamedTuple):
    """A money entry with what its job says. Moments are text to the second, UTC: `2026-11-30T23:59:59`."""

    entry: int
    kind: str
    amount: int  # nano-dollars; negative only for an adjustment
    basis: str | None
    moment: str  # to whose month it belongs
    submitted: str  # of the job; its claim's where it was never accepted
    job: str
    shot: str
    take: int
    provider: str
    model: str
    resolution: str
    has_audio: bool | None
    campaign: str | None
    duration_s: int
    quoted_low: int
    quoted_high: int
    provider_job: str | None
    account: str | None  # the fingerprint of the key that it was sent with
    gross: int | None  # of a refund's job: charges and adjustments, all of them


class TopUp(NamedTuple):
    """Money paid in, from a provider's own books."""

    provider: str
    line: str
    amount: int  # nano-dollars
    moment: str
    detail: str


@dataclass(frozen=True, slots=True)
class MonthOfMoney:
    """What the ledger holds of a month, of one kind of job: live or simulated."""

    month: Period
    simulated: bool
    as_of: datetime
    lines: list[Line]
    top_ups: list[TopUp]
    prepaid_since: dict[str, str]  # provider: the moment of its first top-up that the ledger knows, ever
    ambiguous: int  # jobs of which nobody knows whether they are billed: they are no lines
    unknown: Money  # what may have been billed for them, at most


def read_month(engine: Engine, month: Period, *, simulated: bool) -> MonthOfMoney:
    """All of it as it stood at one moment."""
    with snapshot(engine) as (connection, as_of):
        lines = _charges(connection, month, simulated) + _refunds(connection, month, simulated)
        lines.sort(key=lambda line: (line.moment, line.job, line.entry))
        top_ups = _top_ups(connection, month, simulated)
        prepaid_since = _prepaid_since(connection, simulated)
        ambiguous, unknown = _ambiguous(connection, month, simulated)
    return MonthOfMoney(month, simulated, as_of, lines, top_ups, prepaid_since, ambiguous, unknown)


_submission = sa.func.coalesce(jobs.c.submitted_at, jobs.c.claimed_at)
_refunded_at = sa.func.coalesce(money_entries.c.effective_at, money_entries.c.at)
_is_refund = money_entries.c.kind == sa.literal_column("'refund'")  # written out: so that its partial index is found
_CHARGED = (EntryKind.CHARGE.value, EntryKind.ADJUSTMENT.value)


def _charges(connection: Connection, month: Period, simulated: bool) -> list[Line]:
    chosen = sa.and_(money_entries.c.kind.in_(_CHARGED), _submitted_in(month))
    return _lines(connection, simulated, chosen, _submission, sa.literal(None, sa.BigInteger))


def _refunds(connection: Connection, month: Period, simulated: bool) -> list[Line]:
    other = money_entries.alias("other")
    gross = (
        sa.select(sa.cast(sa.func.sum(other.c.amount_nanos), sa.BigInteger))
        .where(other.c.job_id == money_entries.c.job_id, other.c.kind.in_(_CHARGED))
        .scalar_subquery()
    )
    effective_at, at = money_entries.c.effective_at, money_entries.c.at
    in_month = sa.or_(
        sa.and_(effective_at >= month.since, effective_at < month.until),
        sa.and_(effective_at.is_(None), at >= month.since, at < month.until),
    )
    return _lines(connection, simulated, sa.and_(_is_refund, in_month), _refunded_at, gross)


def _lines(
    connection: Connection,
    simulated: bool,
    chosen: sa.ColumnElement[bool],
    moment: sa.ColumnElement[Any],
    gross: sa.ColumnElement[Any],
) -> list[Line]:
    query = (
        sa.select(
            money_entries.c.id,
            money_entries.c.kind,
            money_entries.c.amount_nanos,
            money_entries.c.basis,
            _text(connection, moment),
            _text(connection, _submission),
            jobs.c.id.label("job"),
            jobs.c.shot,
            jobs.c.take,
            jobs.c.provider,
            jobs.c.model,
            jobs.c.resolution,
            jobs.c.has_audio,
            jobs.c.campaign,
            jobs.c.duration_s,
            jobs.c.quoted_low_nanos,
            jobs.c.quoted_high_nanos,
            jobs.c.provider_job_id,
            attempts.c.account,
            gross,
        )
        .select_from(
            jobs.join(money_entries, money_entries.c.job_id == jobs.c.id).outerjoin(
                attempts, attempts.c.id == jobs.c.attempt_id
            )
        )
        .where(jobs.c.simulated == simulated, chosen)
    )
    return [Line(*row) for row in connection.execute(query)]


def _submitted_in(month: Period) -> sa.ColumnElement[bool]:
    """As coalesce(submitted_at, claimed_at) would say it, in a form that an index answers."""
    return sa.or_(
        sa.and_(jobs.c.submitted_at >= month.since, jobs.c.submitted_at < month.until),
        sa.and_(jobs.c.submitted_at.is_(None), jobs.c.claimed_at >= month.since, jobs.c.claimed_at < month.until),
    )


def _ambiguous(connection: Connection, month: Period, simulated: bool) -> tuple[int, Money]:
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(jobs.c.held_nanos), 0)).where(
        jobs.c.state == JobState.AMBIGUOUS.value, jobs.c.simulated == simulated, _submitted_in(month)
    )
    count, held = connection.execute(query).one()
    return int(count), Money(int(held))


def _top_ups(connection: Connection, month: Period, simulated: bool) -> list[TopUp]:
    query = (
        sa.select(
            statement_lines.c.provider,
            statement_lines.c.line_id,
            statement_lines.c.amount_nanos,
            _text(connection, statement_lines.c.at),
            statement_lines.c.detail,
        )
        .where(_is_top_up(simulated), statement_lines.c.at >= month.since, statement_lines.c.at < month.until)
        .order_by(statement_lines.c.at, statement_lines.c.id)
    )
    return [TopUp(*row) for row in connection.execute(query)]


def _prepaid_since(connection: Connection, simulated: bool) -> dict[str, str]:
    query = (
        sa.select(statement_lines.c.provider, _text(connection, sa.func.min(statement_lines.c.at)))
        .where(_is_top_up(simulated))
        .group_by(statement_lines.c.provider)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def _is_top_up(simulated: bool) -> sa.ColumnElement[bool]:
    """A line as it was last read: an older row of the same line does not count."""
    newer = statement_lines.alias("newer")
    replaced = (
        sa.select(newer.c.id)
        .where(
            newer.c.provider == statement_lines.c.provider,
            newer.c.simulated == statement_lines.c.simulated,
            newer.c.line_id == statement_lines.c.line_id,
            newer.c.id > statement_lines.c.id,
        )
        .exists()
    )
    return sa.and_(
        statement_lines.c.kind == LineKind.TOPUP.value, statement_lines.c.simulated == simulated, sa.not_(replaced)
    )


def _text(connection: Connection, moment: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """The moment to the second, cut and never rounded: 23:59:59.9999 belongs to its own day."""
    if connection.dialect.name == "postgresql":
        utc = sa.func.timezone("UTC", moment)
        return sa.func.to_char(utc, 'YYYY-MM-DD"T"HH24:MI:SS', type_=sa.String())
    return sa.func.substr(moment, 1, _TO_THE_SECOND, type_=sa.String())
