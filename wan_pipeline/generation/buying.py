"""Buying for one shot: a place in the gate, a claim with room in budgets and limits, one POST, and what its answer means.

What does not belong here: whether anything has to be bought (path.py), and how a submission is repeated (submission.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from wan_pipeline.generation.completion import Ending
from wan_pipeline.generation.endings import Endings
from wan_pipeline.generation.events import Finished, Verdict
from wan_pipeline.generation.gate import GateClosedError, Place
from wan_pipeline.generation.lanes import Lane
from wan_pipeline.generation.runway import Turn
from wan_pipeline.generation.submission import Answer, Submission, UnwrittenError, delivery_problems, request_body
from wan_pipeline.generation.tools import BatchTools
from wan_pipeline.generation.unknown_takes import takes_in, why_not
from wan_pipeline.generation.wanted import Wanted
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.providers.base import JsonObject
from wan_pipeline.shots.shot import Shot
from wan_pipeline.spend.records import Bought, ClaimOptions, ClaimOutcome, Job, ProviderBusy

_UNFETCHED_TIMES = 3  # how often a shot is put off because its provider could not fetch an input


@dataclass(frozen=True, slots=True)
class Lost:
    """The answer to the submission was lost: the job is ambiguous."""

    job: Job


class Buyer:
    """Of one shot in one batch."""

    def __init__(self, shot: Shot, tools: BatchTools, endings: Endings, turn: Turn) -> None:
        self._shot = shot
        self._tools = tools
        self._desk = tools.desk
        self._endings = endings
        self._turn = turn

    async def buy(self, wanted: Wanted, options: ClaimOptions) -> Finished | Ending | Lost | ClaimOutcome:
        """Gives the shot's end, or how the bought job went, or what the claim found in place of buying."""
        shot, endings = self._shot, self._endings
        if shot.not_before is not None and self._desk.parts.clock() < shot.not_before:
            return endings.end(Verdict.NOT_DUE, f"not before {shot.not_before.isoformat()}")
        unreachable = await self._desk.files(
            delivery_problems, self._desk.bucket, wanted.model, wanted.inspection.inputs
        )
        if unreachable:
            return endings.not_ready(unreachable)
        there = await self._desk.files(takes_in, self._desk.bucket, shot.key)
        if there:
            known = {take.take for take in await self._desk.record(self._desk.ledger.takes, shot.key)}
            unknown = await self._desk.files(why_not, self._desk.bucket, shot.key, there, known)
            if unknown is not None:
                return endings.end(Verdict.FAILED, unknown)
        try:
            lane = await self._tools.lanes.lane(wanted.model.provider)
            await lane.gate.enter()
        except ConfigurationError as error:
            return endings.end(Verdict.FAILED, f"not bought: {error}")
        except GateClosedError as error:
            return endings.closed(error)
        self._turn.over()
        place = Place(lane.gate)
        try:
            return await self._from(place, lane, wanted, options)
        except GateClosedError as error:
            return endings.closed(error)
        finally:
            place.leave(unused=True)

    async def _from(
        self, place: Place, lane: Lane, wanted: Wanted, options: ClaimOptions
    ) -> Finished | Ending | Lost | ClaimOutcome:
        """With a place in the gate. Raises GateClosedError where it closes before anything was bought."""
        desk = self._desk
        while True:
            # The URLs are made fresh, and before the claim: what fails here has cost nothing and holds nothing.
            body = await desk.files(request_body, desk.bucket, wanted.model, wanted.order, wanted.inspection.inputs)
            lane.gate.raise_if_closed()
            outcome = await desk.record(
                desk.ledger.claim,
                wanted.frozen,
                desk.parts.budgets,
                options,
                lane.limits,
                lane.client.account,
            )
            match outcome:
                case Bought():
                    place.through()
                    return await self._carry_out(wanted, outcome, lane, place, body)
                case ProviderBusy(wait_s=wait_s):
                    place.busy(wait_s)
                    await place.again(first=True)
                case _:
                    place.leave(unused=True)
                    return outcome

    async def _carry_out(
        self, wanted: Wanted, bought: Bought, lane: Lane, place: Place, body: JsonObject
    ) -> Finished | Ending | Lost:
        completer, tell = self._tools.completer, self._endings.tell
        try:
            sent = await lane.submitter.submit(bought, wanted.model, body, place)
        except UnwrittenError as error:
            reason = completer.leave_open(bought.job, str(error))
            return self._endings.end(Verdict.AMBIGUOUS, reason, job=bought.job, billed=None)
        except BaseException as error:
            completer.leave_open(bought.job, error)
            raise
        if sent.answer is not Answer.ACCEPTED:
            place.leave()
            return self._not_accepted(wanted, sent)
        tell(sent.job.state, sent.job.provider_job_id or "")
        return await completer.see_through(wanted.model, lane, sent.job, place, tell)

    def _not_accepted(self, wanted: Wanted, sent: Submission) -> Finished | Lost:
        job, endings = sent.job, self._endings
        reason = f"{job.state}: {job.error}"
        match sent.answer:
            case Answer.AMBIGUOUS:
                return Lost(job)
            case Answer.UNREACHED:
                return endings.put_off(reason, job=job)
            case Answer.UNFETCHED if endings.times_put_off < _UNFETCHED_TIMES:
                return endings.put_off(reason, job=job)
            case Answer.OVER_BUDGET if sent.over is not None:
                return endings.over_budget(sent.over, wanted.model.provider, job)
            case Answer.STOPPED:
                return endings.stopped(job)
            case _:
                return endings.end(Verdict.FAILED, reason, job=job)
