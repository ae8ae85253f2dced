"""Submission: one POST for each attempt, and its answer written down before anything else happens.

The ledger's claim made the intent durable; here it is carried out. What the provider's answer means is classified by
its client; here the meaning becomes a state. Only what certainly never left this machine, or was certainly refused,
is sent again, each time as a new attempt.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ParamSpec

from wan_pipeline.bucket import Bucket
from wan_pipeline.generation.deferring import PASSING, told
from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.gate import Closed, Gate, GateClosedError, Place
from wan_pipeline.problems import Problem
from wan_pipeline.providers.base import (
    Accepted,
    Ambiguous,
    Denied,
    JsonObject,
    MediaInput,
    Model,
    NotSent,
    Order,
    ProviderClient,
    Refused,
    Rejected,
    Slot,
    SubmitOutcome,
)
from wan_pipeline.providers.words import shown
from wan_pipeline.spend.errors import LedgerError
from wan_pipeline.spend.records import Bought, Job, OverBudget, ProviderBusy, SubmitLimits

FETCH_URL_LASTS_S = 24 * 3600  # a provider may fetch an input late, out of its own queue
_NOT_SENT_WAITS_S = (1.0, 3.0, 9.0, 20.0)
_REFUSED_WAIT_S = 5.0  # where a 429 does not say how long
_REFUSED_WAIT_AT_MOST_S = 300.0
_REFUSED_FOR_S = 3600.0  # a provider that has taken nothing for so long takes nothing: a quota, not a rush
_UNREACHED_FOR_S = 120.0  # nobody there for so long: the others of the batch need not find out one by one
_WRITE_AGAIN_S = 2.0
_WRITE_FOR_S = 600.0  # how long an answer that the ledger cannot take is kept before it is told to a person instead
_WRITE_STOPPED_FOR_S = 60.0  # the same, of a stopped batch whose ledger is out of reach
# A rejection for an input that the provider could not fetch: our own store may have been away for a moment.
_INPUT = r"(url|uri|link|image|picture|video|audio|media|file|input)s?"
_FETCH = r"(fetch|download|retriev|access|reach|load)"
_UNFETCHED = re.compile(rf"\b{_FETCH}\w*\b.*\b{_INPUT}\b|\b{_INPUT}\b.*\b{_FETCH}", re.IGNORECASE)
_log = logging.getLogger(__name__)
P = ParamSpec("P")


class UnwrittenError(RuntimeError):
    """The provider has answered, and the ledger could not be told: the message says what it would have been told."""


class Answer(StrEnum):
    """What a submission has come to."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"  # the request itself is not taken, or the account (no key, no credit): a person's matter
    UNFETCHED = "unfetched"  # rejected because the provider could not fetch an input: that may pass
    AMBIGUOUS = "ambiguous"
    UNREACHED = "unreached"  # never sent, or refused for long: it holds nothing, and may be tried again later
    STOPPED = "stopped"  # the batch was stopped before it was sent (again)
    OVER_BUDGET = "over budget"  # there was room when it was claimed, and there is none on the day of its next attempt


@dataclass(frozen=True, slots=True)
class Submission:
    """The job in its new state: submitted, rejected or ambiguous. `over` goes with OVER_BUDGET."""

    job: Job
    answer: Answer
    over: OverBudget | None = None


_CLOSED = {
    Closed.STOPPED: Answer.STOPPED,
    Closed.DENIED: Answer.REJECTED,
    Closed.UNREACHED: Answer.UNREACHED,
}


def delivery_problems(bucket: Bucket, model: Model, inputs: Sequence[MediaInput]) -> list[Problem]:
    """The inputs that this model's provider has no way to get. Empty: all can be handed over."""
    return [
        Problem(
            item.key,
            str(item.slot),
            bucket.url,
            f"{model.provider} fetches inputs by URL, and this bucket can give none",
            "Use an S3 bucket (its URLs are presigned), or set WAN_PUBLIC_BASE_URL to where providers can fetch it.",
        )
        for item in inputs
        if not _as_data_uri(model, item.slot) and bucket.fetch_url(item.key, FETCH_URL_LASTS_S) is None
    ]


