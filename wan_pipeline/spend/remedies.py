"""What a person can do about a job that stands in the way of its request, in words. What a claim decides is in claim.py."""

from __future__ import annotations

import shlex

from wan_pipeline.spend.records import Job, JobState

S = JobState


def remedy(job: Job, shot: str) -> str:
    """What a person can do about a job that stands in the way."""
    named = f"`wan-pipeline run --shot {shlex.quote(shot)}`"
    match job.state:
        case S.AMBIGUOUS | S.SUBMITTING:
            return (
                f"Nobody knows whether {job.provider} took it, so it is not sent again, and its hold counts in the budgets."
                f" Look for it in your account there, sent about {job.sent_at or job.updated_at:%Y-%m-%d %H:%M:%S} UTC;"
                f" `wan-pipeline resolve {job.id}` writes down what you found."
            )
        case S.RELEASED if job.retryable:
            return f"It was looked for and is not there. The next run that may buy makes it anew: {named}."
        case S.RELEASED | S.WRITTEN_OFF if job.duplicate_allowed is not None:
            return (
                f"A person lets it be bought anew for at most {job.duplicate_allowed} USD, and it would cost more now. Buy"
                f" it all the same: `wan-pipeline run --new-take --shot {shlex.quote(shot)}`."
            )
        case S.FAILED | S.REJECTED | S.RELEASED if not job.billed:
            return f"Nothing was billed. Correct the shot, or try it again by name: {named}."
        case S.FAILED:
            return (
                f"The failure was billed ({job.billed} USD, {job.basis}). Correct the shot, or buy it once more on"
                f" purpose: `wan-pipeline run --new-take --shot {shlex.quote(shot)}`."
            )
        case _:
            return (
                f"It counts as paid. Buy it once more on purpose:"
                f" `wan-pipeline run --new-take --shot {shlex.quote(shot)}`."
            )
