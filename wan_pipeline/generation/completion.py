"""Completion: a job that its provider works on is waited for, collected and recorded, whoever has bought it.

What belongs here: everything after the submission, and what is told of a job that cannot be brought to its end now. What
does not: which job a shot needs (path.py), and how waiting and downloading are done (waiting.py, collection.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from wan_pipeline.generation.collection import Collector
from wan_pipeline.generation.deadlines import is_over, is_stuck, next_fetch_at, wait_s
from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.events import Verdict, VideoResult
from wan_pipeline.generation.gate import Place
from wan_pipeline.generation.lanes import Lane, Lanes
from wan_pipeline.generation.publishing import Collected
from wan_pipeline.generation.results import made
from wan_pipeline.generation.useless import DownloadError, UselessError
from wan_pipeline.generation.waiting import GaveUp
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.providers.account import another_key
from wan_pipeline.providers.base import Failed, Model, Succeeded
from wan_pipeline.providers.words import shown, without_query
from wan_pipeline.spend.errors import NotHolderError
from wan_pipeline.spend.records import Job, JobState

_NEW_URLS = 3  # how often a job is asked for a new result URL in one batch
_WAITED_FOR_S = 60.0  # a collection that is due so soon is waited for; else a later batch makes it
_log = logging.getLogger(__name__)

Tell = Callable[[JobState, str], None]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job's way ended in this batch."""

    verdict: Verdict
    reason: str
    job: Job
    video: VideoResult | None = None


