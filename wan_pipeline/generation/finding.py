"""Finding: a job of which nobody knows whether its provider took it is looked for, and what is found out is written down.

Whoever meets one asks here. A look asks the provider's witnesses (`ProviderClient.look_for`), each testimony goes into the
ledger, and then: found, it goes on as if its answer had arrived; nowhere, and that for longer than any generation and its
bookkeeping take, it counts as never taken, and may be bought anew; anything else stands, and is looked for again later, or
a person decides. What does not belong here: what a witness is (providers/), and collecting what was found (completion.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.lanes import Lane, Lanes
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.providers.base import LostSubmission, Model, SearchResult, Sighting
from wan_pipeline.providers.words import shown
from wan_pipeline.spend.errors import LedgerError
from wan_pipeline.spend.records import Job, JobState, Look

_FIRST_LOOK_S = 3.0  # after a lost answer: what was taken is listed by then, mostly
_LOOK_AGAIN_S = 30.0  # doubled with each look
_LOOK_AGAIN_AT_MOST_S = 900.0
_UNTIRING = timedelta(days=1)  # after that only what a callback or a person brings is new
_SELDOM_S = 6 * 3600.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Search:
    """The job after a look: `ambiguous` still, for this `reason`; `submitted`, and then `mine` says whether it is the
    caller's to collect; `released`; or whatever somebody else has found out meanwhile."""

    job: Job
    reason: str
    mine: bool = False


