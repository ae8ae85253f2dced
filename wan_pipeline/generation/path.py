"""One shot's way through: inspect, quote, claim, submit, wait, collect, record. docs/architecture.md tells the steps.

Each shot goes alone; what happens to it is its own. What does not belong here: how a step is done (its own module).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from wan_pipeline.generation.buying import Buyer, Lost
from wan_pipeline.generation.completion import Ending
from wan_pipeline.generation.deferring import PASSING, told
from wan_pipeline.generation.endings import Endings
from wan_pipeline.generation.events import Finished, Inspected, Quoted, Stage, Verdict
from wan_pipeline.generation.runway import Turn
from wan_pipeline.generation.tools import BatchTools
from wan_pipeline.generation.waiting import PATIENCE_S
from wan_pipeline.generation.wanted import Wanted
from wan_pipeline.money import ZERO
from wan_pipeline.shots.shot import Shot
from wan_pipeline.spend.errors import NotHolderError
from wan_pipeline.spend.records import (
    Bought,
    ClaimOptions,
    ClaimOutcome,
    Job,
    JobState,
    Joined,
    NotBought,
    Outdated,
    OverBudget,
    ProviderBusy,
    Reused,
    Standing,
)

# Between looks at a job that somebody else holds. Each is a claim: a thousand shots that look once a second would keep
# the ledger from the process that works.
_OTHERS_WAIT_S, _OTHERS_WAIT_SHARE, _OTHERS_WAIT_AT_MOST_S = 1.0, 0.2, 15.0
_TIDY_AGAIN_S = 5.0
_OUTDATED = "a _defaults.yaml has changed since this video was made; run --outdated makes it anew"
_NOT_THERE = "was bought and stored, but is gone from the bucket: restore it, or ask for a new take"
_NO_TURN = "the batch was stopped before its turn came; the next run sees to it"
_NEVER_TAKEN = "it was never taken; the next run that may buy makes it"
_LOST_AGAIN = "its submission was lost more than once, and was never taken"
_log = logging.getLogger(__name__)


class Path:
    """The way of one shot in one batch."""

    def __init__(self, shot: Shot, tools: BatchTools, turn: Turn) -> None:
        self._shot = shot
        self._tools = tools
        self._turn = turn
        self._desk = tools.desk
        self._options = tools.options
        self._endings = Endings(shot, tools)
        self._buyer = Buyer(shot, tools, self._endings, turn)
        self._others_since_s: float | None = None
        self._forgotten = False  # the job that is waited for, when last looked at
        self._absent = 0  # jobs of this shot that this batch has found to be nowhere

    async def go(self) -> Finished:
        """Goes as far as the batch's stage; gives how it ended. Raises only what nobody foresaw."""
        try:
            finished = await self._go()
        except PASSING as error:
            _log.warning("shot %s is put off", self._shot.key, exc_info=True)
            finished = self._endings.put_off(told(error))
            self._desk.aside(self._tidy())
        for job in self._tools.earlier.get(self._shot.key, ()):
            if job.id != finished.job_id and not self._desk.stopped.is_set():
                await self._collect_earlier(job)
        return finished

    async def _go(self) -> Finished:
        tools, shot, endings = self._tools, self._shot, self._endings
        if self._desk.hurried and shot.key not in tools.earlier:
            return endings.end(Verdict.STOPPED, _NO_TURN)
        inspection = await tools.inspector.inspect(shot)
        tools.emit(Inspected(shot, inspection.inputs, inspection.problems, inspection.digest))
        if inspection.unread and tools.stage is Stage.GENERATE:
            return endings.put_off("; ".join(map(str, inspection.problems)))
        if inspection.problems or shot.order is None or shot.model_id is None:
            return endings.not_ready(inspection.problems)
        if tools.stage is Stage.INSPECT:
            return endings.end(Verdict.INSPECTED)
        parts = self._desk.parts
        model = parts.find_model(shot.model_id)
        wanted = Wanted.of(shot, shot.order, model, inspection, simulated=parts.simulated, run_id=tools.run_id)
        endings.quote = wanted.quote
        tools.emit(Quoted(shot, wanted.quote, shot.order.warnings, wanted.frozen.request_hash))
        if tools.stage is Stage.QUOTE:
            return endings.end(Verdict.QUOTED)
        return await self._settle(wanted)

    # --- what is there already, and what has to be bought ---

    async def _settle(self, wanted: Wanted) -> Finished:
        while True:
            try:
                finished = await self._look(wanted)
            except NotHolderError as error:  # this host slept, and another one has taken the job over: see how it does
                _log.warning("%s", error)
                finished = None
                await self._desk.sleep(_OTHERS_WAIT_S)
            if finished is not None:
                return finished
            # What a person asked for has begun, here or elsewhere: its end is the answer. Asked again with the same words,
            # the ledger would buy a second new take.
            self._options = replace(self._options, new_take=False, retry_failed=False)

    async def _look(self, wanted: Wanted) -> Finished | None:
        """None: the claim gives another answer now."""
        outcome = await self._claim(wanted, replace(self._options, collect_only=True))
        if not isinstance(outcome, NotBought):
            return await self._without_buying(wanted, outcome)
        if self._options.collect_only:
            if self._absent:
                return self._endings.end(Verdict.STOPPED, _NEVER_TAKEN)
            return self._endings.end(Verdict.FAILED, f"not bought: {outcome.reason}")
        if self._absent > 1:
            return self._endings.put_off(_LOST_AGAIN)
        came = await self._buyer.buy(wanted, self._options)
        match came:
            case Finished():
                return came
            case Ending():
                return await self._ended(wanted, came)
            case Lost(job=job):
                return await self._seek(job, sent_now=True)
            case _:
                return await self._without_buying(wanted, came)

    async def _claim(self, wanted: Wanted, options: ClaimOptions) -> ClaimOutcome:
        return await self._desk.record(self._desk.ledger.claim, wanted.frozen, self._desk.parts.budgets, options)

    async def _without_buying(self, wanted: Wanted, outcome: ClaimOutcome) -> Finished | None:
        """Ends the shot by what the ledger says of it; None: look again (another process works on it)."""
        endings, tools = self._endings, self._tools
        self._turn.over()
        match outcome:
            case Reused():
                video = await tools.shelf.take_down(self._shot, outcome, wanted.frozen)
                if video is not None:
                    return endings.end(Verdict.REUSED, job=outcome.job, video=video)
                return endings.end(Verdict.FAILED, f"{outcome.job.video_key} {_NOT_THERE}", job=outcome.job)
            case Outdated():
                video = await tools.shelf.as_it_stands(outcome.job, outcome.take)
                return endings.end(Verdict.OUTDATED, _OUTDATED, job=outcome.job, video=video)
            case Standing(job=job) if job.state is JobState.AMBIGUOUS:
                return await self._seek(job)
            case Standing(job=job):
                reason = f"{job.state}: {job.error or 'no reason given'}. {outcome.remedy}"
                return endings.end(Verdict.FAILED, reason, job=job)
            case OverBudget():
                return endings.over_budget(outcome, wanted.model.provider)
            case Joined(job=job, mine=True):
                return await self._ended(wanted, await tools.completer.take_over(job, endings.tell))
            case Joined(job=job):
                return await self._wait_for_others(wanted, job)
            case NotBought(reason=reason):
                return endings.end(Verdict.FAILED, f"not bought: {reason}")
            case Bought() | ProviderBusy():
                raise RuntimeError(f"{self._shot.key}: the ledger let a claim buy that was to collect only")

    async def _wait_for_others(self, wanted: Wanted, job: Job) -> Finished | None:
        """Somebody works on the job: another process, or another shot of this batch. None: look again. Where this batch
        holds it and nobody sees to it, for two looks in a row, this shot does."""
        endings = self._endings
        seen_before, self._forgotten = self._forgotten, self._tools.completer.is_forgotten(job)
        if seen_before and self._forgotten:
            return await self._ended(wanted, await self._tools.completer.take_over(job, endings.tell))
        given_up = self._tools.completer.left_open(job)
        if given_up is not None:
            return endings.end(Verdict.IN_FLIGHT, f"{job.shot} has the same request: {given_up}", job=job)
        now_s = asyncio.get_running_loop().time()
        self._others_since_s = now_s if self._others_since_s is None else self._others_since_s
        waited_s = now_s - self._others_since_s
        if waited_s > PATIENCE_S:
            return endings.end(Verdict.IN_FLIGHT, "another run has held it for hours; the next run asks", job=job)
        if await self._desk.sleep(min(_OTHERS_WAIT_AT_MOST_S, max(_OTHERS_WAIT_S, waited_s * _OTHERS_WAIT_SHARE))):
            return endings.end(Verdict.IN_FLIGHT, "stopped; another run works on it", job=job)
        return None

    # --- a job of which nobody knows ---

    async def _seek(self, job: Job, *, sent_now: bool = False) -> Finished | None:
        """Looks for it; found, it goes on as if its answer had arrived. None: the claim gives another answer now."""
        finder = self._tools.finder
        search = await (finder.soon(job) if sent_now else finder.look(job))
        job = search.job
        if job.state is JobState.AMBIGUOUS:
            return self._endings.end(Verdict.AMBIGUOUS, search.reason, job=job, billed=None if sent_now else ZERO)
        if search.mine:
            return self._endings.of_job(await self._collect_found(job))
        self._absent += job.state is JobState.RELEASED
        return None

    async def _collect_found(self, job: Job) -> Ending:
        self._endings.tell(job.state, f"found as {job.provider_job_id}")
        return await self._tools.completer.take_over(job, self._endings.tell)

    # --- a job that the provider works on ---

    async def _ended(self, wanted: Wanted, ending: Ending) -> Finished:
        """The shot's end by a job's. The job may be another shot's that is gone: then the video is copied."""
        video = ending.video
        if video is not None and ending.job.shot != self._shot.key:
            outcome = await self._claim(wanted, ClaimOptions(collect_only=True))
            if isinstance(outcome, Reused):
                copied = await self._tools.shelf.take_down(self._shot, outcome, wanted.frozen)
                video = replace(copied, billed=video.billed, basis=video.basis) if copied else video
        return self._endings.of_job(replace(ending, video=video))

    async def _collect_earlier(self, job: Job) -> None:
        """A job that was in flight or ambiguous as the batch began, for a request that its shot does not make any more (its
        files have changed since): it is paid for, or may be, so it is looked for and collected as the take that it was."""
        tools, tell = self._tools, self._endings.tell
        try:
            ended: Ending | None = None
            if job.state is not JobState.AMBIGUOUS:
                outcome = await self._desk.record(self._desk.ledger.take_over, job.id)
                job = outcome.job
                if isinstance(outcome, Joined) and outcome.mine:
                    ended = await tools.completer.take_over(job, tell)
            if job.state is JobState.AMBIGUOUS:
                search = await tools.finder.look(job)
                if search.mine:
                    ended = await self._collect_found(search.job)
            if ended is not None:
                tell(ended.job.state, f"take {job.take}, asked for before: {ended.verdict}")
        except Exception:  # noqa: BLE001 - how the shot itself has ended stays true
            _log.warning("job %s, an earlier take of %s, stays as it is", job.id, self._shot.key, exc_info=True)

    # --- after trouble ---

    async def _tidy(self) -> None:
        """A claim, or a next attempt, whose answer was lost may have been written all the same, and would then take a place
        of its provider's limits for as long as this batch lives. What this batch has not sent was certainly not sent."""
        desk = self._desk
        while not await desk.sleep(_TIDY_AGAIN_S):
            try:
                for job in await desk.record(desk.ledger.open_jobs, [self._shot.key], simulated=desk.parts.simulated):
                    mine = job.state is JobState.SUBMITTING and job.owner == desk.ledger.owner_id
                    if mine and job.attempt_id and job.attempt_id not in desk.posted:
                        # Another shot with the same request may have opened the job again, and be about to send it.
                        desk.disowned.add(job.attempt_id)
                        said = "never sent: the ledger was out of reach"
                        await desk.record(desk.ledger.mark_rejected, job.id, job.attempt_id, said, retryable=True)
                return
            except PASSING:
                _log.debug("the ledger is out of reach still", exc_info=True)
