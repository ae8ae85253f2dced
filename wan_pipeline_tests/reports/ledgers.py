"""Ledgers with chosen jobs in them, written straight into the tables: reports know the ledger by those alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import count

from sqlalchemy import create_engine
from sqlalchemy.engine import Engine

from wan_pipeline.spend.records import EntryKind, JobState
from wan_pipeline.spend.tables import jobs, metadata, money_entries

DAY = date(2026, 3, 14)
_NOON = datetime.combine(DAY, time(12), UTC)
_numbers = count(1)

Entries = tuple[tuple[EntryKind, int], ...]


@dataclass(frozen=True)
class LedgerJob:
    """One job as the tables hold it. Money in nano-dollars, the entries' times of no importance."""

    submitted_at: datetime | None = _NOON
    claimed_at: datetime = _NOON - timedelta(seconds=1)
    shot: str = "spring/cat"
    provider: str = "wavespeed"
    model: str = "wavespeed/wan-2.6-i2v-flash"
    resolution: str = "720p"
    campaign: str | None = "spring"
    state: JobState = JobState.STORED
    simulated: bool = False
    duration_s: int = 5
    quoted_low: int = 125_000_000
    quoted_high: int = 125_000_000
    entries: Entries = (
        (EntryKind.HOLD, 125_000_000),
        (EntryKind.CHARGE, 125_000_000),
        (EntryKind.RELEASE, 125_000_000),
    )
    id: str = field(default_factory=lambda: f"j{next(_numbers):012x}")


def at(hour: int = 0, *, days: int = 0, seconds: int = 0) -> datetime:
    return datetime.combine(DAY, time(hour), UTC) + timedelta(days=days, seconds=seconds)


def empty_ledger() -> Engine:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    return engine


def ledger_of(*wanted: LedgerJob) -> Engine:
    engine = empty_ledger()
    write(engine, *wanted)
    return engine


def write(engine: Engine, *wanted: LedgerJob) -> None:
    with engine.begin() as connection:
        for job in wanted:
            connection.execute(
                jobs.insert().values(
                    id=job.id,
                    shot=job.shot,
                    take=1,
                    provider=job.provider,
                    model=job.model,
                    request_hash=job.id.ljust(64, "0"),
                    repeat=1,
                    fingerprint=job.id.ljust(64, "f"),
                    own_digest="d",
                    state=job.state.value,
                    arguments={},
                    inputs=[],
                    duration_s=job.duration_s,
                    resolution=job.resolution,
                    has_audio=False,
                    campaign=job.campaign,
                    quoted_low_nanos=job.quoted_low,
                    quoted_high_nanos=job.quoted_high,
                    held_nanos=0,  # reports read the entries, not the sums kept beside them
                    billed_nanos=None,
                    retryable=False,
                    simulated=job.simulated,
                    claimed_at=job.claimed_at,
                    submitted_at=job.submitted_at,
                    updated_at=job.claimed_at,
                )
            )
    append(engine, [(job.id, *entry) for job in wanted for entry in job.entries])


def append(engine: Engine, entries: list[tuple[str, EntryKind, int]], moment: datetime = _NOON) -> None:
    rows = [
        {"job_id": job_id, "kind": kind.value, "amount_nanos": amount, "at": moment, "note": ""}
        for job_id, kind, amount in entries
    ]
    if rows:
        with engine.begin() as connection:
            connection.execute(money_entries.insert(), rows)