def _as_data_uri(model: Model, slot: Slot) -> bool:
    return model.inputs[slot.role].accepts_data_uri


def _reference(bucket: Bucket, model: Model, item: MediaInput) -> str:
    url = bucket.fetch_url(item.key, FETCH_URL_LASTS_S)
    if url is not None:
        return url
    if not _as_data_uri(model, item.slot):
        raise ValueError(f"{item.key}: no way to hand it to {model.provider}; inspection should have said so")
    data = base64.b64encode(bucket.read(item.key)).decode()
    return f"data:image/{getattr(item.info, 'format', 'jpeg')};base64,{data}"


def request_body(bucket: Bucket, model: Model, order: Order, inputs: Sequence[MediaInput]) -> JsonObject:
    """The body to send, its inputs as fresh URLs (or data URIs). Reads the bucket: call it in a thread."""
    return model.body(order, {item.slot: _reference(bucket, model, item) for item in inputs})


class Submitter:
    """Carries out claims of one provider."""

    def __init__(self, desk: Desk, client: ProviderClient, gate: Gate, limits: SubmitLimits) -> None:
        self._desk = desk
        self._client = client
        self._gate = gate
        self._limits = limits

    async def submit(self, bought: Bought, model: Model, body: JsonObject, place: Place) -> Submission:
        """Sends until there is an answer that ends the matter. The caller holds the place in the gate and leaves it
        afterwards, whoever has left it meanwhile.

        Stopped before a byte was sent, the job is `rejected` and may be reopened by anyone.
        """
        ledger, job_id, attempt_id = self._desk.ledger, bought.job.id, bought.attempt_id
        name = self._client.name
        unsent = 0
        while True:
            if self._gate.closed is not None:
                return await self._given_up(job_id, attempt_id)
            if attempt_id in self._desk.disowned:
                job = await self._never_sent(job_id, attempt_id, "its claim had lost its answer")
                return Submission(job, Answer.UNREACHED)
            outcome = await self._post(model, body, job_id, attempt_id)
            match outcome:
                case Accepted(provider_job_id=its_id, reported=reported, note=note):
                    self._gate.accepted()
                    said = f"{name} took job {job_id} as {its_id}"
                    job = await self._write_down(said, ledger.mark_accepted, job_id, attempt_id, its_id, reported, note)
                    return Submission(job, Answer.ACCEPTED)
                case Ambiguous(reason=reason):
                    said = f"nobody knows whether {name} took job {job_id} ({reason})"
                    job = await self._write_down(said, ledger.mark_ambiguous, job_id, attempt_id, reason)
                    return Submission(job, Answer.AMBIGUOUS)
                case Rejected(reason=reason):
                    said = f"{name} rejected job {job_id}"
                    passing = _UNFETCHED.search(reason) is not None
                    job = await self._write_down(said, ledger.mark_rejected, job_id, attempt_id, reason, passing)
                    return Submission(job, Answer.UNFETCHED if passing else Answer.REJECTED)
                case Denied(reason=reason):
                    self._gate.close(f"{name} takes nothing more: {reason}", Closed.DENIED)
                    said = f"{name} did not take job {job_id}"
                    job = await self._write_down(said, ledger.mark_rejected, job_id, attempt_id, reason, retryable=True)
                    return Submission(job, Answer.REJECTED)
                case NotSent(reason=reason):
                    if self._gate.unreached() > _UNREACHED_FOR_S:
                        self._gate.close(f"{name} could not be reached for long: {reason}", Closed.UNREACHED)
                    if unsent == len(_NOT_SENT_WAITS_S):
                        job = await self._never_sent(job_id, attempt_id, reason)
                        return Submission(job, Answer.UNREACHED)
                    said = f"job {job_id} was not sent to {name}"
                    await self._write_down(said, ledger.mark_not_sent, job_id, attempt_id, reason)
                    await self._desk.sleep(_NOT_SENT_WAITS_S[unsent])
                    unsent += 1
                case Refused(reason=reason):
                    wait_s = min(_REFUSED_WAIT_AT_MOST_S, outcome.retry_after_s or _REFUSED_WAIT_S)
                    if self._gate.refused(wait_s) > _REFUSED_FOR_S:
                        self._gate.close(f"{name} has taken nothing for long: {reason}", Closed.UNREACHED)
                    said = f"{name} refused job {job_id} for now"
                    await self._write_down(said, ledger.mark_refused, job_id, attempt_id, reason)
                    place.leave()
            again = await self._next_attempt(job_id, place)
            if isinstance(again, Submission):
                return again
            attempt_id = again

    async def _next_attempt(self, job_id: str, place: Place) -> str | Submission:
        """The right to send once more: a place in the gate, and room in the ledger. The job is `reserved`."""
        waited = False  # a place that was left after a refusal is waited for at the end of the queue
        while True:
            try:
                if not place.held:
                    await place.again(first=waited)
            except GateClosedError:
                return await self._given_up(job_id, None)
            if self._gate.closed is not None:
                return await self._given_up(job_id, None)
            answer = await self._desk.record(
                self._desk.ledger.begin_attempt,
                job_id,
                self._limits,
                self._desk.parts.budgets,
                self._client.account,
            )
            match answer:
                case ProviderBusy(wait_s=wait_s):
                    place.busy(wait_s)
                    waited = True
                case OverBudget():
                    job = await self._desk.record(self._desk.ledger.job, job_id)
                    return Submission(job, Answer.OVER_BUDGET, answer)
                case str():
                    place.through()
                    return answer

    async def _post(self, model: Model, body: JsonObject, job_id: str, attempt_id: str) -> SubmitOutcome:
        self._desk.posted.add(attempt_id)
        try:
            return await self._client.submit(model, body, attempt_id)
        except Exception as error:  # noqa: BLE001 - whatever it was: nobody knows how far it got
            _log.warning("job %s: its submission broke off in this program", job_id, exc_info=True)
            return Ambiguous(shown(f"{type(error).__name__} while the request was under way: {error}"))
        except BaseException as error:
            # Cancelled: that nobody knows how far it got is written down before the error goes on its way.
            reason = f"{type(error).__name__} while the request was under way"
            await asyncio.shield(self._desk.record(self._desk.ledger.mark_ambiguous, job_id, attempt_id, reason))
            raise

    async def _write_down(self, said: str, call: Callable[P, Job], *arguments: P.args, **named: P.kwargs) -> Job:
        """An answer that is worth money is not lost because a disk is full or a database restarts: it is kept here and
        tried for as long as the batch lives, and in the log meanwhile; nothing else works without the ledger anyway. Nor
        is a refusal lost: left as being sent, its job would take a place of the provider's limits, and the batch might
        wait for that very place. Raises UnwrittenError where the batch is stopped, or it is no trouble that passes."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _WRITE_FOR_S
        while True:
            try:
                return await self._desk.record(call, *arguments, **named)
            except LedgerError:
                raise  # it could be told, and does not agree
            except Exception as error:
                reason = told(error)
                _log.error("%s, and the ledger cannot write it down: %s", said, reason)
                if self._desk.stopped.is_set():
                    end = min(end, loop.time() + _WRITE_STOPPED_FOR_S)
                elif isinstance(error, PASSING):
                    end = loop.time() + _WRITE_FOR_S
                if loop.time() > end:
                    raise UnwrittenError(f"{said}, and the ledger could not write it down: {reason}") from error
            await asyncio.sleep(_WRITE_AGAIN_S)

    async def _given_up(self, job_id: str, attempt_id: str | None) -> Submission:
        """The gate is closed: nothing more is sent."""
        job = await self._never_sent(job_id, attempt_id, self._gate.closed or "")
        return Submission(job, _CLOSED[self._gate.closed_kind or Closed.STOPPED])

    async def _never_sent(self, job_id: str, attempt_id: str | None, reason: str) -> Job:
        said = f"job {job_id} was never sent"
        return await self._write_down(
            said, self._desk.ledger.mark_rejected, job_id, attempt_id, f"never sent: {reason}", retryable=True
        )