class Completer:
    """Sees the jobs of one batch through."""

    def __init__(self, desk: Desk, lanes: Lanes, collector: Collector) -> None:
        self._desk = desk
        self._lanes = lanes
        self._collector = collector
        self._left_open: dict[str, str] = {}
        self._under_way: dict[str, asyncio.Future[Ending]] = {}

    def left_open(self, job: Job) -> str | None:
        """Why this batch has done with the job for now though it is under way: nobody in it works on the job any more.

        Shots with the same request wait for one of them; without this they would wait for each other for ever.
        """
        return self._left_open.get(job.id) if job.owner == self._desk.ledger.owner_id else None

    def is_forgotten(self, job: Job) -> bool:
        """This batch holds the job, which its provider has, and nobody in it sees to it: nobody may know of it, since the
        answer to a claim was lost, or somebody has it in hand this moment and is about to."""
        at_the_provider = job.state in (JobState.SUBMITTED, JobState.GENERATED)
        mine = job.owner == self._desk.ledger.owner_id
        return mine and at_the_provider and job.id not in self._under_way and job.id not in self._left_open

    def leave_open(self, job: Job, error: BaseException | str) -> str:
        """The batch gives the job up for now; the next run finds it. Gives the reason in words fit to be shown."""
        reason = error if isinstance(error, str) else shown(f"{type(error).__name__}: {error}")
        self._left_open[job.id] = reason
        return reason

    async def take_over(self, job: Job, tell: Tell) -> Ending:
        """A job that this batch holds since its holder is gone. It is asked for where it was bought, whatever the
        shot's model is now."""
        try:
            model = self._desk.parts.find_model(job.model)
            lane = await self._lanes.lane(model.provider)
        except ConfigurationError as error:
            return await self._put_off(job, str(error))
        except BaseException as error:
            self.leave_open(job, error)
            raise
        lane.gate.occupy()
        place = Place(lane.gate, settled=True)
        tell(job.state, "taken over from a run that is gone")
        try:
            return await self.see_through(model, lane, job, place, tell, taken_over=True)
        finally:
            place.leave()

    async def see_through(
        self, model: Model, lane: Lane, job: Job, place: Place, tell: Tell, *, taken_over: bool = False
    ) -> Ending:
        """To its end, or as far as it goes now. Raises NotHolderError where another process holds the job meanwhile.

        Asked for twice at once (a claim whose answer came late), a job is seen through once, and both hear how it ended.
        """
        others = self._under_way.get(job.id)
        if others is not None:
            place.leave()
            return await asyncio.shield(others)
        ended = self._under_way[job.id] = asyncio.get_running_loop().create_future()
        try:
            ending = await self._seen_through(model, lane, job, place, tell, taken_over=taken_over)
        except BaseException as error:
            ended.set_exception(error if isinstance(error, Exception) else RuntimeError("it was ended"))
            ended.exception()  # who waits hears of it; that nobody may wait is no complaint
            raise
        else:
            ended.set_result(ending)
            return ending
        finally:
            del self._under_way[job.id]

    async def _seen_through(
        self, model: Model, lane: Lane, job: Job, place: Place, tell: Tell, *, taken_over: bool
    ) -> Ending:
        try:
            return await self._through(model, lane, job, place, tell, taken_over=taken_over)
        except NotHolderError:
            raise
        except Exception as error:  # noqa: BLE001 - a full disk or a bucket that is gone: the job is paid and goes on
            _log.warning("job %s (%s) could not be collected", job.id, job.shot, exc_info=True)
            return await self._put_off(job, self.leave_open(job, error))
        except BaseException as error:
            self.leave_open(job, error)
            raise

    async def _through(
        self, model: Model, lane: Lane, job: Job, place: Place, tell: Tell, *, taken_over: bool
    ) -> Ending:
        ledger, waiter, loop = self._desk.ledger, lane.waiter(model), asyncio.get_running_loop()
        if taken_over:
            if job.state is JobState.GENERATED and (there := await self._collector.published(job)) is not None:
                return await self._stored(job, there)
            not_yet_s = wait_s(job, self._desk.parts.clock())
            if not_yet_s > _WAITED_FOR_S:
                return self._not_now(job, f"{job.error or 'could not be collected'}; {_next(job)}")
            if job.state is JobState.GENERATED:
                place.leave()  # the provider is done with it
            if not_yet_s and await self._desk.sleep(not_yet_s):
                return self._not_now(job, "stopped before it was fetched again; the next run collects it")

        async def generated(outcome: Succeeded, heard_at_s: float) -> Job:
            nonlocal job
            told = (without_query(outcome.url), outcome.reported, outcome.expires_at)
            known_for_s = loop.time() - heard_at_s
            job = await self._desk.record(ledger.mark_generated, job.id, *told, known_for_s=known_for_s)
            # Not before: the ledger counts the job as in flight until then, and would tell whoever comes for its place that
            # there is none.
            place.leave()
            tell(job.state, "")
            return job

        for attempt in range(_NEW_URLS):
            outcome = await waiter.wait(job, taken_over=taken_over or attempt > 0)
            if isinstance(outcome, GaveUp):
                return await self._gave_up(job, outcome, lane, first=not taken_over)
            if isinstance(outcome, Failed):
                return await self._failed(job, outcome)
            # Where a list alone has told it, it is no end yet: the job itself may say that it failed, which costs nothing.
            proved = partial(generated, outcome, loop.time())
            only_listed = outcome.listed and job.state is JobState.SUBMITTED
            if not only_listed:
                await proved()
            try:
                collected = await self._collector.collect(job, outcome.url, proved if only_listed else None)
            except DownloadError as error:
                # A list's word is not the last: the job itself is asked for it.
                if (error.expired or (outcome.listed and not error.stopped)) and attempt + 1 < _NEW_URLS:
                    continue
                return await self._not_fetched(job, error)
            return await self._stored(job, collected)
        raise AssertionError("unreachable: the last attempt returns")

    async def _stored(self, job: Job, collected: Collected) -> Ending:
        job = await self._desk.record(self._desk.ledger.mark_stored, job.id, collected.video)
        return Ending(Verdict.MADE, "", job, made(job, collected.checks))

    async def _failed(self, job: Job, outcome: Failed) -> Ending:
        if job.state is JobState.GENERATED:  # it was made and is there no more: no failure, and not for nothing
            return await self._lost(job, outcome.reason)
        job = await self._desk.record(self._desk.ledger.mark_failed, job.id, outcome.reason, outcome.reported)
        return Ending(Verdict.FAILED, outcome.reason, job)

    async def _gave_up(self, job: Job, outcome: GaveUp, lane: Lane, *, first: bool) -> Ending:
        now, reason = self._desk.parts.clock(), outcome.reason
        if outcome.stopped:
            return self._not_now(job, reason)
        if first and not outcome.unknown:  # the provider works on it: the next run may ask at once
            return self._not_now(job, f"{reason}; the next run asks again")
        sent_with = await self._desk.record(self._desk.ledger.sent_with, job.attempt_id)
        other = None if outcome.seen else another_key(sent_with, lane.client.account)
        if other is not None:
            reason = f"{reason}; but {other}, which may know nothing of it: set that key again"
        # With the wrong key "no such job" says nothing: then it is lost only when no key can bring it any more.
        if is_over(job, now) if outcome.unknown and other is None else is_stuck(job, now):
            return await self._lost(job, reason)
        return await self._put_off(job, reason)

    async def _not_fetched(self, job: Job, error: DownloadError) -> Ending:
        if error.stopped:
            return self._not_now(job, str(error))
        if job.state is JobState.SUBMITTED:  # only a list says that it is done
            if is_stuck(job, self._desk.parts.clock()):
                return await self._lost(job, str(error))
        elif isinstance(error, UselessError):
            if error.final:
                return await self._lost(job, str(error), error.kept_key)
        elif is_over(job, self._desk.parts.clock()):
            return await self._lost(job, str(error))
        return await self._put_off(job, str(error))

    async def _lost(self, job: Job, reason: str, kept_key: str | None = None) -> Ending:
        job = await self._desk.record(self._desk.ledger.mark_lost, job.id, reason, kept_key)
        kept = f"; what came is kept as {kept_key}" if kept_key else ""
        return Ending(Verdict.FAILED, f"lost: {reason}; {job.billed} USD are wasted{kept}", job)

    async def _put_off(self, job: Job, reason: str) -> Ending:
        """A later batch tries again, and not at once: the ledger says when."""
        try:
            again = next_fetch_at(job, self._desk.parts.clock())
            job = await self._desk.record(self._desk.ledger.mark_fetch_failed, job.id, reason, again)
        except NotHolderError:
            raise
        except Exception:  # noqa: BLE001 - then it is tried again at once, which is no harm
            _log.warning("job %s: the ledger could not be told when to fetch it again", job.id, exc_info=True)
            return self._not_now(job, f"{reason}; the next run collects it")
        return self._not_now(job, f"{reason}; {_next(job)}")

    def _not_now(self, job: Job, reason: str) -> Ending:
        self.leave_open(job, reason)
        return Ending(Verdict.IN_FLIGHT, reason, job)


def _next(job: Job) -> str:
    when = f" from {job.next_fetch_at:%Y-%m-%d %H:%M:%S} UTC" if job.next_fetch_at else ""
    return f"the next run{when} collects it"
