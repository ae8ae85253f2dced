"""The arrows between a job's states: which there are, who may walk them, and what each does to the money.

What belongs here: every change of `jobs.state` but the first claim's insert. What does not: the decision whether to buy
(claim.py). Each function is one step inside a transaction in which the job's row is locked.

Two proofs allow a step: for the answer to a POST, the id of the attempt it answers (it comes late, perhaps after the
holder was taken for dead: it must never be lost); for everything else, being the job's holder. A step repeated after its
answer was lost changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from wan_pipeline.money import Money
from wan_pipeline.spend import rows
from wan_pipeline.spend.entries import Account
from wan_pipeline.spend.errors import LedgerError, NotHolderError
from wan_pipeline.spend.owners import Holder
from wan_pipeline.spend.records import Basis, Job, JobState, StoredVideo
from wan_pipeline.spend.tables import attempts, jobs, takes

S = JobState

# docs/architecture.md's drawing, and beside it: refused or not sent (back to reserved), given up before it was sent
# (reserved -> rejected), a retryable rejection opened again, the late answers to a POST whose sender was taken for dead, and
# the callback that names a job after its attempt was given up for not taken (back to ambiguous: it is looked for).
ARROWS: Mapping[JobState, frozenset[JobState]] = {
    S.RESERVED: frozenset({S.SUBMITTING, S.REJECTED}),
    S.SUBMITTING: frozenset({S.RESERVED, S.SUBMITTED, S.REJECTED, S.AMBIGUOUS}),
    S.SUBMITTED: frozenset({S.GENERATED, S.FAILED, S.LOST}),
    S.GENERATED: frozenset({S.STORED, S.LOST}),
    S.AMBIGUOUS: frozenset({S.SUBMITTED, S.RELEASED, S.WRITTEN_OFF, S.RESERVED, S.REJECTED}),
    S.RELEASED: frozenset({S.SUBMITTED, S.AMBIGUOUS}),
    S.WRITTEN_OFF: frozenset({S.SUBMITTED, S.AMBIGUOUS}),
    S.REJECTED: frozenset({S.SUBMITTING}),
    S.STORED: frozenset(),
    S.FAILED: frozenset(),
    S.LOST: frozenset(),
}

# An answer to their attempt that comes late and says that it was not taken changes nothing more: their hold is given back,
# or a person has written it off, and what was bought in their place is under way.
_GIVEN_UP = frozenset({S.RELEASED, S.WRITTEN_OFF})

# Made once: making a statement takes longer than running it.
_CHANGE = jobs.update().where(jobs.c.id == bindparam("of_id")).returning(jobs)
_SENT_BEFORE = sa.select(sa.func.coalesce(sa.func.max(attempts.c.n), 0) + 1).where(
    attempts.c.job_id == bindparam("of_job")
)
_OPEN_ATTEMPT = attempts.insert().values(n=_SENT_BEFORE.scalar_subquery())
_CLOSE_ATTEMPT = attempts.update().where(attempts.c.id == bindparam("of_id"))
_VIDEO_OF_TAKES = takes.update().where(takes.c.job_id == bindparam("of_id"))

_DEAREST = Money.usd(1_000_000)  # for one video; what a provider reports beyond it is a slip of its decimal point


@dataclass(frozen=True, slots=True)
class Step:
    """What every step works with: the transaction, its moment, and who walks."""

    connection: Connection
    now: datetime
    holder: Holder


def account(step: Step, job: Job) -> Account:
    return Account(step.connection, job.id, job.held, job.billed, job.basis, step.now)


def move(step: Step, job: Job, to: JobState, books: Account | None = None, **values: Any) -> Job:
    """Walks one arrow, and closes the job's books where they are given. Raises LedgerError where there is no such arrow.
    What was true of the old state alone ends with it."""
    if to not in ARROWS[job.state]:
        raise not_allowed(job, to)
    money = {} if books is None else books.close()
    return change(step, job.id, **{"retryable": False, "next_look_at": None, "state": to.value, **money, **values})


def change(step: Step, job_id: str, **values: Any) -> Job:
    """Writes these columns of a row that is locked; gives the job as it is then."""
    parameters = {"of_id": job_id, "updated_at": step.now, **values}
    return rows.to_job(step.connection.execute(_CHANGE, parameters).mappings().one())


# --- attempts ---


def open_attempt(step: Step, job_id: str, attempt_id: str, owner: str, account: str | None) -> dict[str, Any]:
    """Writes the attempt's row; gives the columns of the job's, which the caller moves to `submitting` with them in the same
    transaction. `account`: whose key it is to be sent with."""
    attempt = {"id": attempt_id, "job_id": job_id, "owner": owner, "began_at": step.now, "account": account}
    step.connection.execute(_OPEN_ATTEMPT, {**attempt, "of_job": job_id})
    return {"attempt_id": attempt_id, "sent_at": step.now}


def close_attempt(step: Step, attempt_id: str, outcome: str, detail: str) -> None:
    end = {"outcome": outcome, "detail": detail, "ended_at": step.now}
    step.connection.execute(_CLOSE_ATTEMPT, {"of_id": attempt_id, **end})


# --- answers to a POST: proven by the attempt ---


def mark_sendable(step: Step, job_id: str, attempt_id: str, outcome: str, reason: str) -> Job:
    """`outcome` refused or not_sent: back to reserved, hold kept; it may be sent again."""
    job = _of_attempt(step, job_id, attempt_id, S.RESERVED)
    if job.state is S.RESERVED:
        return job
    if job.state in _GIVEN_UP:
        close_attempt(step, attempt_id, outcome, reason)
        return job
    close_attempt(step, attempt_id, outcome, reason)
    return move(step, job, S.RESERVED, error=reason, owner=step.holder.register(step.connection, step.now))


def mark_accepted(
    step: Step, job_id: str, attempt_id: str, provider_job_id: str, reported: Money | None, note: str
) -> Job:
    """-> submitted, from wherever the job was put while the answer was on its way."""
    if not provider_job_id:
        raise LedgerError(f"job {job_id}: an answer without a provider's job id is ambiguous, not accepted")
    job = _of_attempt(step, job_id, attempt_id, S.SUBMITTED)
    if job.provider_job_id is not None:  # accepted before
        if job.provider_job_id == provider_job_id:
            return job
        raise LedgerError(
            f"job {job_id} ({job.shot}) was accepted as {job.provider_job_id}, and now as {provider_job_id}: one of"
            f" them may be a charge that nobody asked for; look both up at {job.provider}"
        )
    reported, note = _plausible(reported, note)
    books = account(step, job)
    if reported is not None:
        books.bill(reported, Basis.REPORTED, f"accepted as {provider_job_id}")
        books.release("billed as reported")
    elif books.billed is None and not books.held:  # it had been released
        books.hold(job.quoted_high, f"accepted after all as {provider_job_id}")
    close_attempt(step, attempt_id, "accepted", note)
    return move(
        step,
        job,
        S.SUBMITTED,
        books,
        provider_job_id=provider_job_id,
        submitted_at=step.now,
        error=None,
        owner=step.holder.register(step.connection, step.now),
    )


def mark_rejected(step: Step, job_id: str, attempt_id: str | None, reason: str, retryable: bool) -> Job:
    """-> rejected, nothing is owed. Without an attempt: the holder gives up before it was sent (again)."""
    if attempt_id is None:
        job = rows.job(step.connection, job_id, lock=True)
    else:
        job = _of_attempt(step, job_id, attempt_id, S.REJECTED)
    if job.state is S.REJECTED:
        return job
    if job.state is S.RESERVED:
        only_holder(step, job, S.REJECTED)
    elif attempt_id is None:  # a POST is out: only its answer can tell
        raise not_allowed(job, S.REJECTED)
    else:
        close_attempt(step, attempt_id, "rejected", reason)
        if job.state in _GIVEN_UP:
            return job
    return give_up(step, job, reason, retryable)


def give_up(step: Step, job: Job, reason: str, retryable: bool) -> Job:
    """-> rejected, without asking who says so: for claim.py, which has found out that nobody holds it."""
    books = account(step, job)
    books.release("rejected" if not retryable else "not accepted; may be tried again")
    return move(step, job, S.REJECTED, books, error=reason, retryable=retryable)


def mark_ambiguous(step: Step, job_id: str, attempt_id: str, reason: str) -> Job:
    """-> ambiguous, hold kept: nobody knows whether the provider took it. Where somebody has found out meanwhile, or given
    it up, that stays."""
    job = _of_attempt(step, job_id, attempt_id, S.AMBIGUOUS)
    if job.state not in (S.RESERVED, S.SUBMITTING, S.REJECTED):
        return job
    return doubt(step, job, reason)


def doubt(step: Step, job: Job, reason: str) -> Job:
    """submitting -> ambiguous, without asking who says so: for claim.py, which has found out that its holder is gone."""
    if job.state is not S.SUBMITTING or job.attempt_id is None:
        raise not_allowed(job, S.AMBIGUOUS)
    close_attempt(step, job.attempt_id, "ambiguous", reason)
    return move(step, job, S.AMBIGUOUS, error=reason, doubted_at=step.now, looks=0, next_look_at=step.now)


# --- what the provider does with it: told by the holder ---


def mark_generated(
    step: Step,
    job_id: str,
    result_url: str,
    reported: Money | None,
    expires_at: datetime | None,
    known_for_s: float = 0.0,
) -> Job:
    """-> generated, as was heard so many seconds ago. Said again (the URL had expired): the URL is renewed."""
    job = rows.job(step.connection, job_id, lock=True)
    only_holder(step, job, S.GENERATED)
    reported, _ = _plausible(reported, "")
    books = account(step, job)
    if reported is not None:
        books.bill(reported, Basis.REPORTED, "reported with the result")
        books.release("billed as reported")
    bare_url = result_url.partition("#")[0].partition("?")[0]  # what follows may be a signature
    if job.state is S.GENERATED:
        return change(step, job_id, **books.close(), result_url=bare_url, result_expires_at=expires_at)
    result = {
        "result_url": bare_url,
        "result_expires_at": expires_at,
        "generated_at": step.now - timedelta(seconds=known_for_s),
    }
    return move(step, job, S.GENERATED, books, **result)


def mark_fetch_failed(step: Step, job_id: str, reason: str, next_fetch_at: datetime) -> Job:
    """It was there and could not be collected: counted, and not tried before `next_fetch_at`. The state stays."""
    job = rows.job(step.connection, job_id, lock=True)
    if job.next_fetch_at == next_fetch_at and job.error == reason:  # said again
        return job
    if job.state not in (S.SUBMITTED, S.GENERATED):
        raise LedgerError(f"job {job.id} ({job.shot}) is {job.state}: there is nothing to collect")
    only_holder(step, job, job.state)
    return change(step, job_id, fetches=job.fetches + 1, next_fetch_at=next_fetch_at, error=reason)


def mark_stored(step: Step, job_id: str, video: StoredVideo) -> Job:
    """-> stored. Where nobody has said what it cost, it is billed as quoted."""
    job = rows.job(step.connection, job_id, lock=True)
    if job.state is S.STORED and job.video_sha256 == video.sha256:
        return job
    only_holder(step, job, S.STORED)
    step.connection.execute(_VIDEO_OF_TAKES, {"of_id": job_id, "video_uri": video.uri})
    return move(
        step,
        job,
        S.STORED,
        _billed_as_quoted_unless_said(step, job, "stored"),
        stored_at=step.now,
        video_uri=video.uri,
        video_key=video.key,
        video_sha256=video.sha256,
        video_bytes=video.size_bytes,
        video_duration_s=video.duration_s,
        poster_uri=video.poster_uri,
        error=None,
    )


def mark_failed(step: Step, job_id: str, reason: str, billed: Money | None) -> Job:
    """-> failed. `billed` None: the provider does not say what that cost; unknown is not zero, so what was charged stays
    charged, and where nothing was, the quote is."""
    job = rows.job(step.connection, job_id, lock=True)
    billed, _ = _plausible(billed, "")
    if job.state is S.FAILED and billed in (None, job.billed):
        return job
    only_holder(step, job, S.FAILED)
    books = account(step, job)
    if billed is not None:
        books.bill(billed, Basis.REPORTED, "failed, billed as the provider says or its rules do")
    return move(step, job, S.FAILED, _billed_as_quoted_unless_said(step, job, "failed", books), error=reason)


def mark_lost(step: Step, job_id: str, reason: str, kept_key: str | None) -> Job:
    """-> lost: paid, and the result cannot be had any more."""
    job = rows.job(step.connection, job_id, lock=True)
    if job.state is S.LOST:
        return job
    only_holder(step, job, S.LOST)
    books = _billed_as_quoted_unless_said(step, job, "lost")
    return move(step, job, S.LOST, books, error=reason, kept_key=kept_key)


def _billed_as_quoted_unless_said(step: Step, job: Job, end: str, books: Account | None = None) -> Account:
    books = books or account(step, job)
    if books.billed is None:
        books.bill(job.quoted_high, Basis.QUOTED, f"{end}; the provider has not said what it charged")
    books.release(end)
    return books


def _plausible(reported: Money | None, note: str) -> tuple[Money | None, str]:
    """An amount that cannot be meant counts as unsaid: the job's own answer must not be lost over it."""
    if reported is None or 0 <= reported.nanos <= _DEAREST.nanos:
        return reported, note
    return None, f"{note} (it reports an amount that cannot be meant: {reported} USD)".strip()


def _of_attempt(step: Step, job_id: str, attempt_id: str, wanted: JobState) -> Job:
    job = rows.job(step.connection, job_id, lock=True)
    if job.attempt_id != attempt_id:
        raise LedgerError(
            f"job {job_id} ({job.shot}) is {job.state} in attempt {job.attempt_id}: it cannot become {wanted} by the"
            f" answer to {attempt_id}"
        )
    return job


def only_holder(step: Step, job: Job, wanted: JobState) -> None:
    if job.owner != step.holder.id:
        raise NotHolderError(
            f"job {job.id} ({job.shot}) is {job.state} and held by {job.owner}, not by {step.holder.id}, which wanted"
            f" it to be {wanted}: leave it to its holder, or claim the shot again"
        )


def not_allowed(job: Job, wanted: JobState) -> LedgerError:
    return LedgerError(f"job {job.id} ({job.shot}) is {job.state}: it cannot become {wanted}")
