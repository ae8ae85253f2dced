"""Ledgers of any kind for hypothesis, and what follows from their rules, worked out in plain Python."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from sqlalchemy.engine import Connection

from wan_pipeline.spend.tables import jobs, money_entries, takes

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)  # the first of a month
MOMENTS = st.builds(
    lambda days, micros: MIDNIGHT + timedelta(days=days, microseconds=micros),
    st.integers(-2, 2),
    st.sampled_from([-1, 0, 1, 43_200_000_000]),
)
AMOUNTS = st.sampled_from([0, 1, 500, 125_000_000, 999_999_999, 1_000_000_001, 12_345_678_901])
DIMENSIONS = ("provider", "model", "resolution", "sound", "campaign")
DETAILS = ("failed", "lost", "duplicate", "unused")


@dataclass(frozen=True)
class Entry:
    kind: str
    nanos: int  # as the table has it
    at: datetime
    effective_at: datetime | None

    @property
    def signed(self) -> int:
        return -self.nanos if self.kind == "refund" else self.nanos


@dataclass(frozen=True)
class AnyJob:
    shot: str
    provider: str
    model: str
    resolution: str
    has_audio: bool | None
    campaign: str | None
    simulated: bool
    state: str
    claimed_at: datetime
    submitted_at: datetime | None
    duration_s: int
    request: str
    duplicate_allowed: bool
    used_by: str | None  # another shot that reuses it
    entries: tuple[Entry, ...]

    @property
    def moment(self) -> datetime:
        return self.submitted_at or self.claimed_at

    @property
    def billed(self) -> int | None:
        return sum(entry.signed for entry in self.entries) if self.entries else None

    @property
    def held(self) -> int:
        return 200_000_000 if self.state in ("submitted", "ambiguous") and not self.entries else 0

    @property
    def dimensions(self) -> tuple[str | None, ...]:
        sound = {None: "not said", True: "sound", False: "silent"}[self.has_audio]
        return (self.provider, self.model, self.resolution, sound, self.campaign)


@st.composite
def _entries(draw: st.DrawFn) -> tuple[Entry, ...]:
    """The first is a charge, and no refund gives back more than was billed."""
    if draw(st.booleans()):
        return ()
    found = [Entry("charge", draw(AMOUNTS), draw(MOMENTS), None)]
    for kind in draw(st.lists(st.sampled_from(["charge", "refund", "adjustment"]), max_size=3)):
        billed = sum(entry.signed for entry in found)
        amount = min(draw(AMOUNTS), billed) if kind == "refund" else draw(AMOUNTS)
        if kind == "adjustment" and draw(st.booleans()):
            amount = -min(amount, billed)
        effective_at = draw(st.none() | MOMENTS) if kind == "refund" else None
        found.append(Entry(kind, amount, draw(MOMENTS), effective_at))
    return tuple(found)


ANY_JOB = st.builds(
    AnyJob,
    shot=st.sampled_from(["a", "b"]),
    provider=st.sampled_from(["wavespeed", "shortapi"]),
    model=st.sampled_from(["wan-2.6", "wan-2.7"]),
    resolution=st.sampled_from(["720p", "1080p"]),
    has_audio=st.sampled_from([None, True, False]),
    campaign=st.sampled_from([None, "spring"]),
    simulated=st.booleans(),
    state=st.sampled_from(["submitted", "stored", "stored", "failed", "lost", "written_off", "ambiguous", "rejected"]),
    claimed_at=MOMENTS,
    submitted_at=st.none() | MOMENTS,
    duration_s=st.sampled_from([5, 10]),
    request=st.sampled_from(["r1", "r2", "r3"]),
    duplicate_allowed=st.booleans(),
    used_by=st.sampled_from([None, None, "c"]),
    entries=_entries(),
)
BOOKS = st.lists(ANY_JOB, max_size=8)


def write(connection: Connection, books: Sequence[AnyJob]) -> None:
    """The n-th job has the id j<n>; takes and repeats are counted in that order."""
    for number, job in enumerate(books):
        both = {"own_digest": "d", "request_hash": _request(job).ljust(64, "0")}
        row: dict[str, Any] = {
            **both,
            "id": f"j{number}",
            "shot": job.shot,
            "take": 1,
            "provider": job.provider,
            "model": job.model,
            "repeat": _repeat(books, number),
            "fingerprint": f"{number:064}",
            "state": job.state,
            "arguments": {},
            "inputs": [],
            "duration_s": job.duration_s,
            "resolution": job.resolution,
            "has_audio": job.has_audio,
            "campaign": job.campaign,
            "quoted_low_nanos": 100_000_000,
            "quoted_high_nanos": 200_000_000,
            "held_nanos": job.held,
            "billed_nanos": job.billed,
            "basis": None if job.billed is None else "reported",
            "retryable": False,
            "simulated": job.simulated,
            "claimed_at": job.claimed_at,
            "submitted_at": job.submitted_at,
            "updated_at": job.claimed_at,
            "duplicate_allowed_nanos": 1 if job.duplicate_allowed else None,
        }
        connection.execute(jobs.insert().values(row))
        for entry in job.entries:
            values = {"job_id": f"j{number}", "kind": entry.kind, "amount_nanos": entry.nanos, "basis": "reported"}
            connection.execute(
                money_entries.insert().values(**values, at=entry.at, effective_at=entry.effective_at, note="")
            )
    for shot, take, number in _takes(books):
        uri = "file:///v.mp4" if books[number].state == "stored" else None
        values = {"shot": shot, "take": take, "job_id": f"j{number}", "own_digest": "d", "request_hash": "r"}
        connection.execute(takes.insert().values(**values, reused=False, video_uri=uri, created_at=MIDNIGHT))


def _request(job: AnyJob) -> str:
    """A simulated request is never that of a live one."""
    return f"{job.request}{'s' if job.simulated else 'l'}"


def _repeat(books: Sequence[AnyJob], number: int) -> int:
    return sum(_request(job) == _request(books[number]) for job in books[: number + 1])


def _takes(books: Sequence[AnyJob]) -> list[tuple[str, int, int]]:
    found: list[tuple[str, int, int]] = []
    for number, job in enumerate(books):
        for shot in filter(None, (job.shot, job.used_by)):
            found.append((shot, 1 + sum(each[0] == shot for each in found), number))
    return found


def wasted_kind(books: Sequence[AnyJob], number: int) -> str | None:
    job = books[number]
    if not job.billed:
        return None
    if job.state == "failed":
        return "failed"
    if job.state in ("lost", "written_off"):
        return "lost"
    later = [other for other in books[number + 1 :] if _request(other) == _request(job)]
    if job.duplicate_allowed and any(other.billed for other in later):
        return "duplicate"
    if job.state != "stored":
        return None
    current: dict[str, int] = {}
    for shot, _, maker in _takes(books):
        if books[maker].state == "stored" and books[maker].simulated == job.simulated:
            current[shot] = maker
    return None if number in current.values() else "unused"


Key = tuple[str, bool, tuple[str | None, ...]]  # day, simulated, dimensions


def daily(books: Sequence[AnyJob]) -> dict[Key, dict[str, int]]:
    """What belongs to each day, by kind and dimensions."""
    days: dict[Key, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for number, job in enumerate(books):
        own = days[_day(job.moment), job.simulated, job.dimensions]
        own["jobs"] += 1
        own["quoted_high_nanos"] += 200_000_000
        own["stored_s"] += job.duration_s if job.state == "stored" else 0
        own["unknown_nanos" if job.state == "ambiguous" else "held_nanos"] += job.held
        kind = wasted_kind(books, number)
        if kind is not None:
            own["wasted_nanos"] += job.billed or 0
            own[f"wasted_{kind}_nanos"] += job.billed or 0
        for entry in job.entries:
            back = entry.kind == "refund"
            there = days[_day((entry.effective_at or entry.at) if back else job.moment), job.simulated, job.dimensions]
            there["billed_nanos"] += entry.signed
            there["refunded_nanos" if back else "charged_nanos"] += entry.nanos
    return days


def _day(moment: datetime) -> str:
    return moment.date().isoformat()
