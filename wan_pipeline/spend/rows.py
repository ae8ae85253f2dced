"""Rows of the tables as records, and the questions that are only looked up. Nothing here writes or decides."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection, RowMapping

from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.errors import UnknownJobError
from wan_pipeline.spend.records import (
    OPEN_STATES,
    Attempt,
    Basis,
    EntryKind,
    Job,
    JobState,
    Look,
    MoneyEntry,
    SentWith,
    Take,
    Wasted,
)
from wan_pipeline.spend.tables import attempts, callbacks, jobs, looks, money_entries, takes

_AT_ONCE = 500  # shots in one IN (...): SQLite's oldest limit is 999 parameters
_MONEY_COLUMNS = {
    "quoted_low_nanos": "quoted_low",
    "quoted_high_nanos": "quoted_high",
    "held_nanos": "held",
    "billed_nanos": "billed",
    "duplicate_allowed_nanos": "duplicate_allowed",
}


# Made once: making a statement takes longer than running it.
_JOB = sa.select(jobs).where(jobs.c.id == bindparam("of_id"))
_JOB_LOCKED = _JOB.with_for_update()
_LATEST = (
    sa.select(jobs)
    .where(jobs.c.request_hash == bindparam("of_request"), jobs.c.simulated == bindparam("of_kind"))
    .order_by(jobs.c.repeat.desc())
    .limit(1)
)
_LATEST_LOCKED = _LATEST.with_for_update()
_CURRENT_TAKE = sa.select(takes).where(takes.c.shot == bindparam("of_shot")).order_by(takes.c.take.desc()).limit(1)
_CURRENT_TAKE_OF_KIND = _CURRENT_TAKE.join(jobs, jobs.c.id == takes.c.job_id).where(
    jobs.c.simulated == bindparam("of_kind")
)


def _money(nanos: int | None) -> Money | None:
    return None if nanos is None else Money(int(nanos))


def to_job(row: RowMapping) -> Job:
    values: dict[str, Any] = {_MONEY_COLUMNS.get(str(name), str(name)): value for name, value in row.items()}
    for name in _MONEY_COLUMNS.values():
        values[name] = _money(values[name])
    values["state"] = JobState(values["state"])
    values["basis"] = None if values["basis"] is None else Basis(values["basis"])
    values["inputs"] = tuple(values["inputs"])
    return Job(**values)


def to_take(row: RowMapping) -> Take:
    return Take(**dict(row))


def to_entry(row: RowMapping) -> MoneyEntry:
    return MoneyEntry(
        id=row["id"],
        job_id=row["job_id"],
        kind=EntryKind(row["kind"]),
        amount=Money(row["amount_nanos"]),
        basis=None if row["basis"] is None else Basis(row["basis"]),
        at=row["at"],
        note=row["note"],
        effective_at=row["effective_at"],
    )


def job(connection: Connection, job_id: str, *, lock: bool = False) -> Job:
    """The job; `lock`: nobody else changes it before this transaction ends. Raises UnknownJobError."""
    row = connection.execute(_JOB_LOCKED if lock else _JOB, {"of_id": job_id}).mappings().first()
    if row is None:
        raise UnknownJobError(f"the ledger has no job {job_id}")
    return to_job(row)


def latest_job(connection: Connection, request_hash: str, *, simulated: bool, lock: bool = False) -> Job | None:
    """The job that bought this very request last."""
    values = {"of_request": request_hash, "of_kind": simulated}
    row = connection.execute(_LATEST_LOCKED if lock else _LATEST, values).mappings().first()
    return None if row is None else to_job(row)


def find_jobs(
    connection: Connection,
    *,
    states: Collection[JobState] | None = None,
    shot: str | None = None,
    since: datetime | None = None,
    simulated: bool | None = None,
    limit: int | None = None,
) -> list[Job]:
    """Newest first."""
    query = sa.select(jobs).order_by(jobs.c.claimed_at.desc(), jobs.c.id.desc())
    if states is not None:
        query = query.where(jobs.c.state.in_([str(state) for state in states]))
    if shot is not None:
        query = query.where(jobs.c.shot == shot)
    if since is not None:
        query = query.where(jobs.c.claimed_at >= since)
    if simulated is not None:
        query = query.where(jobs.c.simulated == simulated)
    if limit is not None:
        query = query.limit(limit)
    return [to_job(row) for row in connection.execute(query).mappings()]


def open_jobs(connection: Connection, shots: Sequence[str] | None, simulated: bool | None) -> list[Job]:
    """In flight: of these shots, or of all. Oldest first."""
    query = sa.select(jobs).where(jobs.c.state.in_(sorted(OPEN_STATES)))
    if simulated is not None:
        query = query.where(jobs.c.simulated == simulated)
    found: list[Job] = []
    for some in [None] if shots is None else list(_chunks(sorted(set(shots)))):
        part = query if some is None else query.where(jobs.c.shot.in_(some))
        found += [to_job(row) for row in connection.execute(part).mappings()]
    return sorted(found, key=lambda job: (job.claimed_at, job.id))


def holders(connection: Connection, *, simulated: bool) -> list[str | None]:
    """Who holds open jobs. An index alone tells."""
    query = sa.select(jobs.c.owner).where(jobs.c.state.in_(sorted(OPEN_STATES)), jobs.c.simulated == simulated)
    return list(connection.execute(query.distinct()).scalars())


def open_jobs_of(connection: Connection, owners: Collection[str | None], *, simulated: bool) -> list[Job]:
    """What these hold (None: what nobody does)."""
    if not owners:
        return []
    of_them = jobs.c.owner.in_(sorted(owner for owner in owners if owner is not None))
    whose = of_them | jobs.c.owner.is_(None) if None in owners else of_them
    query = sa.select(jobs).where(jobs.c.state.in_(sorted(OPEN_STATES)), jobs.c.simulated == simulated, whose)
    return [to_job(row) for row in connection.execute(query).mappings()]


def held(connection: Connection, owner: str, state: JobState) -> list[Job]:
    """What this holder has in that state."""
    query = sa.select(jobs).where(jobs.c.state == state.value, jobs.c.owner == owner)
    return [to_job(row) for row in connection.execute(query).mappings()]


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _AT_ONCE):
        yield keys[start : start + _AT_ONCE]


def find_takes(connection: Connection, shot: str) -> list[Take]:
    """All of the shot's takes, the first one first."""
    query = sa.select(takes).where(takes.c.shot == shot).order_by(takes.c.take)
    return [to_take(row) for row in connection.execute(query).mappings()]


