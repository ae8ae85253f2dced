"""Resolution: what a person has found out about a job that nobody knew about, written down with who said so.

What belongs here: the three ends of an ambiguity. What does not: finding out, and buying anything.
"""

from __future__ import annotations

import sqlalchemy as sa

from wan_pipeline.spend import rows
from wan_pipeline.spend.errors import LedgerError
from wan_pipeline.spend.records import Basis, Job, JobState
from wan_pipeline.spend.tables import jobs
from wan_pipeline.spend.transitions import Step, account, mark_accepted, move

S = JobState


def found(step: Step, job_id: str, provider_job_id: str, said: str) -> Job:
    """-> submitted, as if the lost answer had arrived: it is polled and collected like any other."""
    job = _ambiguous(step, job_id)
    query = sa.select(jobs.c.id).where(jobs.c.provider == job.provider, jobs.c.provider_job_id == provider_job_id)
    other = step.connection.execute(query).scalar()
    if other is not None:
        raise LedgerError(
            f"{provider_job_id} at {job.provider} is job {other} of the ledger: it cannot be {job_id} too"
        )
    return mark_accepted(step, job_id, job.attempt_id or "", provider_job_id, None, said)


def not_charged(step: Step, job_id: str, said: str) -> Job:
    """-> released: the provider never took it. The hold is given back, and the shot may be asked for again by name."""
    job = _ambiguous(step, job_id)
    account(step, job).release(said)
    return move(step, job, S.RELEASED, error=f"not charged: {said}")


def write_off(step: Step, job_id: str, said: str) -> Job:
    """-> written_off: what it may have cost counts as spent, at the quote's upper bound; the video is given up."""
    job = _ambiguous(step, job_id)
    books = account(step, job)
    if books.billed is None:
        books.bill(job.quoted_high, Basis.QUOTED, said)
    books.release(said)
    return move(step, job, S.WRITTEN_OFF, error=f"written off: {said}")


def _ambiguous(step: Step, job_id: str) -> Job:
    job = rows.job(step.connection, job_id, lock=True)
    if job.state is not S.AMBIGUOUS:
        raise LedgerError(f"job {job.id} ({job.shot}) is {job.state}, not ambiguous: there is nothing to resolve")
    return job
