"""Submission: one POST for each attempt, and its answer written down before anything else happens.

The ledger's claim made the intent durable; here it is carried out. What the provider's answer means is classified by
its client; here the meaning becomes a state. Only what certainly never left this machine, or was certainly refused,
is sent again, each time as a new attempt.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable, Sequence
from typing import ParamSpec

from wan_pipeline.bucket import Bucket
from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.gate import Gate, GateClosedError
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
from wan_pipeline.spend.records import Bought, Job

FETCH_URL_LASTS_S = 24 * 3600  # a provider may fetch an input late, out of its own queue
_NOT_SENT_WAITS_S = (1.0, 3.0, 9.0, 20.0)
_REFUSED_WAIT_S = 5.0  # where a 429 does not say how long
_REFUSED_WAIT_AT_MOST_S = 300.0
_REFUSED_FOR_S = 3600.0  # a provider that has taken nothing for so long takes nothing: a quota, not a rush
_WRITE_AGAIN_S = 2.0
_WRITE_FOR_S = 600.0  # how long the ledger may be out of reach before an answer is told to a person instead
_log = logging.getLogger(__name__)
P = ParamSpec("P")


class UnwrittenError(RuntimeError):
    """The provider has answered, and the ledger could not be told: the message says what it would have been told."""


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

    def __init__(self, desk: Desk, client: ProviderClient, gate: Gate) -> None:
        self._desk = desk
        self._client = client
        self._gate = gate

    async def submit(self, bought: Bought, model: Model, body: JsonObject) -> Job:
        """Sends until there is an answer that ends the matter; gives the job in its new state: submitted, rejected or
        ambiguous. The caller holds a place in the gate and keeps it.

        Stopped before a byte was sent, the job is `rejected` and may be reopened by anyone.
        """
        job_id, attempt_id = bought.job.id, bought.attempt_id
        unsent = 0
        while True:
            if self._gate.closed is not None:
                return await self._never_sent(job_id, attempt_id, self._gate.closed)
            outcome = await self._post(model, body, job_id, attempt_id)
            match outcome:
                case Accepted():
                    self._gate.accepted()
                    return await self._write_down(
                        f"{self._client.name} took job {job_id} as {outcome.provider_job_id}",
                        self._desk.ledger.mark_accepted,
                        job_id,
                        attempt_id,
                        outcome.provider_job_id,
                        outcome.reported,
                        outcome.note,
                    )
                case Ambiguous():
                    return await self._desk.record(self._desk.ledger.mark_ambiguous, job_id, attempt_id, outcome.reason)
                case Rejected():
                    said = f"{self._client.name} rejected job {job_id}"
                    return await self._write_down(
                        said, self._desk.ledger.mark_rejected, job_id, attempt_id, outcome.reason
                    )
                case Denied():
                    self._gate.close(f"{self._client.name} takes nothing more: {outcome.reason}")
                    return await self._desk.record(
                        self._desk.ledger.mark_rejected, job_id, attempt_id, outcome.reason, retryable=True
                    )
                case NotSent():
                    if unsent == len(_NOT_SENT_WAITS_S):
                        return await self._never_sent(job_id, attempt_id, outcome.reason)
                    await self._desk.record(self._desk.ledger.mark_not_sent, job_id, attempt_id, outcome.reason)
                    await self._desk.sleep(_NOT_SENT_WAITS_S[unsent])
                    unsent += 1
                case Refused():
                    wait_s = min(_REFUSED_WAIT_AT_MOST_S, outcome.retry_after_s or _REFUSED_WAIT_S)
                    if self._gate.refused(wait_s) > _REFUSED_FOR_S:
                        self._gate.close(f"{self._client.name} has taken nothing for long: {outcome.reason}")
                    await self._desk.record(self._desk.ledger.mark_refused, job_id, attempt_id, outcome.reason)
                    if not await self._wait_after_refusal():
                        return await self._never_sent(job_id, None, self._gate.closed or outcome.reason)
            if self._gate.closed is not None:
                return await self._never_sent(job_id, None, self._gate.closed)
            attempt_id = await self._desk.record(self._desk.ledger.begin_attempt, job_id)

    async def _post(self, model: Model, body: JsonObject, job_id: str, attempt_id: str) -> SubmitOutcome:
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

    async def _wait_after_refusal(self) -> bool:
        """Gives the place up, waits at the end of the queue, and comes back with a place. False: the gate closed."""
        self._gate.leave()
        try:
            await self._gate.enter()
        except BaseException as error:
            self._gate.occupy()  # the caller leaves it
            if isinstance(error, GateClosedError):
                return False
            raise
        return True

    async def _write_down(self, said: str, call: Callable[P, Job], *arguments: P.args, **named: P.kwargs) -> Job:
        """An answer that is worth money is not lost because a disk is full or a database restarts: it is kept here and
        tried for a good while, and in the log meanwhile. Raises UnwrittenError in the end."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _WRITE_FOR_S
        while True:
            try:
                return await self._desk.record(call, *arguments, **named)
            except LedgerError:
                raise  # it could be told, and does not agree
            except Exception as error:
                reason = shown(f"{type(error).__name__}: {error}")
                _log.error("%s, and the ledger cannot write it down: %s", said, reason)
                if loop.time() > end:
                    raise UnwrittenError(f"{said}, and the ledger could not write it down: {reason}") from error
            await asyncio.sleep(_WRITE_AGAIN_S)

    async def _never_sent(self, job_id: str, attempt_id: str | None, reason: str) -> Job:
        return await self._desk.record(
            self._desk.ledger.mark_rejected, job_id, attempt_id, f"never sent: {reason}", retryable=True
        )
