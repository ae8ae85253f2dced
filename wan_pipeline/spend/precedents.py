"""What the ledger has seen that a quote can be held against: the same requests, usual times, recent bills and rejections.

Every question reads a bounded part of the ledger, by an index, however many jobs it holds: of the shots and requests that
are asked about, or of the last weeks. What does not belong here: what follows from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from wan_pipeline.money import Money
from wan_pipeline.spend import rows
from wan_pipeline.spend.records import Basis, EntryKind, Job, JobState, Take
from wan_pipeline.spend.tables import attempts, jobs, money_entries, takes

T = TypeVar("T")

RECENT = timedelta(days=30)
_AT_ONCE = 500  # in one IN (...): SQLite's oldest limit is 999 parameters
_TIMES = 1000  # jobs whose times are looked up, of all models together
_BILLS = 4000
_LOOKED_THROUGH = 2000  # of a provider's newest jobs, for those of one model


@dataclass(frozen=True, slots=True)
class MeasuredTime:
    """How long one job took, from its submission to the answer that it was done, and what was ordered."""

    seconds: float
    duration_s: int
    resolution: str
    has_audio: bool | None


@dataclass(frozen=True, slots=True)
class Bill:
    """What a provider charged for one stored job, by its own word or its books, refunds left out."""

    job_id: str
    shot: str
    provider: str
    model: str
    resolution: str
    has_audio: bool | None
    duration_s: int
    quoted_low: Money
    quoted_high: Money
    billed: Money
    claimed_at: datetime


@dataclass(frozen=True, slots=True)
class Rejection:
    """A submission that a provider has refused for good, with its words."""

    job_id: str
    shot: str
    provider: str
    model: str
    reason: str
    at: datetime


def latest_jobs(engine: Engine, request_hashes: Collection[str], *, simulated: bool) -> dict[str, Job]:
    """By request: the job that bought it last; of those that were ever bought."""
    found: dict[str, Job] = {}
    with engine.connect() as connection:
        for some in _chunks(sorted(set(request_hashes))):
            query = sa.select(jobs).where(jobs.c.request_hash.in_(some), jobs.c.simulated == simulated)
            for row in connection.execute(query.order_by(jobs.c.repeat)).mappings():
                found[row["request_hash"]] = rows.to_job(row)
    return found


def current_takes(engine: Engine, shots: Collection[str], *, simulated: bool) -> dict[str, tuple[Take, Job]]:
    """By shot: its latest take, and the job that it comes from; of those that have any."""
    found: dict[str, tuple[Take, Job]] = {}
    with engine.connect() as connection:
        for some in _chunks(sorted(set(shots))):
            latest = (
                sa.select(takes.c.shot, sa.func.max(takes.c.take).label("take"))
                .join(jobs, jobs.c.id == takes.c.job_id)
                .where(takes.c.shot.in_(some), jobs.c.simulated == simulated)
                .group_by(takes.c.shot)
                .subquery()
            )
            query = sa.select(takes).join(latest, (latest.c.shot == takes.c.shot) & (latest.c.take == takes.c.take))
            newest = [rows.to_take(row) for row in connection.execute(query).mappings()]
            ids = [take.job_id for take in newest]
            of_id = {
                row["id"]: rows.to_job(row)
                for row in connection.execute(sa.select(jobs).where(jobs.c.id.in_(ids))).mappings()
            }
            found |= {take.shot: (take, of_id[take.job_id]) for take in newest}
    return found


def usual_seconds(engine: Engine, now: datetime, *, simulated: bool) -> dict[str, float]:
    """By model: the median of the seconds from submission to result, of the latest jobs within RECENT."""
    query = (
        sa.select(jobs.c.model, jobs.c.submitted_at, jobs.c.generated_at)
        .where(jobs.c.state == JobState.STORED.value, jobs.c.claimed_at >= now - RECENT)
        .where(jobs.c.simulated == simulated, jobs.c.submitted_at.is_not(None), jobs.c.generated_at.is_not(None))
        .order_by(jobs.c.claimed_at.desc())
        .limit(_TIMES)
    )
    seconds: dict[str, list[float]] = {}
    with engine.connect() as connection:
        for model, submitted_at, generated_at in connection.execute(query):
            seconds.setdefault(model, []).append(max(0.0, (generated_at - submitted_at).total_seconds()))
    return {model: median(times) for model, times in seconds.items()}


def measured_times(
    connection: Connection, provider: str, model: str, since: datetime, *, simulated: bool, at_most: int
) -> list[MeasuredTime]:
    """Of this model's stored jobs that were claimed since then, the newest first: what their own process has measured, which
    sent them and asked until they were done. One that was collected by another, or found after its answer was lost, may have
    been done for a day. Only a provider's newest jobs are looked through, however many there are."""
    newest = (
        sa.select(
            jobs.c.model,
            jobs.c.state,
            jobs.c.owner,
            jobs.c.attempt_id,
            jobs.c.doubted_at,
            jobs.c.claimed_at,
            jobs.c.submitted_at,
            jobs.c.generated_at,
            jobs.c.duration_s,
            jobs.c.resolution,
            jobs.c.has_audio,
        )
        .where(jobs.c.provider == provider, jobs.c.simulated == simulated, jobs.c.claimed_at >= since)
        .order_by(jobs.c.claimed_at.desc())
        .limit(_LOOKED_THROUGH)
        .subquery()
    )
    columns = newest.c
    query = (
        sa.select(columns.submitted_at, columns.generated_at, columns.duration_s, columns.resolution, columns.has_audio)
        .join(attempts, attempts.c.id == columns.attempt_id)
        .where(columns.model == model, columns.state == JobState.STORED.value)
        .where(columns.submitted_at.is_not(None), columns.generated_at.is_not(None), columns.doubted_at.is_(None))
        .where(attempts.c.outcome == "accepted", attempts.c.owner == columns.owner)
        .order_by(columns.claimed_at.desc())
        .limit(at_most)
    )
    return [
        MeasuredTime(max(0.0, (generated_at - submitted_at).total_seconds()), *ordered)
        for submitted_at, generated_at, *ordered in connection.execute(query)
    ]


