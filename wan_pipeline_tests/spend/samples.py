"""Requests and short ways to bring a job into a state, for the tests of the ledger."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from wan_pipeline.money import Money
from wan_pipeline.spend.correcting import BillPart
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.owners import Owner
from wan_pipeline.spend.records import (
    Bought,
    Budgets,
    ClaimOptions,
    ClaimOutcome,
    Job,
    JobRequest,
    JobState,
    Joined,
    StoredVideo,
)

T = TypeVar("T")

NOON = datetime(2026, 12, 5, 12, 0, tzinfo=UTC)
PRICE = Money.usd("0.20")
NO_LIMIT = Budgets(None, None, None)
NEW_TAKE = ClaimOptions(new_take=True)
RETRY = ClaimOptions(retry_failed=True)
OUTDATED = ClaimOptions(outdated=True)
COLLECT = ClaimOptions(collect_only=True)


def request_for(shot: str = "cat", prompt: str = "a cat", *, own: str = "own-1", **changes: Any) -> JobRequest:
    """What a shot wants; the same prompt is the same request, whoever asks."""
    request = JobRequest(
        shot=shot,
        provider="wavespeed",
        model="wavespeed/wan-2.6-i2v-flash",
        request_hash=hashlib.sha256(prompt.encode()).hexdigest(),
        own_digest=own,
        arguments={"prompt": prompt, "duration": 5},
        inputs=({"slot": "first_frame", "key": f"inbox/{shot}.png", "sha256": "ab"},),
        duration_s=5,
        resolution="720p",
        has_audio=False,
        campaign=None,
        quoted_low=min(PRICE, changes.get("quoted_high", PRICE)),
        quoted_high=PRICE,
        simulated=False,
    )
    return replace(request, **changes)


def video(sha256: str = "f" * 64, uri: str = "file:///bucket/videos/cat/take-1.mp4") -> StoredVideo:
    return StoredVideo(uri, "videos/cat/take-1.mp4", sha256, 123_456, 5.04, None)


def expect(kind: type[T], outcome: ClaimOutcome) -> T:
    assert isinstance(outcome, kind), outcome
    return outcome


def bought(
    ledger: Ledger, request: JobRequest | None = None, options: ClaimOptions | None = None, **more: Any
) -> Bought:
    return expect(Bought, ledger.claim(request or request_for(), NO_LIMIT, options, **more))


def job_in(ledger: Ledger, state: JobState, request: JobRequest | None = None, *, billed: Money | None = None) -> Job:
    """Buys and brings the job into `state`; `billed`: what the provider says of a failure."""
    purchase = bought(ledger, request)
    job_id, attempt = purchase.job.id, purchase.attempt_id
    match state:
        case JobState.SUBMITTING:
            return purchase.job
        case JobState.RESERVED:
            return ledger.mark_refused(job_id, attempt, "429")
        case JobState.REJECTED:
            return ledger.mark_rejected(job_id, attempt, "bad prompt")
        case JobState.AMBIGUOUS:
            return ledger.mark_ambiguous(job_id, attempt, "read timeout")
        case JobState.RELEASED | JobState.WRITTEN_OFF:
            ledger.mark_ambiguous(job_id, attempt, "read timeout")
            resolve = ledger.resolve_not_charged if state is JobState.RELEASED else ledger.resolve_write_off
            return resolve(job_id, "somebody")
        case _:
            return finish(ledger, ledger.mark_accepted(job_id, attempt, f"p-{job_id}", None), state, billed)


def finish(ledger: Ledger, job: Job, state: JobState, billed: Money | None = None) -> Job:
    """Brings a submitted job into `state`."""
    if state is JobState.FAILED:
        return ledger.mark_failed(job.id, "content policy", billed)
    if state is JobState.SUBMITTED:
        return job
    job = ledger.mark_generated(job.id, "https://cdn.invalid/v.mp4?Signature=s3cret")
    if state is JobState.STORED:
        return ledger.mark_stored(job.id, video())
    return ledger.mark_lost(job.id, "410") if state is JobState.LOST else job


def elsewhere(name: str = "far") -> Owner:
    """A process on another machine: only its heartbeat tells."""
    return Owner(name, f"boot of {name}", 4711, "1")


def gone(ledger: Ledger) -> None:
    """As if the holder's process had died: nothing is written, and nobody answers for it any more."""
    ledger._holder.released()


def joined(outcome: ClaimOutcome, *, mine: bool) -> Job:
    answer = expect(Joined, outcome)
    assert answer.mine is mine
    return answer.job


def corrected(
    ledger: Ledger, job_id: str, total: Money, evidence: str, refunded_at: datetime | None = None, **named: Any
) -> Job:
    """After its provider's books have said so."""
    assert ledger.settle(job_id, ledger.job(job_id).billed, [BillPart(total, evidence, refunded_at)], **named)
    return ledger.job(job_id)
