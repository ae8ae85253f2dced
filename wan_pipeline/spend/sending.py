"""Sending a job that has its hold already: what was refused, or never left this machine, goes out as a new attempt.

What belongs here: the one way from `reserved` to `submitting` that is no claim, and what both ask before it. What does not:
buying (claim.py), and what became of the POST (transitions.py).

A hold counts in the UTC day in which it was last asked for. A job that is sent on a later day asks for it again, in that
day's budgets; where they have no room it is given up, rejected and retryable, so that the shot can be put off: the next
claim with room opens the same job again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wan_pipeline.spend import budget, limits, rows
from wan_pipeline.spend.records import Budgets, Job, JobState, OverBudget, ProviderBusy, SubmitLimits
from wan_pipeline.spend.transitions import Step, give_up, move, not_allowed, only_holder, open_attempt

S = JobState


@dataclass(slots=True)
class Again:
    """What one call remembers when its transaction is begun again because the answer to its commit was lost."""

    attempt_id: str
    over: OverBudget | None = None


def begin_attempt(
    step: Step,
    job_id: str,
    limits_: SubmitLimits | None,
    budgets: Budgets | None,
    again: Again,
    sent_with: str | None,
) -> str | ProviderBusy | OverBudget:
    """reserved -> submitting, by the holder: one POST may follow. The caller's transaction has the claims' lock."""
    job = rows.job(step.connection, job_id, lock=True)
    if job.state is S.SUBMITTING and job.attempt_id == again.attempt_id:
        return again.attempt_id
    if job.state is S.REJECTED and again.over is not None:
        return again.over
    if job.state is not S.RESERVED:  # a rejected job is opened again only by a claim, which asks the budgets
        raise not_allowed(job, S.SUBMITTING)
    only_holder(step, job, S.SUBMITTING)
    if budgets is not None:
        again.over = no_room_today(step, job, budgets)
        if again.over is not None:
            return again.over
    busy = limits.busy(step.connection, limits_, job.provider, step.now, simulated=job.simulated)
    if busy is not None:
        return busy
    today = counted_today(step, job) if budgets is not None else {}
    sent = open_attempt(step, job_id, again.attempt_id, step.holder.id, sent_with)
    move(step, job, S.SUBMITTING, error=None, **today, **sent)
    return again.attempt_id


def no_room_today(step: Step, job: Job, budgets: Budgets) -> OverBudget | None:
    """Asks the budgets again where a reserved job's hold was asked for on another day. No room: the job is given up."""
    if _is_of_today(step, job):
        return None
    purchase = budget.Purchase(job.shot, job.campaign, job.provider, job.held, job.simulated, instead_of=job)
    over = budget.over(step.connection, budgets, purchase, step.now)
    if over is not None:
        reason = f"not sent again: {over.limit} ({over.allowed} USD) has no room for it on the day of its sending"
        give_up(step, job, reason, retryable=True)
    return over


def counted_today(step: Step, job: Job) -> dict[str, Any]:
    """The column that makes its hold count in today's budgets from now on, where it does not yet."""
    return {} if _is_of_today(step, job) else {"claimed_at": step.now}


def _is_of_today(step: Step, job: Job) -> bool:
    return budget.day_of(job.claimed_at) == budget.day_of(step.now)