def recent_bills(engine: Engine, now: datetime, *, simulated: bool, of_each: int = 20) -> list[Bill]:
    """The latest `of_each` bills within RECENT of each model, resolution and sound, the newest first: of stored jobs whose
    provider has said what it charges. A job that was (partly) refunded tells nothing of a price."""
    refunded = sa.select(sa.literal(1)).where(
        money_entries.c.job_id == jobs.c.id, money_entries.c.kind == EntryKind.REFUND.value
    )
    query = (
        sa.select(
            jobs.c.id,
            jobs.c.shot,
            jobs.c.provider,
            jobs.c.model,
            jobs.c.resolution,
            jobs.c.has_audio,
            jobs.c.duration_s,
            jobs.c.quoted_low_nanos,
            jobs.c.quoted_high_nanos,
            jobs.c.billed_nanos,
            jobs.c.claimed_at,
        )
        .where(jobs.c.state == JobState.STORED.value, jobs.c.claimed_at >= now - RECENT)
        .where(jobs.c.simulated == simulated, jobs.c.billed_nanos.is_not(None))
        .where(jobs.c.basis.in_([Basis.REPORTED.value, Basis.INVOICED.value]), ~refunded.exists())
        .order_by(jobs.c.claimed_at.desc())
        .limit(_BILLS)
    )
    bills: list[Bill] = []
    seen: dict[tuple[str, str, bool | None], int] = {}
    with engine.connect() as connection:
        for row in connection.execute(query):
            kind = (row.model, row.resolution, row.has_audio)
            seen[kind] = seen.get(kind, 0) + 1
            if seen[kind] <= of_each:
                low, high, billed = (Money(int(nanos)) for nanos in row[7:10])
                bills.append(Bill(*row[:7], low, high, billed, row.claimed_at))
    return bills


def recent_rejections(engine: Engine, since: datetime, *, simulated: bool, at_most: int = 200) -> list[Rejection]:
    """What providers have refused for good since then, the newest first. (What was given up here, or refused for want of
    credit, is open to be tried again, and is not among them.)"""
    query = (
        sa.select(jobs.c.id, jobs.c.shot, jobs.c.provider, jobs.c.model, attempts.c.detail, jobs.c.claimed_at)
        .join(attempts, attempts.c.id == jobs.c.attempt_id)
        .where(jobs.c.state == JobState.REJECTED.value, jobs.c.claimed_at >= since)
        .where(jobs.c.simulated == simulated, ~jobs.c.retryable, attempts.c.outcome == "rejected")
        .order_by(jobs.c.claimed_at.desc())
        .limit(at_most)
    )
    with engine.connect() as connection:
        return [Rejection(*row[:4], row[4] or "", row[5]) for row in connection.execute(query)]


def _chunks(keys: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(keys), _AT_ONCE):
        yield keys[start : start + _AT_ONCE]
