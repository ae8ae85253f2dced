"""Until when a finished job's video can be had, when a failed collection is tried again, and when it is given up.

Pure arithmetic over a job and the wall clock, which may jump: a deadline that seems to have passed gives up nothing before
the collection has failed in several batches. What does not belong here: collecting.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from wan_pipeline.spend.records import Job

_UPSTREAM_KEEPS = timedelta(hours=24)
_PROVIDER_KEEPS = {"wavespeed": timedelta(days=7)}
_KEEPS_AT_MOST = timedelta(days=14)  # whatever a URL says that is made anew with every question
_MARGIN = timedelta(hours=6)
_FAILED_BATCHES = 3  # before a deadline counts, and before bytes that are no video do
_AGAIN_S = 15.0  # doubled with each failed batch
_AGAIN_AT_MOST_S = 3600.0
_LAST_TRY = timedelta(minutes=10)  # before the deadline


def deadline(job: Job) -> datetime:
    """The last moment at which the video can be had, as far as anybody says."""
    done_at = job.generated_at or job.submitted_at or job.claimed_at
    kept_until = done_at + _PROVIDER_KEEPS.get(job.provider, _UPSTREAM_KEEPS)
    if job.result_expires_at is None:
        return kept_until
    return min(max(job.result_expires_at, kept_until), done_at + _KEEPS_AT_MOST)


def urgency(job: Job) -> datetime:
    """What nears its end is collected first."""
    return min(deadline(job), job.result_expires_at or deadline(job))


def is_over(job: Job, now: datetime) -> bool:
    """Whether one more failed collection is the last. `job.fetches` counts those before."""
    return job.fetches + 1 >= _FAILED_BATCHES and now > deadline(job) + _MARGIN


def is_stuck(job: Job, now: datetime) -> bool:
    """Whether a provider that still says that it works on the job has said so for longer than anything is kept."""
    sent_at = job.submitted_at or job.claimed_at
    return job.fetches + 1 >= _FAILED_BATCHES and now > sent_at + _KEEPS_AT_MOST


def is_enough(times: int) -> bool:
    """Whether the same useless bytes, come whole in so many batches, are all that there will ever be."""
    return times >= _FAILED_BATCHES


def next_fetch_at(job: Job, now: datetime) -> datetime:
    """When a later batch may try again, after one more failure: not long after the deadline where that comes first."""
    wait_s = min(_AGAIN_AT_MOST_S, _AGAIN_S * 2 ** min(job.fetches, 20))
    again = now + timedelta(seconds=wait_s)
    last_try = deadline(job) - _LAST_TRY
    return min(again, last_try) if now < last_try else again


def wait_s(job: Job, now: datetime) -> float:
    """For how many seconds the job is left alone yet. A moment further away than any that is ever set was set by a clock
    that has been put back since."""
    if job.next_fetch_at is None:
        return 0.0
    left_s = (job.next_fetch_at - now).total_seconds()
    return left_s if 0 < left_s <= _AGAIN_AT_MOST_S else 0.0
