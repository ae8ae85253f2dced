"""One shot's way through: inspect, quote, claim, submit, wait, collect, record. docs/architecture.md tells the steps.

Each shot goes alone; what happens to it is its own. What does not belong here: how a step is done (its own module).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from wan_pipeline.generation import deferring
from wan_pipeline.generation.completion import Completer, Ending
from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.events import (
    Deferred,
    Event,
    Finished,
    Inspected,
    Progress,
    Quoted,
    Stage,
    Verdict,
    VideoResult,
)
from wan_pipeline.generation.finding import Finder
from wan_pipeline.generation.gate import Closed, GateClosedError, Place
from wan_pipeline.generation.inspection import Inspection, Inspector
from wan_pipeline.generation.lanes import Lane, Lanes
from wan_pipeline.generation.results import Shelf
from wan_pipeline.generation.submission import Answer, Submission, UnwrittenError, delivery_problems, request_body
from wan_pipeline.generation.waiting import PATIENCE_S
from wan_pipeline.money import ZERO, Money
from wan_pipeline.problems import ConfigurationError, Problem
from wan_pipeline.providers.base import JsonObject, Model, Order, Quote, request_hash
from wan_pipeline.shots.shot import Shot
from wan_pipeline.spend.errors import NotHolderError
from wan_pipeline.spend.records import (
    Bought,
    ClaimOptions,
    ClaimOutcome,
    Job,
    JobRequest,
    JobState,
    Joined,
    NotBought,
    Outdated,
    OverBudget,
    ProviderBusy,
    Reused,
    Standing,
    SubmitLimits,
)

# Between looks at a job that somebody else holds. Each is a claim: a thousand shots that look once a second would keep
# the ledger from the process that works.
_OTHERS_WAIT_S, _OTHERS_WAIT_SHARE, _OTHERS_WAIT_AT_MOST_S = 1.0, 0.2, 15.0
_OUTDATED = "a _defaults.yaml has changed since this video was made; run --outdated makes it anew"
_NOT_THERE = "was bought and stored, but is gone from the bucket: restore it, or ask for a new take"
_STOPPED = "the batch was stopped before it was bought; the next run makes it"
_LOST_AGAIN = "its submission was lost twice and was never taken"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchTools:
    """What all shots of a batch share."""

    desk: Desk
    lanes: Lanes
    inspector: Inspector
    completer: Completer
    finder: Finder
    shelf: Shelf
    stage: Stage
    options: ClaimOptions
    emit: Callable[[Event], None]
    run_id: str | None
    earlier: Mapping[str, Sequence[Job]]  # by shot: in flight or ambiguous as the batch began
    put_off: deferring.Times


@dataclass(frozen=True, slots=True)
class _Request:
    """A shot that may be bought: its model, order, inputs and price."""

    model: Model
    order: Order
    inspection: Inspection
    quote: Quote
    frozen: JobRequest


class Path:
    """The way of one shot in one batch."""

    def __init__(self, shot: Shot, tools: BatchTools) -> None:
        self._shot = shot
        self._tools = tools
        self._desk = tools.desk
        self._options = tools.options
        self._quote: Quote | None = None
        self._others_since_s: float | None = None
        self._absent = 0  # jobs of this shot that this batch has found to be nowhere

    async def go(self) -> Finished:
        """Goes as far as the batch's stage; gives how it ended. Raises only what nobody foresaw."""
        try:
            finished = await self._go()
        except deferring.PASSING as error:
            _log.warning("shot %s is put off", self._shot.key, exc_info=True)
            finished = self._put_off(deferring.told(error))
        for job in self._tools.earlier.get(self._shot.key, ()):
            if job.id != finished.job_id and not self._desk.stopped.is_set():
                await self._collect_earlier(job)
        return finished

    async def _go(self) -> Finished:
        tools, shot = self._tools, self._shot
        inspection = await tools.inspector.inspect(shot)
        tools.emit(Inspected(shot, inspection.inputs, inspection.problems, inspection.digest))
        if inspection.unread and tools.stage is Stage.GENERATE:
            return self._put_off("; ".join(map(str, inspection.problems)))
        if inspection.problems or shot.order is None or shot.model_id is None:
            return self._not_ready(inspection.problems)
        if tools.stage is Stage.INSPECT:
            return self._finished(Verdict.INSPECTED)
        request = self._request(shot.order, self._desk.parts.find_model(shot.model_id), inspection)
        self._quote = request.quote
        tools.emit(Quoted(shot, request.quote, shot.order.warnings, request.frozen.request_hash))
        if tools.stage is Stage.QUOTE:
            return self._finished(Verdict.QUOTED)
        return await self._settle(request)

    def _request(self, order: Order, model: Model, inspection: Inspection) -> _Request:
        shot, inputs = self._shot, inspection.inputs
        quote = model.quote(order, inputs)
        frozen = JobRequest(
            shot=shot.key,
            provider=model.provider,
            model=model.id,
            request_hash=request_hash(model, order, inputs),
            own_digest=inspection.digest,
            arguments=model.body(order, {item.slot: f"sha256:{item.sha256}" for item in inputs}),
            inputs=tuple({"slot": str(item.slot), "key": item.key, "sha256": item.sha256} for item in inputs),
            duration_s=order.duration_s,
            resolution=order.resolution,
            has_audio=order.has_audio,
            campaign=shot.campaign,
            quoted_low=quote.low,
            quoted_high=quote.high,
            simulated=self._desk.parts.simulated,
            run_id=self._tools.run_id,
        )
        return _Request(model, order, inspection, quote, frozen)

    # --- what is there already, and what has to be bought ---

    async def _settle(self, request: _Request) -> Finished:
        while True:
            try:
                finished = await self._look(request)
            except NotHolderError as error:  # this host slept, and another one has taken the job over: see how it does
                _log.warning("%s", error)
                finished = None
                await self._desk.sleep(_OTHERS_WAIT_S)
            if finished is not None:
                return finished

    async def _look(self, request: _Request) -> Finished | None:
        outcome = await self._claim(request, replace(self._options, collect_only=True))
        if not isinstance(outcome, NotBought):
            return await self._without_buying(request, outcome)
        if self._options.collect_only:
            if self._absent:
                return self._finished(Verdict.STOPPED, "it was never taken; the next run that may buy makes it")
            return self._finished(Verdict.FAILED, f"not bought: {outcome.reason}")
        return await self._buy(request)

    async def _claim(
        self, request: _Request, options: ClaimOptions, limits: SubmitLimits | None = None
    ) -> ClaimOutcome:
        budgets = self._desk.parts.budgets
        return await self._desk.record(self._desk.ledger.claim, request.frozen, budgets, options, limits)

    async def _without_buying(self, request: _Request, outcome: ClaimOutcome) -> Finished | None:
        """Ends the shot by what the ledger says of it; None: look again (another process works on it)."""
        match outcome:
            case Reused():
                video = await self._tools.shelf.take_down(self._shot, outcome, request.frozen)
                if video is not None:
                    return self._finished(Verdict.REUSED, job=outcome.job, video=video)
                return self._finished(Verdict.FAILED, f"{outcome.job.video_key} {_NOT_THERE}", job=outcome.job)
            case Outdated():
                video = await self._tools.shelf.as_it_stands(outcome.job, outcome.take)
                return self._finished(Verdict.OUTDATED, _OUTDATED, job=outcome.job, video=video)
            case Standing(job=job) if job.state is JobState.AMBIGUOUS:
                return await self._seek(job)
            case Standing(job=job):
                reason = f"{job.state}: {job.error or 'no reason given'}. {outcome.remedy}"
                return self._finished(Verdict.FAILED, reason, job=job)
            case OverBudget():
                reason, deferred = deferring.over_budget(outcome, request.model.provider)
                return self._finished(Verdict.DEFERRED, reason, deferred=deferred)
            case ProviderBusy(reason=reason):
                raise RuntimeError(f"{self._shot.key}: a claim that was to collect only asked for limits: {reason}")
            case Joined(job=job, mine=True):
                return await self._ended(request, await self._tools.completer.take_over(job, self._tell))
            case Joined(job=job):
                return await self._wait_for_others(job)
            case NotBought(reason=reason):
                return self._finished(Verdict.FAILED, f"not bought: {reason}")
            case Bought():
                raise RuntimeError(f"{self._shot.key}: the ledger let a claim buy that was to collect only")

    async def _wait_for_others(self, job: Job) -> Finished | None:
        """Somebody works on the job: another process, or another shot of this batch. None: look again."""
        given_up = self._tools.completer.left_open(job)
        if given_up is not None:
            return self._finished(Verdict.IN_FLIGHT, f"{job.shot} has the same request: {given_up}", job=job)
        # Whoever waits for somebody else's video has asked for that one: what it comes to is the answer, and a second
        # click on "new take" or "retry" buys nothing beside it.
        self._options = replace(self._options, new_take=False, retry_failed=False)
        now_s = asyncio.get_running_loop().time()
        self._others_since_s = now_s if self._others_since_s is None else self._others_since_s
        waited_s = now_s - self._others_since_s
        if waited_s > PATIENCE_S:
            return self._finished(Verdict.IN_FLIGHT, "another run has held it for hours; the next run asks", job=job)
        if await self._desk.sleep(min(_OTHERS_WAIT_AT_MOST_S, max(_OTHERS_WAIT_S, waited_s * _OTHERS_WAIT_SHARE))):
            return self._finished(Verdict.IN_FLIGHT, "stopped; another run works on it", job=job)
        return None

    async def _buy(self, request: _Request) -> Finished | None:
        shot = self._shot
        if shot.not_before is not None and self._desk.parts.clock() < shot.not_before:
            return self._finished(Verdict.NOT_DUE, f"not before {shot.not_before.isoformat()}")
        unreachable = await self._desk.files(
            delivery_problems, self._desk.bucket, request.model, request.inspection.inputs
        )
        if unreachable:
            return self._not_ready(tuple(unreachable))
        if self._absent > 1:
            return self._put_off(_LOST_AGAIN)
        try:
            lane = await self._tools.lanes.lane(request.model.provider)
            await lane.gate.enter()
        except ConfigurationError as error:
            return self._finished(Verdict.FAILED, f"not bought: {error}")
        except GateClosedError as error:
            return self._closed(error.kind, error.reason)
        place = Place(lane.gate)
        try:
            return await self._buy_at(request, lane, place)
        except GateClosedError as error:
            return self._closed(error.kind, error.reason)
        finally:
            place.leave(unused=True)

    async def _buy_at(self, request: _Request, lane: Lane, place: Place) -> Finished | None:
        """From a place in the gate. Raises GateClosedError where it closes before anything was bought."""
        while True:
            # The URLs are made fresh, and before the claim: what fails here has cost nothing and holds nothing.
            body = await self._desk.files(
                request_body, self._desk.bucket, request.model, request.order, request.inspection.inputs
            )
            lane.gate.raise_if_closed()
            outcome = await self._claim(request, self._options, lane.limits)
            match outcome:
                case ProviderBusy():
                    place.busy(outcome.wait_s)
                    await place.again(first=True)
                case Bought():
                    place.through()
                    return await self._carry_out(request, outcome, lane, place, body)
                case _:
                    place.leave(unused=True)
                    return await self._without_buying(request, outcome)

    def _closed(self, kind: Closed, reason: str) -> Finished:
        """The gate was closed before this shot was bought."""
        match kind:
            case Closed.STOPPED:
                return self._finished(Verdict.STOPPED, _STOPPED)
            case Closed.UNREACHED:
                return self._put_off(f"not bought: {reason}")
            case Closed.DENIED:
                return self._finished(Verdict.FAILED, f"not bought: {reason}")

    async def _carry_out(
        self, request: _Request, bought: Bought, lane: Lane, place: Place, body: JsonObject
    ) -> Finished | None:
        completer = self._tools.completer
        try:
            sent = await lane.submitter.submit(bought, request.model, body, place)
        except UnwrittenError as error:
            reason = completer.leave_open(bought.job, str(error))
            return self._finished(Verdict.AMBIGUOUS, reason, job=bought.job, billed=None)
        except BaseException as error:
            completer.leave_open(bought.job, error)
            raise
        if sent.answer is not Answer.ACCEPTED:
            place.leave()
            return await self._not_accepted(request, sent)
        self._tell(sent.job.state, sent.job.provider_job_id or "")
        ending = await completer.see_through(request.model, lane, sent.job, place, self._tell)
        return await self._ended(request, ending)

    async def _not_accepted(self, request: _Request, sent: Submission) -> Finished | None:
        job = sent.job
        match sent.answer:
            case Answer.AMBIGUOUS:
                return await self._seek(job, sent_now=True)
            case Answer.UNREACHED:
                return self._put_off(f"{job.state}: {job.error}", job=job)
            case Answer.OVER_BUDGET if sent.over is not None:
                reason, deferred = deferring.over_budget(sent.over, request.model.provider)
                return self._finished(Verdict.DEFERRED, reason, job=job, deferred=deferred)
            case Answer.STOPPED:
                return self._finished(Verdict.STOPPED, _STOPPED, job=job)
            case _:
                return self._finished(Verdict.FAILED, f"{job.state}: {job.error}", job=job)

    # --- a job of which nobody knows ---

    async def _seek(self, job: Job, *, sent_now: bool = False) -> Finished | None:
        """Looks for it. None: the shot's claim gives another answer now."""
        finder = self._tools.finder
        search = await (finder.soon(job) if sent_now else finder.look(job))
        job = search.job
        if job.state is JobState.AMBIGUOUS:
            return self._finished(Verdict.AMBIGUOUS, search.reason, job=job, billed=None if sent_now else ZERO)
        if search.mine:
            return await self._found(job)
        self._absent += job.state is JobState.RELEASED
        return None

    async def _found(self, job: Job) -> Finished | None:
        """It goes on as if its answer had arrived."""
        self._tell(job.state, f"found as {job.provider_job_id}")
        ending = await self._tools.completer.take_over(job, self._tell)
        return self._of_ending(ending)

    # --- a job that the provider works on ---

    def _tell(self, state: JobState, note: str) -> None:
        self._tools.emit(Progress(self._shot, state, note))

    async def _ended(self, request: _Request, ending: Ending) -> Finished:
        """The shot's end by a job's. The job may be another shot's that is gone: then the video is copied."""
        video = ending.video
        if video is not None and ending.job.shot != self._shot.key:
            outcome = await self._claim(request, ClaimOptions(collect_only=True))
            if isinstance(outcome, Reused):
                copied = await self._tools.shelf.take_down(self._shot, outcome, request.frozen)
                video = replace(copied, billed=video.billed, basis=video.basis) if copied else video
        return self._of_ending(replace(ending, video=video))

    def _of_ending(self, ending: Ending) -> Finished:
        video = ending.video
        billed = video.billed if video is not None else ending.job.billed
        return self._finished(ending.verdict, ending.reason, job=ending.job, video=video, billed=billed)

    async def _collect_earlier(self, job: Job) -> None:
        """A job that was in flight or ambiguous as the batch began, for a request that its shot does not make any more (its
        files have changed since): it is paid for, or may be, so it is looked for and collected as the take that it was."""
        try:
            if job.state is not JobState.AMBIGUOUS:
                outcome = await self._desk.record(self._desk.ledger.take_over, job.id)
                if isinstance(outcome, Joined) and outcome.mine:
                    ended = await self._tools.completer.take_over(outcome.job, self._tell)
                    self._tell(outcome.job.state, f"take {job.take}, asked for before: {ended.verdict}")
                job = outcome.job
            if job.state is JobState.AMBIGUOUS:
                search = await self._tools.finder.look(job)
                if search.mine:
                    ended = await self._tools.completer.take_over(search.job, self._tell)
                    self._tell(search.job.state, f"take {job.take}, asked for before and found: {ended.verdict}")
        except Exception:  # noqa: BLE001 - how the shot itself has ended stays true
            _log.warning("job %s, an earlier take of %s, stays as it is", job.id, self._shot.key, exc_info=True)

    # --- endings ---

    def _not_ready(self, problems: tuple[Problem, ...]) -> Finished:
        return self._finished(Verdict.NOT_READY, "; ".join(map(str, problems)) or "not ready")

    def _put_off(self, reason: str, *, job: Job | None = None) -> Finished:
        """Made later, by itself: something that passes is in the way."""
        shot, quote = self._shot, self._quote
        provider = (shot.model_id or "").partition("/")[0]
        times = self._tools.put_off.get(shot.key, 0)
        now = self._desk.parts.clock()
        reason, deferred = deferring.unreached(reason, quote.high if quote else ZERO, provider, now, times)
        return self._finished(Verdict.DEFERRED, reason, job=job, deferred=deferred)

    def _finished(
        self,
        verdict: Verdict,
        reason: str = "",
        *,
        job: Job | None = None,
        video: VideoResult | None = None,
        billed: Money | None = ZERO,
        deferred: Deferred | None = None,
    ) -> Finished:
        job_id = job.id if job else None
        return Finished(self._shot, verdict, reason, video, job_id, self._quote, billed, deferred)