def current_take(connection: Connection, shot: str, simulated: bool | None) -> Take | None:
    """The shot's latest take; `simulated`: the latest one that is (not) so."""
    query = _CURRENT_TAKE if simulated is None else _CURRENT_TAKE_OF_KIND
    row = connection.execute(query, {"of_shot": shot, "of_kind": simulated}).mappings().first()
    return None if row is None else to_take(row)


def current_takes(connection: Connection, simulated: bool | None) -> dict[str, Take]:
    """The latest take of every shot that has one."""
    latest = sa.select(takes.c.shot, sa.func.max(takes.c.take).label("take")).group_by(takes.c.shot)
    if simulated is not None:
        latest = latest.join(jobs, jobs.c.id == takes.c.job_id).where(jobs.c.simulated == simulated)
    which = latest.subquery()
    query = sa.select(takes).join(which, (which.c.shot == takes.c.shot) & (which.c.take == takes.c.take))
    return {row["shot"]: to_take(row) for row in connection.execute(query).mappings()}


def find_attempts(connection: Connection, job_id: str) -> list[Attempt]:
    query = sa.select(attempts).where(attempts.c.job_id == job_id).order_by(attempts.c.n)
    return [Attempt(**dict(row)) for row in connection.execute(query).mappings()]


def account_of_attempt(connection: Connection, attempt_id: str) -> str | None:
    return connection.execute(sa.select(attempts.c.account).where(attempts.c.id == attempt_id)).scalar()


