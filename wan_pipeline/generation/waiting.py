"""Waiting: a submitted job is polled until its provider says how it ended. A poll that fails is only a poll that failed.

Durations are measured by the event loop's clock: the wall clock, which may jump by hours, only says how long a job of a
process that is gone has been out.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.pace import Pace
from wan_pipeline.providers.base import Failed, InProgress, Model, PollError, ProviderClient, Succeeded
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
    """Polls the jobs of one model."""

    def __init__(self, desk: Desk, client: ProviderClient, model: Model, pace: Pace) -> None:
        self._desk = desk
        self._client = client
        self._model = model
        self._pace = pace

    async def wait(self, job: Job, *, taken_over: bool = False) -> Succeeded | Failed | GaveUp:
        """Polls until the job has ended, the batch is stopped, or patience is at its end.

        `taken_over`: it was submitted by a process that is gone, so its time here teaches nothing.
        """
        if job.provider_job_id is None:
            raise ValueError(f"job {job.id} has no provider job id to ask about")
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        out_s = self._out_s(job) if taken_over else 0.0
        patience_s = max(PATIENCE_S - out_s, _LEAST_PATIENCE_S) if taken_over else PATIENCE_S
        unknown_since_s: float | None = None
        asked, seen, noted = False, False, ""
        while True:
            # A job taken over may have ended long ago: it is asked about at once.
            wait_s = 0.0 if taken_over and not asked else self._pace.next_wait_s(out_s + loop.time() - began_s)
            if await self._desk.sleep(wait_s):
                return GaveUp("stopped while the provider works on it; the next run collects it", stopped=True)
            outcome = await self._client.poll(self._model, job.provider_job_id)
            asked = True
            now_s = loop.time()
            match outcome:
                case Succeeded():
                    if not taken_over:
                        self._pace.learn(now_s - began_s)
                    return outcome
                case Failed():
                    return outcome
                case InProgress():
                    seen, unknown_since_s = True, None
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

    def _out_s(self, job: Job) -> float:
        out_s = (self._desk.parts.clock() - (job.submitted_at or job.claimed_at)).total_seconds()
        return min(max(0.0, out_s), _OUT_AT_MOST_S)
