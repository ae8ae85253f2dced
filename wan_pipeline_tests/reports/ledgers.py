"""Ledgers with chosen jobs in them, written straight into the tables: reports know the ledger by those alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import count

from sqlalchemy import create_engine
from sqlalchemy.engine import Connection, Engine

from wan_pipeline.spend.records import EntryKind, JobState
from wan_pipeline.spend.tables import jobs, metadata, money_entries, takes

DAY = date(2026, 3, 14)
_NOON = datetime.combine(DAY, time(12), UTC)
_numbers = count(1)

# Kind, nano-dollars; where they matter, when it was written, and when it took place.
Entry = tuple[EntryKind, int] | tuple[EntryKind, int, datetime] | tuple[EntryKind, int, datetime, datetime | None]
Entries = tuple[Entry, ...]
_SIGN_IN_BILLED = {EntryKind.CHARGE: 1, EntryKind.ADJUSTMENT: 1, EntryKind.REFUND: -1}
_SIGN_IN_HELD = {EntryKind.HOLD: 1, EntryKind.RELEASE: -1}


@dataclass(frozen=True)
class LedgerJob:
    """One job as the tables hold it. Money in nano-dollars. A job with a video is its shot's latest take."""

    submitted_at: datetime | None = _NOON
    claimed_at: datetime = _NOON - timedelta(seconds=1)
    shot: str = "spring/cat"
    provider: str = "wavespeed"
    model: str = "wavespeed/wan-2.6-i2v-flash"
    resolution: str = "720p"
    has_audio: bool | None = False
    campaign: str | None = "spring"
    state: JobState = JobState.STORED
    simulated: bool = False
    duration_s: int = 5
    quoted_low: int = 125_000_000
    quoted_high: int = 125_000_000
    basis: str | None = "reported"
    entries: Entries = (
        (EntryKind.HOLD, 125_000_000),
        (EntryKind.CHARGE, 125_000_000),
        (EntryKind.RELEASE, 125_000_000),
    )
    request_hash: str = ""
    repeat: int = 1
    duplicate_allowed: int | None = None
    own_take: bool = True  # False: the job's video is used under no name any more
    updated_at: datetime | None = None
    id: str = field(default_factory=lambda: f"j{next(_numbers):012x}")

    @property
    def moment(self) -> datetime:
        """Whose day and month it belongs to."""
        return self.submitted_at or self.claimed_at

    @property
    def billed(self) -> int | None:
        said = [_SIGN_IN_BILLED[entry[0]] * entry[1] for entry in self.entries if entry[0] in _SIGN_IN_BILLED]
        return sum(said) if said else None

    @property
    def held(self) -> int:
        return sum(_SIGN_IN_HELD.get(entry[0], 0) * entry[1] for entry in self.entries)


def at(hour: int = 0, *, days: int = 0, seconds: int = 0) -> datetime:
    return datetime.combine(DAY, time(hour), UTC) + timedelta(days=days, seconds=seconds)


def took_place(entry: Entry) -> datetime:
    """The moment that an entry tells of."""
    effective = entry[3] if len(entry) == 4 else None
    return effective or (entry[2] if len(entry) > 2 else _NOON)


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
        write_on(connection, wanted)


def write_on(connection: Connection, wanted: Sequence[LedgerJob]) -> None:
    """Each as the next take of its shot, in this order."""
    next_take: dict[str, int] = {}
    for job in wanted:
        number = next_take[job.shot] = next_take.get(job.shot, 0) + 1
        connection.execute(
            jobs.insert().values(
                id=job.id,
                shot=job.shot,
                take=number,
                provider=job.provider,
                model=job.model,
                request_hash=(job.request_hash or job.id).ljust(64, "0"),
                repeat=job.repeat,
                fingerprint=job.id.ljust(64, "f"),
                own_digest="d",
                state=job.state.value,
                arguments={},
                inputs=[],
                duration_s=job.duration_s,
                resolution=job.resolution,
                has_audio=job.has_audio,
                campaign=job.campaign,
                quoted_low_nanos=job.quoted_low,
                quoted_high_nanos=job.quoted_high,
                held_nanos=max(job.held, 0),
                billed_nanos=job.billed,
                basis=job.basis,
                retryable=False,
                simulated=job.simulated,
                claimed_at=job.claimed_at,
                submitted_at=job.submitted_at,
                updated_at=job.updated_at or job.claimed_at,
                duplicate_allowed_nanos=job.duplicate_allowed,
            )
        )
        if job.own_take:
            add_take(connection, job.shot, number, job)
    append_on(connection, [(job.id, *entry) for job in wanted for entry in job.entries])


def add_take(connection: Connection, shot: str, number: int, job: LedgerJob, *, reused: bool = False) -> None:
    connection.execute(
        takes.insert().values(
            shot=shot,
            take=number,
            job_id=job.id,
            own_digest="d",
            request_hash=job.id.ljust(64, "0"),
            reused=reused,
            video_uri=f"file:///{shot}-{number}.mp4" if job.state is JobState.STORED else None,
            created_at=job.claimed_at,
        )
    )


def append(engine: Engine, entries: Sequence[tuple[object, ...]], moment: datetime = _NOON) -> None:
    """Entries as (job id, kind, nano-dollars[, written at[, took place at]])."""
    with engine.begin() as connection:
        append_on(connection, entries, moment)


def append_on(connection: Connection, entries: Sequence[tuple[object, ...]], moment: datetime = _NOON) -> None:
    rows = [
        {
            "job_id": entry[0],
            "kind": EntryKind(str(entry[1])).value,
            "amount_nanos": entry[2],
            "at": entry[3] if len(entry) > 3 else moment,
            "effective_at": entry[4] if len(entry) > 4 else None,
            "note": "",
        }
        for entry in entries
    ]
    if rows:
        connection.execute(money_entries.insert(), rows)
