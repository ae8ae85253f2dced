"""Waiting: a submitted job is polled until its provider says how it ended. A poll that fails is only a poll that failed.

Durations are measured by the event loop's clock: the wall clock, which may jump by hours, only says how long a job of a
process that is gone has been out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.list_reading import ListReader
from wan_pipeline.generation.pace import UsualTimes
from wan_pipeline.generation.watch import Watch, Watched, Woken
from wan_pipeline.providers.base import Failed, InProgress, Model, PollError, PollOutcome, ProviderClient, Succeeded
from wan_pipeline.spend.records import Job

PATIENCE_S = 3 * 3600  # longer than the longest generation; afterwards the next run asks again
_LEAST_PATIENCE_S = 600.0  # for a job that was out that long before: the clock that says so may have jumped
_OUT_AT_MOST_S = 7 * 24 * 3600.0
_UNKNOWN_PATIENCE_S = 300  # how long a provider may say that it knows no such job
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Not ended within this batch; the job stays in flight and the next run asks again. `stopped`: for no other reason
    than that the batch was. `unknown`: the provider does not know it. `seen`: in this wait it has said that it does."""

    reason: str
    stopped: bool = False
    unknown: bool = False
    seen: bool = False


class Waiter:
    """Polls the jobs of one model. `usual_times`: of the model, once they are looked up. `reader`: of the provider's list,
    where it has one: it may tell of an end before a poll does."""

    def __init__(
        self,
        desk: Desk,
        client: ProviderClient,
        model: Model,
        usual_times: Callable[[], Awaitable[UsualTimes]],
        watch: Watch,
        reader: ListReader | None,
    ) -> None:
        self._desk = desk
        self._client = client
        self._model = model
        self._usual_times = usual_times
        self._watch = watch
        self._reader = reader

    async def wait(self, job: Job, *, taken_over: bool = False) -> Succeeded | Failed | GaveUp:
        """Polls until the job has ended, the batch is stopped, or patience is at its end.

        `taken_over`: it was submitted by a process that is gone, so its time here teaches nothing.
        """
        if job.provider_job_id is None:
            raise ValueError(f"job {job.id} has no provider job id to ask about")
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        out_s = self._out_s(job) if taken_over else 0.0
        times = await self._usual_times()
        with self._watch.over(job, job.provider_job_id, times, out_s + loop.time() - began_s) as watched:
            return await self._wait(job, watched, out_s, began_s, taken_over=taken_over)

    async def _wait(
        self, job: Job, watched: Watched, out_s: float, began_s: float, *, taken_over: bool
    ) -> Succeeded | Failed | GaveUp:
        loop = asyncio.get_running_loop()
        patience_s = max(PATIENCE_S - out_s, _LEAST_PATIENCE_S) if taken_over else PATIENCE_S
        unknown_since_s: float | None = None
        asked, seen, noted = False, False, ""
        watched.listable = not taken_over
        while True:
            # A job taken over may have ended long ago: it is asked about at once.
            outcome = await self._next(watched, at_once=taken_over and not asked)
            if outcome is None:
                return GaveUp("stopped while the provider works on it; the next run collects it", stopped=True)
            asked = watched.listable = True
            now_s = loop.time()
            match outcome:
                case Succeeded():
                    if not taken_over:
                        watched.took()
                    return outcome
                case Failed():
                    return outcome
                case InProgress():
                    seen, unknown_since_s = True, None
                    watched.runs(watched.age_s)
                    if outcome.note and outcome.note != noted:
                        noted = outcome.note
                        _log.warning("%s, job %s: %s", job.shot, job.provider_job_id, noted)
                case PollError(gone=True):
                    unknown_since_s = now_s if unknown_since_s is None else unknown_since_s
                    if now_s - unknown_since_s > _UNKNOWN_PATIENCE_S:
                        said = f"{job.provider} does not know job {job.provider_job_id}: {outcome.reason}"
                        return GaveUp(said, unknown=True, seen=seen)
                case PollError():
                    pass
            if now_s - began_s > patience_s:
                return GaveUp(f"not ended after {PATIENCE_S // 3600} hours at {job.provider}", seen=seen)

    async def _next(self, watched: Watched, *, at_once: bool) -> PollOutcome | None:
        """What is heard of the job next, by a poll when it is time for one or by the list. None: the batch is stopped."""
        while True:
            covered = watched.covered
            wait_s = 0.0 if at_once else watched.pace.next_wait_s(watched.age_s, watched=covered)
            woken = await watched.sleep(wait_s)
            if woken is Woken.STOPPED:
                return None
            if watched.told is None and (
                at_once or watched.hinted or (woken is Woken.DUE and watched.covered is covered)
            ):
                outcome = await watched.unless_told(self._client.poll(self._model, watched.provider_job_id))
                self._compare(watched, outcome)
                if outcome is not None or watched.told is None:
                    return outcome
            if watched.told is not None:
                return watched.told

    def _compare(self, watched: Watched, outcome: PollOutcome | None) -> None:
        """What a poll has found with what the list says."""
        hinted, watched.hinted = watched.hinted, False
        if self._reader is not None:
            if isinstance(outcome, InProgress) and hinted:
                self._reader.contradicted()
            elif isinstance(outcome, Succeeded) and not hinted:
                self._reader.found_by_poll(watched)

    def _out_s(self, job: Job) -> float:
        out_s = (self._desk.parts.clock() - (job.submitted_at or job.claimed_at)).total_seconds()
        return min(max(0.0, out_s), _OUT_AT_MOST_S)
