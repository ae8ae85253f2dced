"""Jobs left behind by processes that are gone: while this batch waits for a place at a provider, it sees to them.

The limits of all processes together are counted in the ledger, and there a job keeps its place until somebody has seen it
through. A batch of other shots, with no recovery sensor at work (`run --shot` alone), would wait for that place for ever.
So would a shot of this batch whose earlier job has the place: it collects that one only after what it waits for. And a
claim whose answer was lost may have made this batch the holder of a job that nobody in it knows of.
"""

from __future__ import annotations

import logging

from wan_pipeline.generation.completion import Completer
from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.lanes import Lanes
from wan_pipeline.spend.records import Job, JobState, Joined

_LOOK_EVERY_S = 10.0
_log = logging.getLogger(__name__)


class LeftBehind:
    """Of one batch."""

    def __init__(self, desk: Desk, lanes: Lanes, completer: Completer) -> None:
        self._desk = desk
        self._lanes = lanes
        self._completer = completer
        self._unattended: set[str] = set()  # held by this batch, and nobody was at it when last looked

    async def watch(self) -> None:
        """For as long as the batch lives. Buys nothing; raises nothing of its own."""
        while not await self._desk.sleep(_LOOK_EVERY_S):
            busy = self._lanes.busy
            if not busy:
                continue
            try:
                jobs = await self._desk.record(self._desk.ledger.settle_orphans, simulated=self._desk.parts.simulated)
                mine = await self._forgotten()
            except Exception:  # noqa: BLE001 - the ledger is out of reach: the next look may pass
                _log.warning("it could not be seen whose jobs take the places", exc_info=True)
                continue
            for job in jobs:
                if job.provider in busy and job.state is JobState.SUBMITTED:
                    self._desk.aside(self._collect(job))
            for job in mine:
                if job.provider in busy:
                    self._desk.aside(self._see_through(job))

    async def _forgotten(self) -> list[Job]:
        """What this batch holds and nobody in it is at, for two looks in a row: an answer that is on its way has come."""
        held = await self._desk.record(self._desk.ledger.held, JobState.SUBMITTED)
        found = {job.id: job for job in held if self._completer.is_forgotten(job)}
        seen_before, self._unattended = self._unattended, set(found)
        return [found[job_id] for job_id in seen_before & set(found)]

    async def _collect(self, job: Job) -> None:
        try:
            outcome = await self._desk.record(self._desk.ledger.take_over, job.id)
        except Exception:  # noqa: BLE001 - it stays what it was, for the next run
            _log.warning("job %s of %s, left behind, stays as it is", job.id, job.shot, exc_info=True)
            return
        if isinstance(outcome, Joined) and outcome.mine:
            await self._see_through(outcome.job)

    async def _see_through(self, job: Job) -> None:
        try:
            ended = await self._completer.take_over(job, lambda state, note: None)
            _log.info("job %s of %s, left behind at %s: %s", job.id, job.shot, job.provider, ended.verdict)
        except Exception:  # noqa: BLE001 - it stays what it was, for the next run
            _log.warning("job %s of %s, left behind, stays as it is", job.id, job.shot, exc_info=True)
