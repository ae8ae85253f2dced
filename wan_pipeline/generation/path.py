"""One shot's way through: inspect, quote, claim, submit, wait, collect, record. DESIGN.md tells the steps.

Each shot goes alone; what happens to it is its own. What does not belong here: how a step is done (its own module).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from wan_pipeline.generation.collection import Collector, DownloadError
from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.events import Event, Finished, Inspected, Progress, Quoted, Stage, Verdict, VideoResult
from wan_pipeline.generation.gate import GateClosedError, Place
from wan_pipeline.generation.inspection import Inspection, Inspector
from wan_pipeline.generation.lanes import STOPPED, Lane, Lanes
from wan_pipeline.generation.results import Shelf, made
from wan_pipeline.generation.submission import delivery_problems, request_body
from wan_pipeline.generation.waiting import GaveUp
from wan_pipeline.problems import ConfigurationError, Problem
from wan_pipeline.providers.base import Failed, Model, Order, Quote, request_hash
from wan_pipeline.providers.words import without_query
from wan_pipeline.shots.shot import Shot
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
    Reused,
    Standing,
)

_OTHERS_WAIT_S = 1.0  # between looks at a job that another living process holds
_NEW_URLS = 3  # how often a job is asked for a new result URL in one batch


@dataclass(frozen=True)
class BatchTools:
    """What all shots of a batch share."""

    desk: Desk
    lanes: Lanes
    inspector: Inspector
    collector: Collector
    shelf: Shelf
    stage: Stage
    options: ClaimOptions
    emit: Callable[[Event], None]
    run_id: str | None
    in_flight: Mapping[str, Sequence[Job]]  # by shot, as the batch began


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
        self._quote: Quote | None = None

    async def go(self) -> Finished:
        """Goes as far as the batch's stage; gives how it ended. Raises only what nobody foresaw."""
        finished = await self._go()
        for job in self._tools.in_flight.get(self._shot.key, ()):
            if job.id != finished.job_id and not self._desk.stopped.is_set():
                await self._collect_earlier(job)
        return finished

    async def _go(self) -> Finished:
        tools, shot = self._tools, self._shot
        inspection = await tools.inspector.inspect(shot)
        tools.emit(Inspected(shot, inspection.inputs, inspection.problems, inspection.digest))
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
            outcome = await self._claim(request, collect_only=True)
            if isinstance(outcome, NotBought):
                if self._tools.options.collect_only:
                    return self._finished(Verdict.FAILED, f"not bought: {outcome.reason}")
                finished = await self._buy(request)
            else:
                finished = await self._without_buying(request, outcome)
            if finished is not None:
                return finished

    async def _claim(self, request: _Request, *, collect_only: bool) -> ClaimOutcome:
        options = replace(self._tools.options, collect_only=collect_only)
        return await self._desk.record(self._desk.ledger.claim, request.frozen, self._desk.parts.budgets, options)

    async def _without_buying(self, request: _Request, outcome: ClaimOutcome) -> Finished | None:
        """Ends the shot by what the ledger says of it; None: look again (another process works on it)."""
        match outcome:
            case Reused():
                video = await self._tools.shelf.take_down(self._shot, outcome, request.frozen)
                if video is None:
                    missing = outcome.job.video_key or outcome.job.id
                    return self._finished(
                        Verdict.FAILED,
                        f"{missing} was bought and stored, but is gone from the bucket: restore it, or ask for a new take",
                        job=outcome.job,
                    )
                return self._finished(Verdict.REUSED, job=outcome.job, video=video)
            case Outdated():
                video = await self._tools.shelf.as_it_stands(outcome.job, outcome.take)
                reason = "a _defaults.yaml has changed since this video was made; run --outdated makes it anew"
                return self._finished(Verdict.OUTDATED, reason, job=outcome.job, video=video)
            case Standing(job=job):
                verdict = Verdict.AMBIGUOUS if job.state is JobState.AMBIGUOUS else Verdict.FAILED
                return self._finished(
                    verdict, f"{job.state}: {job.error or 'no reason given'}. {outcome.remedy}", job=job
                )
            case OverBudget():
                until = f"; there is room again from {outcome.until:%Y-%m-%d %H:%M} UTC" if outcome.until else ""
                return self._finished(
                    Verdict.OVER_BUDGET,
                    f"{outcome.limit} is {outcome.allowed} USD, {outcome.used} are held or spent, "
                    f"{outcome.needed} are needed{until}",
                )
            case Joined(job=job, mine=True):
                return await self._take_over(request.model, job)
            case Joined(job=job):
                if await self._desk.sleep(_OTHERS_WAIT_S):
                    return self._finished(Verdict.IN_FLIGHT, "stopped; another run works on it", job=job)
                return None
            case NotBought():
                return self._finished(Verdict.FAILED, f"not bought: {outcome.reason}")
            case Bought():
                raise RuntimeError(f"{self._shot.key}: the ledger let a claim buy that was to collect only")

    async def _buy(self, request: _Request) -> Finished | None:
        shot = self._shot
        if shot.not_before is not None and datetime.now(UTC) < shot.not_before:
            return self._finished(Verdict.NOT_DUE, f"not before {shot.not_before.isoformat()}")
        unreachable = await self._desk.files(
            delivery_problems, self._desk.bucket, request.model, request.inspection.inputs
        )
        if unreachable:
            return self._not_ready(tuple(unreachable))
        try:
            lane = await self._tools.lanes.lane(request.model.provider)
            await lane.gate.enter()
        except ConfigurationError as error:
            return self._finished(Verdict.FAILED, f"not bought: {error}")
        except GateClosedError as error:
            return self._finished(Verdict.FAILED, f"not bought: {error}")
        place = Place(lane.gate)
        try:
            # The URLs are made fresh, and before the claim: what fails here has cost nothing and holds nothing.
            body = await self._desk.files(
                request_body, self._desk.bucket, request.model, request.order, request.inspection.inputs
            )
            if lane.gate.closed is not None:
                place.leave(unused=True)
                return self._finished(Verdict.FAILED, f"not bought: {lane.gate.closed}")
            outcome = await self._claim(request, collect_only=False)
            if not isinstance(outcome, Bought):
                place.leave(unused=True)
                return await self._without_buying(request, outcome)
            job = await lane.submitter.submit(outcome, request.model, body)
            if job.state is not JobState.SUBMITTED:
                verdict = Verdict.AMBIGUOUS if job.state is JobState.AMBIGUOUS else Verdict.FAILED
                return self._finished(verdict, f"{job.state}: {job.error}", job=job)
            self._tools.emit(Progress(shot, job.state, job.provider_job_id or ""))
            return await self._see_through(request.model, lane, job, place)
        finally:
            place.leave()

    # --- a job that the provider works on ---

    async def _take_over(self, model: Model, job: Job) -> Finished:
        try:
            lane = await self._tools.lanes.lane(model.provider)
        except ConfigurationError as error:
            return self._finished(Verdict.IN_FLIGHT, str(error), job=job)
        lane.gate.occupy()
        place = Place(lane.gate)
        self._tools.emit(Progress(self._shot, job.state, "taken over from a run that is gone"))
        try:
            return await self._see_through(model, lane, job, place, taken_over=True)
        finally:
            place.leave()

    async def _collect_earlier(self, job: Job) -> None:
        """A job that was in flight as the batch began, for a request that its shot does not make any more (its files
        have changed since): it is paid for, so it is collected as the take that it was."""
        outcome = await self._desk.record(self._desk.ledger.take_over, job.id)
        if isinstance(outcome, Joined) and outcome.mine:
            ended = await self._take_over(self._desk.parts.find_model(job.model), outcome.job)
            self._tools.emit(
                Progress(self._shot, outcome.job.state, f"take {job.take}, asked for before: {ended.verdict}")
            )

    async def _see_through(
        self, model: Model, lane: Lane, job: Job, place: Place, *, taken_over: bool = False
    ) -> Finished:
        ledger, waiter = self._desk.ledger, lane.waiter(model)
        for attempt in range(_NEW_URLS):
            outcome = await waiter.wait(job, taken_over=taken_over or attempt > 0)
            if isinstance(outcome, GaveUp):
                return self._finished(Verdict.IN_FLIGHT, outcome.reason, job=job)
            if isinstance(outcome, Failed):
                job = await self._desk.record(ledger.mark_failed, job.id, outcome.reason, outcome.reported)
                return self._finished(Verdict.FAILED, f"{job.provider}: {outcome.reason}", job=job)
            place.leave()
            url = without_query(outcome.url)
            job = await self._desk.record(ledger.mark_generated, job.id, url, outcome.reported)
            self._tools.emit(Progress(self._shot, job.state))
            try:
                collected = await self._tools.collector.collect(job, outcome.url)
            except DownloadError as error:
                if error.expired and attempt + 1 < _NEW_URLS:
                    continue
                if error.no_video:
                    job = await self._desk.record(ledger.mark_lost, job.id, str(error))
                    return self._finished(Verdict.FAILED, f"lost: {error}", job=job)
                return self._finished(Verdict.IN_FLIGHT, f"{error}; the next run collects it", job=job)
            job = await self._desk.record(ledger.mark_stored, job.id, collected.video)
            return self._finished(Verdict.MADE, job=job, video=made(job, collected.checks))
        raise AssertionError("unreachable: the last attempt returns")

    # --- endings ---

    def _not_ready(self, problems: tuple[Problem, ...]) -> Finished:
        return self._finished(Verdict.NOT_READY, "; ".join(str(problem) for problem in problems) or "not ready")

    def _finished(
        self, verdict: Verdict, reason: str = "", *, job: Job | None = None, video: VideoResult | None = None
    ) -> Finished:
        if verdict is Verdict.FAILED and STOPPED in reason:
            reason = "not bought: the batch was stopped"
        return Finished(self._shot, verdict, reason, video, job.id if job else None, self._quote)