def find_senders(connection: Connection, *, simulated: bool) -> list[SentWith]:
    """Of the jobs that are, or may be, at their provider: how many were sent with which key, as far as that is known."""
    there = (JobState.SUBMITTING, JobState.SUBMITTED, JobState.GENERATED, JobState.AMBIGUOUS)
    query = (
        sa.select(jobs.c.provider, attempts.c.account, sa.func.count())
        .join(attempts, attempts.c.id == jobs.c.attempt_id)
        .where(jobs.c.state.in_([str(state) for state in there]), jobs.c.simulated == simulated)
        .where(attempts.c.account.is_not(None))
        .group_by(jobs.c.provider, attempts.c.account)
        .order_by(jobs.c.provider, attempts.c.account)
    )
    return [SentWith(*row) for row in connection.execute(query)]


def find_entries(connection: Connection, job_id: str | None) -> list[MoneyEntry]:
    """In the order they were written; of one job, or all."""
    query = sa.select(money_entries).order_by(money_entries.c.id)
    if job_id is not None:
        query = query.where(money_entries.c.job_id == job_id)
    return [to_entry(row) for row in connection.execute(query).mappings()]


def find_ambiguous(connection: Connection, *, simulated: bool, due_at: datetime | None) -> list[Job]:
    """The oldest doubt first; `due_at`: only those that are to be looked for at that moment."""
    query = sa.select(jobs).where(jobs.c.state == JobState.AMBIGUOUS.value, jobs.c.simulated == simulated)
    if due_at is not None:
        query = query.where(jobs.c.next_look_at <= due_at)
    found = [to_job(row) for row in connection.execute(query).mappings()]
    return sorted(found, key=lambda job: (job.doubted_at or job.claimed_at, job.id))


def find_looks(connection: Connection, job_id: str) -> list[Look]:
    """In the order in which they were written."""
    query = sa.select(looks.c.witness, looks.c.verdict, looks.c.detail, looks.c.at)
    return [
        Look(**dict(row))
        for row in connection.execute(query.where(looks.c.job_id == job_id).order_by(looks.c.id)).mappings()
    ]


def find_hints(connection: Connection, attempt_id: str) -> list[str]:
    """The ids that callbacks have named for the attempt; the earliest first."""
    query = (
        sa.select(callbacks.c.provider_job_id)
        .where(callbacks.c.attempt_id == attempt_id)
        .order_by(callbacks.c.at, callbacks.c.provider_job_id)
    )
    return list(connection.execute(query).scalars())


def known_provider_jobs(
    connection: Connection, provider: str, ids: Collection[str], *, but: str | None = None
) -> frozenset[str]:
    """Which of a provider's ids the ledger has already; `but`: as another job's than this."""
    # The provider is compared here, so that no database thinks of reading all that it ever had.
    columns = sa.select(jobs.c.provider_job_id, jobs.c.provider, jobs.c.id)
    return frozenset(
        row[0]
        for some in _chunks(sorted(set(ids)))
        for row in connection.execute(columns.where(jobs.c.provider_job_id.in_(some)))
        if row[1] == provider and row[2] != but
    )


def wasted(connection: Connection, *, simulated: bool, since: datetime | None) -> Wasted:
    """What was billed for jobs that gave no video; `since`: of those claimed at or after that moment."""
    states = (JobState.FAILED, JobState.LOST, JobState.WRITTEN_OFF)
    query = (
        sa.select(jobs.c.state, sa.func.sum(jobs.c.billed_nanos))
        .where(jobs.c.state.in_([str(state) for state in states]), jobs.c.simulated == simulated)
        .group_by(jobs.c.state)
    )
    if since is not None:
        query = query.where(jobs.c.claimed_at >= since)
    sums = {row[0]: Money(int(row[1] or 0)) for row in connection.execute(query)}
    return Wasted(*(sums.get(str(state), ZERO) for state in states))
