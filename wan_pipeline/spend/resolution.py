"""Resolution: an ambiguity's ends, written down with who said so, and what is learnt on the way there.

What belongs here: looks, hints, the ends (found, absent, not charged, written off), and the way back into the search when
a provider names a job after all. What does not: finding out, deciding, and buying anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from wan_pipeline.money import Money
from wan_pipeline.spend import rows
from wan_pipeline.spend.errors import LedgerError
from wan_pipeline.spend.records import Basis, Job, JobState, Look
from wan_pipeline.spend.tables import attempts, callbacks, jobs, looks, shot_index
from wan_pipeline.spend.transitions import Step, account, change, mark_accepted, move

S = JobState

_LONGEST_ID = 500  # of the column; what is longer is no provider's id
_HINTS_AT_MOST = 20  # for one attempt: a callback names one or two

# --- the search ---


def record_look(step: Step, job_id: str, testimonies: Sequence[Look], next_look_at: datetime | None) -> Job:
    """The testimonies stay whatever has become of the job meanwhile; it is looked for again only if it is ambiguous."""
    job = rows.job(step.connection, job_id, lock=True)
    if any(look in testimonies for look in rows.find_looks(step.connection, job_id)):  # said again
        return job
    for look in testimonies:
        step.connection.execute(
            looks.insert().values(
                job_id=job_id, witness=look.witness, verdict=look.verdict, detail=look.detail, at=look.at
            )
        )
    if job.state is not S.AMBIGUOUS:
        return job
    return change(step, job_id, looks=job.looks + 1, next_look_at=next_look_at)


def add_callback(step: Step, attempt_id: str, provider_job_ids: Sequence[str]) -> bool:
    """Writes the hint down and has it followed at once. False: there is no such attempt.

    Where the attempt's job was given up as not taken (released, or written off), a new hint for it makes it ambiguous
    again, held again: what the provider made may be had, and is paid for.
    """
    job_id = step.connection.execute(sa.select(attempts.c.job_id).where(attempts.c.id == attempt_id)).scalar()
    if job_id is None:
        return False
    job = rows.job(step.connection, job_id, lock=True)
    known = rows.find_hints(step.connection, attempt_id)
    wanted = list(
        dict.fromkeys(item for item in provider_job_ids if 0 < len(item) <= _LONGEST_ID and "\x00" not in item)
    )
    new = [item for item in wanted if item not in known][: max(0, _HINTS_AT_MOST - len(known))]
    for provider_job_id in new:
        step.connection.execute(
            callbacks.insert().values(attempt_id=attempt_id, provider_job_id=provider_job_id, at=step.now)
        )
    if job.attempt_id != attempt_id:
        return True
    if job.state is S.AMBIGUOUS:
        step.connection.execute(jobs.update().where(jobs.c.id == job.id).values(next_look_at=step.now))
    elif job.state in (S.RELEASED, S.WRITTEN_OFF) and set(new) - _others(step, job, new):
        _doubt_again(step, job, "its provider's callback has named a job for it")
    return True


def _doubt_again(step: Step, job: Job, reason: str) -> None:
    books = account(step, job)
    if books.billed is None:
        books.hold(job.quoted_high, reason)
    again = f"{reason}, after: {job.error}"
    move(step, job, S.AMBIGUOUS, books, error=again, doubted_at=step.now, looks=0, next_look_at=step.now)


def _others(step: Step, job: Job, ids: Sequence[str]) -> frozenset[str]:
    return rows.known_provider_jobs(step.connection, job.provider, ids, but=job.id)


# --- its ends ---


def found(step: Step, job_id: str, provider_job_id: str, said: str, reported: Money | None) -> Job:
    """-> submitted, as if the lost answer had arrived: it is polled and collected like any other. The caller's transaction
    has the claims' lock, so that no two jobs are given the same one."""
    job = rows.job(step.connection, job_id, lock=True)
    if job.state is S.SUBMITTED and job.provider_job_id == provider_job_id and job.owner == step.holder.id:
        return job  # said again
    _must_be_ambiguous(job)
    if _others(step, job, [provider_job_id]):
        raise LedgerError(
            f"{provider_job_id} at {job.provider} is another job of the ledger: it cannot be {job_id} too"
        )
    return mark_accepted(step, job_id, job.attempt_id or "", provider_job_id, reported, said)


def absent(step: Step, job_id: str, said: str) -> Job:
    """-> released: all that could know say that it is not there, and enough time has passed. The hold is given back, and
    anybody may buy the request as a new job."""
    error = f"absent: {said}"
    job = rows.job(step.connection, job_id, lock=True)
    if job.state is S.RELEASED and job.error == error:
        return job
    _must_be_ambiguous(job)
    books = account(step, job)
    books.release(error)
    _open_again(step, job)
    return move(step, job, S.RELEASED, books, error=error, retryable=True)


def not_charged(step: Step, job_id: str, said: str, duplicate_up_to: Money | None) -> Job:
    """-> released: a person says that the provider never took it. The hold is given back, and the shot may be asked for
    again by name; with `duplicate_up_to`, anybody may buy it anew for at most that much."""
    error = f"not charged: {_with_duplicate(said, duplicate_up_to)}"
    job = rows.job(step.connection, job_id, lock=True)
    if job.state is S.RELEASED and job.error == error:
        return job
    _must_be_ambiguous(job)
    books = account(step, job)
    books.release(error)
    if duplicate_up_to is not None:
        _open_again(step, job)
    return move(step, job, S.RELEASED, books, error=error, duplicate_allowed_nanos=_nanos(duplicate_up_to))


def write_off(step: Step, job_id: str, said: str, duplicate_up_to: Money | None) -> Job:
    """-> written_off: what it may have cost counts as spent, at the quote's upper bound; the video is given up. With
    `duplicate_up_to`, anybody may buy it anew for at most that much."""
    error = f"written off: {_with_duplicate(said, duplicate_up_to)}"
    job = rows.job(step.connection, job_id, lock=True)
    if job.state is S.WRITTEN_OFF and job.error == error:
        return job
    _must_be_ambiguous(job)
    books = account(step, job)
    if books.billed is None:
        books.bill(job.quoted_high, Basis.QUOTED, error)
    books.release(error)
    if duplicate_up_to is not None:
        _open_again(step, job)
    return move(step, job, S.WRITTEN_OFF, books, error=error, duplicate_allowed_nanos=_nanos(duplicate_up_to))


def _open_again(step: Step, job: Job) -> None:
    """The shot may be made anew, and has not come to an end, even if it had before this job was asked for (a new take, a
    failure that a person had tried again): otherwise no sensor would take it up."""
    take = rows.current_take(step.connection, job.shot, job.simulated)
    if take is not None and take.job_id == job.id:
        step.connection.execute(
            shot_index.update().where(shot_index.c.key == job.shot).values(finished_version=sa.null())
        )


def _with_duplicate(said: str, duplicate_up_to: Money | None) -> str:
    if duplicate_up_to is None:
        return said
    if duplicate_up_to.nanos < 0:
        raise LedgerError(f"a duplicate for {duplicate_up_to} USD cannot be allowed: write an amount from 0 up")
    return f"{said} (lets it be bought anew for at most {duplicate_up_to} USD)"


def _nanos(amount: Money | None) -> int | None:
    return None if amount is None else amount.nanos


def _must_be_ambiguous(job: Job) -> None:
    if job.state is not S.AMBIGUOUS:
        raise LedgerError(f"job {job.id} ({job.shot}) is {job.state}, not ambiguous: there is nothing to resolve")