class Finder:
    """Looks for the lost submissions of one batch."""

    def __init__(self, desk: Desk, lanes: Lanes) -> None:
        self._desk = desk
        self._lanes = lanes
        self._looking: dict[str, asyncio.Task[Search]] = {}

    def is_due(self, job: Job) -> bool:
        """Whether it is time to look. A moment further away than any that is ever set was set by a clock that has been put
        back since."""
        if job.state is not JobState.AMBIGUOUS:
            return False
        if job.next_look_at is None:
            return True
        left_s = (job.next_look_at - self._desk.parts.clock()).total_seconds()
        return not 0 < left_s <= _SELDOM_S

    async def soon(self, job: Job) -> Search:
        """For one whose answer was lost in this very batch: one look, after a moment."""
        if await self._desk.sleep(_FIRST_LOOK_S):
            return Search(job, await self.standing(job))
        return await self.look(job, at_once=True)

    async def look(self, job: Job, *, at_once: bool = False) -> Search:
        """Looks where it is due (or `at_once`). Of several parts of the batch that ask for the same job one looks, and is
        told `mine`. Whatever goes wrong is the reason why it stands; raises nothing of its own."""
        looking = self._looking.get(job.id)
        if looking is not None:
            theirs = await asyncio.shield(looking)
            return Search(theirs.job, theirs.reason)
        if (not at_once and not self.is_due(job)) or self._desk.stopped.is_set():
            return Search(job, await self.standing(job))
        task = self._looking[job.id] = asyncio.create_task(self._look(job))
        try:
            return await asyncio.shield(task)
        finally:
            if task.done():
                del self._looking[job.id]

    async def _look(self, job: Job) -> Search:
        try:
            model = self._desk.parts.find_model(job.model)
            lane = await self._lanes.lane(model.provider)
        except ConfigurationError as error:
            return Search(job, f"{await self.standing(job)} It cannot be looked for now: {error}")
        try:
            async with lane.looks:
                return await self._ask(job, model, lane)
        except Exception as error:  # noqa: BLE001 - the ledger out of reach: nothing is known that was not known before
            _log.warning("job %s (%s) could not be looked for", job.id, job.shot, exc_info=True)
            words = shown(f"{type(error).__name__}: {error}")
            return Search(job, f"{_known(job)} It could not be looked for now: {words}")

    async def _ask(self, job: Job, model: Model, lane: Lane) -> Search:
        desk, ledger = self._desk, self._desk.ledger
        job = await desk.record(ledger.job, job.id)
        if job.state is not JobState.AMBIGUOUS or job.attempt_id is None:
            return Search(job, "")  # somebody else has found out
        # Both clocks have to say so before absence counts: one alone may have jumped.
        began_at = min(await desk.record(ledger.now), desk.parts.clock())
        hints = await desk.record(ledger.hints, job.attempt_id)

        async def is_known(ids: Sequence[str]) -> frozenset[str]:
            return await desk.record(ledger.known_provider_jobs, job.provider, ids)

        result = await lane.client.look_for(
            LostSubmission(
                attempt_id=job.attempt_id,
                model=model,
                arguments=job.arguments,
                input_keys={item["slot"]: item["key"] for item in job.inputs},
                sent_at=_sent_at(job),
                now=desk.parts.clock(),
                hints=hints,
                is_known=is_known,
                account=await desk.record(ledger.sent_with, job.attempt_id),
            )
        )
        settled = began_at >= self.absent_from(job)
        return await self._conclude(job, result, settled=settled)

    async def _conclude(self, job: Job, result: SearchResult, *, settled: bool) -> Search:
        desk, ledger = self._desk, self._desk.ledger
        now = desk.parts.clock()
        looks = [Look(each.witness, str(each.sighting), each.detail, now) for each in result.testimonies]
        decided = (result.sighting is Sighting.FOUND and bool(result.provider_job_id)) or (
            result.sighting is Sighting.ABSENT and settled
        )
        # Written first, and due at once where it decides: a process that dies in between leaves it to the next one.
        job = await desk.record(ledger.record_look, job.id, looks, now if decided else self._next_look(job, now))
        try:
            if result.sighting is Sighting.FOUND and result.provider_job_id:
                said = f"found by looking: {_testimonies(looks)}"
                job = await desk.record(ledger.resolve_found, job.id, result.provider_job_id, said, result.reported)
                return Search(job, "", mine=True)
            if decided:
                job = await desk.record(ledger.resolve_absent, job.id, _testimonies(looks))
                return Search(job, f"{job.provider} never took it ({_testimonies(looks)}): it may be bought anew")
        except LedgerError as error:  # somebody else was quicker, or the id is another job's
            _log.warning("job %s: %s", job.id, error)
            job = await desk.record(ledger.job, job.id)
            if job.state is JobState.AMBIGUOUS:
                job = await desk.record(ledger.record_look, job.id, [], self._next_look(job, now))
        return Search(job, await self.standing(job))

    # --- moments ---

    def absent_from(self, job: Job) -> datetime:
        """From when on "the provider has no such job" is believed."""
        return _sent_at(job) + self._desk.parts.absent_after

    def _next_look(self, job: Job, now: datetime) -> datetime:
        """Ever more seldom; and as soon as absence counts."""
        if now - _sent_at(job) > _UNTIRING + self._desk.parts.absent_after:
            return now + timedelta(seconds=_SELDOM_S)
        again = now + timedelta(seconds=min(_LOOK_AGAIN_AT_MOST_S, _LOOK_AGAIN_S * 2 ** min(job.looks, 20)))
        settled = self.absent_from(job) + timedelta(seconds=1)
        return settled if now < settled < again else again

    # --- words ---

    async def standing(self, job: Job) -> str:
        """What is known of one that stays ambiguous, since when, what hangs on it, and what happens next."""
        looks = (await self._desk.record(self._desk.ledger.looks, job.id))[-6:]
        words = [_known(job)]
        if looks:
            newest = [look for look in looks if look.at == looks[-1].at]
            words.append(f"Looked for {job.looks} time{'s' * (job.looks != 1)}: {_testimonies(newest)}.")
        again = f"{job.next_look_at:%Y-%m-%d %H:%M:%S} UTC" if job.next_look_at else "the next run"
        words.append(f"It is looked for again at {again}; that it is not there is believed from")
        words.append(f"{self.absent_from(job):%Y-%m-%d %H:%M} UTC on, where {job.provider} can tell.")
        words.append(f"`wan-pipeline resolve {job.id}` writes down what you found out yourself.")
        return " ".join(words)


def _sent_at(job: Job) -> datetime:
    return job.sent_at or job.claimed_at


def _known(job: Job) -> str:
    since = f", unknown since {job.doubted_at:%H:%M:%S}" if job.doubted_at else ""
    return (
        f"ambiguous: {job.error or 'no answer'}. Nobody knows whether {job.provider} took it: sent"
        f" {_sent_at(job):%Y-%m-%d %H:%M:%S} UTC{since}, {job.held} USD are held, and it is not sent again."
    )


def _testimonies(looks: Sequence[Look]) -> str:
    return "; ".join(f"{look.witness}: {look.verdict}, {look.detail}" for look in looks) or "no witness"
