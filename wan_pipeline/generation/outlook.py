"""What is known of a job beside its row, and what will happen to it next: for the command line and for the UI alike.

What belongs here: putting the ledger's facts into words. What does not: deciding anything; the engine's finder and a
person do. Nor how it is laid out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from wan_pipeline.spend.records import OPEN_STATES, Job, JobState, Look

if TYPE_CHECKING:
    from wan_pipeline.spend.ledger import Ledger

_LOOKERS = "by the next `wan-pipeline run`, or by Dagster's recovery"
_RESOLVE_JOB = "the job `resolve_job` in the UI"


@dataclass(frozen=True, slots=True)
class Outlook:
    """`looks`: all that witnesses have said, the oldest first. `hints`: ids that callbacks have named. `absent_from`: when
    "there is no such job" begins to count, for one that is ambiguous. `next`: what happens, and when; empty for a job
    that has ended."""

    looks: tuple[Look, ...] = ()
    hints: tuple[str, ...] = ()
    absent_from: datetime | None = None
    next: str = ""

    @property
    def last_words(self) -> list[Look]:
        """The latest of each witness, in the order in which they were first asked."""
        return list({look.witness: look for look in self.looks}.values())


def outlook(ledger: Ledger, job: Job, absent_after: timedelta, now: datetime) -> Outlook:
    """From the ledger; asks it only about jobs that were looked for."""
    looks = tuple(ledger.looks(job.id)) if job.looks or job.state is JobState.AMBIGUOUS else ()
    if job.state is not JobState.AMBIGUOUS:
        return Outlook(looks, next=_next_of_open(job, now) if job.state in OPEN_STATES else "")
    hints = tuple(ledger.hints(job.attempt_id)) if job.attempt_id else ()
    absent_from = (job.sent_at or job.claimed_at) + absent_after
    drawn = Outlook(looks, hints, absent_from)
    return Outlook(looks, hints, absent_from, _next_of_ambiguous(job, drawn.last_words, absent_from, now))


def _next_of_ambiguous(job: Job, last_words: Sequence[Look], absent_from: datetime, now: datetime) -> str:
    waits = (
        f"waits for you: `wan-pipeline resolve {job.id} --found ID | --not-charged | --write-off`, or {_RESOLVE_JOB}"
    )
    if job.next_look_at is None:  # nobody looks for it by himself
        return waits
    if job.next_look_at <= now:
        again = f"is looked for {_LOOKERS}"
    else:
        again = f"is looked for again at {clock(job.next_look_at, now)}, {_LOOKERS}"
    if any(look.verdict == "unsure" for look in last_words):
        return f"{waits}. Meanwhile it {again}"
    once = "then" if absent_from <= now else f"by {clock(absent_from, now)}"
    return f"{again}; if no witness that can tell shows it {once}, it counts as not charged, and is made anew"


def _next_of_open(job: Job, now: datetime) -> str:
    if job.next_fetch_at is not None and job.next_fetch_at > now:
        return f"its result is fetched again at {clock(job.next_fetch_at, now)}"
    return "goes on with the run that holds it, or with the next one"


def clock(moment: datetime, now: datetime) -> str:
    """`14:05:00 UTC`, with the date where it is another day's."""
    return f"{moment:%H:%M:%S} UTC" if moment.date() == now.date() else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
