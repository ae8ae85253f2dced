"""Orphans: jobs under way whose holder is gone. Found by the recovery sensor, whatever became of their run.

What belongs here: which they are, and what the ledger alone can say of them. What does not: collecting, looking, buying.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.engine import Connection

from wan_pipeline.spend import owners, rows
from wan_pipeline.spend.records import Job, JobState
from wan_pipeline.spend.transitions import Step, doubt, give_up

HOLDER_GONE = "the process that sent it ended before it wrote down an answer"
_KEPT_AT_LEAST = timedelta(hours=24)  # a result of which nobody has said until when it can be had

S = JobState


def find(connection: Connection, own_id: str, now: datetime, *, simulated: bool) -> list[Job]:
    """Open jobs that no living process holds; the one whose result goes away first comes first. Those of the living are not
    read, however many are in flight."""
    gone = [
        owner
        for owner in rows.holders(connection, simulated=simulated)
        if owner is None or (owner != own_id and not owners.is_alive(connection, owner, now))
    ]
    found = rows.open_jobs_of(connection, gone, simulated=simulated)
    return sorted(found, key=lambda job: (deadline(job), job.id))


def deadline(job: Job) -> datetime:
    """Until when its result can be had, as far as anybody has said."""
    since = job.generated_at or job.submitted_at or job.claimed_at
    return job.result_expires_at or since + _KEPT_AT_LEAST


def settle(step: Step, job_id: str) -> None:
    """What was never sent is given up (any later run may send it); what was being sent is ambiguous. Asks again who holds
    it: the caller's list is older than its claims' lock."""
    job = rows.job(step.connection, job_id, lock=True)
    held = job.owner == step.holder.id or (
        job.owner is not None and owners.is_alive(step.connection, job.owner, step.now)
    )
    if held:
        return
    if job.state is S.RESERVED:
        give_up(step, job, "never sent; its process is gone", retryable=True)
    elif job.state is S.SUBMITTING:
        doubt(step, job, HOLDER_GONE)
