"""Waiting: a submitted job is polled until its provider says how it ended. A poll that fails is only a poll that failed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.pace import Pace
from wan_pipeline.providers.base import Failed, InProgress, Model, PollError, ProviderClient, Succeeded
from wan_pipeline.spend.records import Job

PATIENCE_S = 3 * 3600  # longer than the longest generation; afterwards the next run asks again
_UNKNOWN_PATIENCE_S = 300  # how long a provider may say that it knows no such job
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Not ended within this batch; the job stays in flight and the next run asks again."""

    reason: str


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
        since = job.submitted_at or job.claimed_at
        unknown_since: datetime | None = None
        asked, noted = False, ""
        while True:
            waited_s = (datetime.now(UTC) - since).total_seconds()
            # A job taken over may have ended long ago: it is asked about at once.
            wait_s = 0.0 if taken_over and not asked else self._pace.next_wait_s(max(0.0, waited_s))
            if await self._desk.sleep(wait_s):
                return GaveUp("stopped while the provider works on it; the next run collects it")
            outcome = await self._client.poll(self._model, job.provider_job_id)
            asked = True
            now = datetime.now(UTC)
            match outcome:
                case Succeeded():
                    if not taken_over:
                        self._pace.learn((now - since).total_seconds())
                    return outcome
                case Failed():
                    return outcome
                case InProgress():
                    unknown_since = None
                    if outcome.note and outcome.note != noted:
                        noted = outcome.note
                        _log.warning("%s, job %s: %s", job.shot, job.provider_job_id, noted)
                case PollError(gone=True):
                    unknown_since = unknown_since or now
                    if (now - unknown_since).total_seconds() > _UNKNOWN_PATIENCE_S:
                        return GaveUp(f"{job.provider} does not know job {job.provider_job_id}: {outcome.reason}")
                case PollError():
                    pass
            if (now - since).total_seconds() > PATIENCE_S:
                return GaveUp(f"not ended after {PATIENCE_S // 3600} hours at {job.provider}; the next run asks again")
