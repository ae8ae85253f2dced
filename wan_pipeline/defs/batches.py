"""One run's batch: the engine is driven, what it tells is logged and remembered, and the run's end is drawn from it.

What belongs here: what a run leaves behind, however it ends. What does not: what is selected (assets.py), how an event
shows (shot_log.py), and what is bought (generation/).

A run ends in four ways. In order: every shot has its verdict. By a person's Terminate, and by a redeployment (Dagster
raises DagsterExecutionInterruptedError for both): the engine lets what was sent be answered and written down, and what has
come to an end by then is remembered; what is in flight is collected by the recovery sensor. After a redeployment what was
not bought yet is taken up again; after Terminate it is not, a person has said so. By a kill: nothing is remembered but
that the run began, and the sensor finds the rest in the ledger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError  # not exported

from wan_pipeline.defs.deferred import awaited
from wan_pipeline.defs.metadata import failure
from wan_pipeline.defs.passing import patiently
from wan_pipeline.defs.resources import OpenInstallation
from wan_pipeline.defs.run_tags import BILLED_USD, QUOTED_USD, carried, is_recovery
from wan_pipeline.defs.shot_log import ShotLog
from wan_pipeline.defs.take_up import found_nothing, remember_begun, remember_finished
from wan_pipeline.generation import listeners
from wan_pipeline.generation.events import GOOD_VERDICTS, Deferred, Event, Finished, Quoted, Stage, Verdict
from wan_pipeline.money import ZERO, Money
from wan_pipeline.shots.shot import Shot, missing
from wan_pipeline.spend.records import ClaimOptions, Deferral

GONE = "gone"
_SHOWN_AT_ONCE = 200  # events in one transaction of Dagster's storage
_NEXT_RUN = "the next run"  # what a shot waits for that no budget is in the way of
# Left as they are by a run that only looks for what is to be collected: another run, or a person, sees to them.
_NO_NEWS = frozenset({Verdict.AMBIGUOUS, Verdict.IN_FLIGHT, Verdict.STOPPED, Verdict.NOT_READY, Verdict.NOT_DUE})


class Batches:
    """The batch of one run."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        opened: OpenInstallation,
        log: ShotLog,
        stage: Stage,
        options: ClaimOptions,
    ) -> None:
        self._context = context
        self._opened = opened
        self._log = log
        self._stage = stage
        self._options = options
        self._quoted = Money(0)
        self._finished: list[Finished] = []
        self._gone: frozenset[str] = frozenset()

    def work(self, shots: Sequence[Shot], gone: Sequence[str]) -> None:
        """To the end of each shot; `gone` are the keys of those whose files are there no more. Raises Failure where
        something is neither done nor waiting for its time."""
        # What was bought for a shot that is gone is paid for all the same, and collected.
        paid_for = [missing(key, self._opened.bucket.url) for key in gone] if self._buys else []
        self._gone = frozenset(gone)
        if self._buys and not self._options.collect_only:
            remember_begun(self._opened.ledger.index, shots, datetime.now(UTC), simulated=self._opened.simulated)
        self._drive([*shots, *paid_for])
        self._remember(terminated=False)
        self._conclude()

    @property
    def _buys(self) -> bool:
        return self._stage is Stage.GENERATE

    def _drive(self, shots: Sequence[Shot]) -> None:
        """Run the engine; take each event in this thread. An interruption, or an error, leaves the block once the engine
        has stopped; what it let finish until then is remembered, and shown, before that goes on its way."""
        if not shots:
            return
        batch = self._opened.start(shots, self._stage, self._options, self._context.run_id)
        to_show: list[Event] = []  # those that the interruption may have fallen on
        try:
            with batch:
                for events in batch.groups(_SHOWN_AT_ONCE):
                    while events:
                        self._count(events[0])
                        to_show.append(events.pop(0))
                    self._log.log(to_show)
                    to_show = []
        except BaseException as error:
            rest = batch.rest()
            for event in rest:
                self._count(event)
            interrupted = isinstance(error, DagsterExecutionInterruptedError)
            terminated = interrupted and self._is_terminated()
            if interrupted and not terminated:
                self._finished = [self._kept(item) for item in self._finished]
            self._remember(terminated=terminated)
            self._log.log([*to_show, *rest])
            raise

    def _count(self, event: Event) -> None:
        if isinstance(event, Quoted):
            self._quoted += event.quote.high
        if isinstance(event, Finished):
            self._finished.append(event)
        listeners.notify(event)

    # --- what is remembered ---

    def _kept(self, item: Finished) -> Finished:
        """After a redeployment: what a person had decided for this run goes on with those of its shots that it has not
        bought, as it does with one that has no room; a shot that had come to an end before is taken up for nothing else."""
        if item.verdict is not Verdict.STOPPED or not carried(self._options):
            return item
        return _put_off(item, _NEXT_RUN, "its run was ended by a redeployment before it was bought", datetime.now(UTC))

    def _behind_another(self, item: Finished, now: datetime) -> Finished:
        """One whose request is another shot's job, which has no end yet, waits for that job: recovery sees to it, and the
        ledger has nothing to be collected for this one."""
        if item.verdict not in (Verdict.AMBIGUOUS, Verdict.IN_FLIGHT) or item.job_id is None:
            return item
        job = self._opened.ledger.job(item.job_id)
        if job.shot == item.shot.key:
            return item
        return _put_off(item, awaited(job.id), f"{job.shot} has the same request: {item.reason}", now)

    def _remember(self, *, terminated: bool) -> None:
        if not self._buys:
            return
        ledger, simulated, now = self._opened.ledger, self._opened.simulated, datetime.now(UTC)
        finished = [item for item in self._finished if item.shot.key not in self._gone]
        put_off: set[str] = set()
        collect_only = self._options.collect_only
        remember_finished(
            ledger.index, finished, now, simulated=simulated, terminated=terminated, collect_only=collect_only
        )
        if not collect_only and not self._options.new_take:
            decided = carried(self._options)
            finished = [self._behind_another(item, now) for item in finished]
            waiting = [_deferral(item, now, decided, simulated=simulated) for item in finished if item.deferred]
            ledger.deferrals.defer(waiting)
            put_off = {each.shot for each in waiting}
        over = {item.shot.key for item in self._finished if self._ends_a_deferral(item, terminated=terminated)}
        over -= put_off
        if over:
            over -= self._still_to_be_decided(ledger.deferrals.load(simulated=simulated))
        ledger.deferrals.forget(over, simulated=simulated)

    def _still_to_be_decided(self, deferrals: Sequence[Deferral]) -> set[str]:
        """Shots for which a person has decided what this run was not told: that it leaves them as they are is no answer."""
        mine = set(carried(self._options).split())
        deferred = {each.shot for each in deferrals if not set(each.decided.split()) <= mine}
        as_they_are = (Verdict.OUTDATED, Verdict.FAILED)
        return {item.shot.key for item in self._finished if item.shot.key in deferred and item.verdict in as_they_are}

    def _ends_a_deferral(self, item: Finished, *, terminated: bool) -> bool:
        if item.verdict is Verdict.STOPPED:
            return terminated
        return item.verdict is not Verdict.DEFERRED and not (self._options.collect_only and found_nothing(item))

    def _is_terminated(self) -> bool:
        """Did a person end this run? A redeployment leaves its status as it was. ("Force termination" in the UI, and
        run_monitoring where a termination takes its time, write down the end beforehand.)"""
        run = patiently(self._context.instance.get_run_by_id, self._context.run_id)
        return run is not None and run.status in (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)

    # --- how the run ends ---

    def _conclude(self) -> None:
        billed = Money.total(item.billed for item in self._finished if item.billed is not None)
        tags = {QUOTED_USD: str(self._quoted), BILLED_USD: str(billed)}
        patiently(self._context.instance.add_run_tags, self._context.run_id, tags)
        there = [item for item in self._finished if item.shot.key not in self._gone]
        patiently(self._context.log.info, _summary(there, self._quoted, billed))
        waiting = [item for item in there if item.verdict is Verdict.DEFERRED]
        if waiting:
            patiently(self._context.log.info, _told_deferred(waiting, new_take=self._options.new_take))
        bad = [(item.shot.key, str(item.verdict), item.reason) for item in there if self._is_bad(item)]
        if not is_recovery(self._context.run.tags):
            reason = (
                f"no file below inbox/ of {self._opened.bucket.url} makes this shot any more: put it back, or leave the"
                " shot out"
            )
            bad = [(key, GONE, reason) for key in sorted(self._gone)] + bad
        if bad:
            raise failure(bad, len(there) + len(self._gone))

    def _is_bad(self, item: Finished) -> bool:
        if item.verdict in GOOD_VERDICTS or item.verdict is Verdict.DEFERRED:
            return False
        if is_recovery(self._context.run.tags):
            return item.verdict not in _NO_NEWS and not found_nothing(item)
        return True


def _deferral(item: Finished, now: datetime, decided: str, *, simulated: bool) -> Deferral:
    deferred = item.deferred
    if deferred is None:
        raise ValueError(f"{item.shot.key} is not deferred")
    return Deferral(
        shot=item.shot.key,
        simulated=simulated,
        limit=deferred.limit,
        reason=item.reason,
        needed=deferred.needed,
        provider=deferred.provider,
        campaign=item.shot.campaign,
        since=now,
        until=deferred.until,
        times=1,
        decided=decided,
    )


def _put_off(item: Finished, until: str, reason: str, now: datetime) -> Finished:
    needed = item.quote.high if item.quote is not None else ZERO
    provider = (item.shot.model_id or "").partition("/")[0]
    return replace(item, reason=reason, deferred=Deferred(until, needed, provider, now))


def _summary(finished: Sequence[Finished], quoted: Money, billed: Money) -> str:
    """One line for the run's log: `48 made, 1 reused, 1 failed; quoted at most 4.25 USD, billed 4.00 USD`."""
    counts = Counter(str(item.verdict) for item in finished)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()) or "nothing to do"
    return f"{verdicts}; quoted at most {quoted} USD, billed {billed} USD"


def _told_deferred(waiting: Sequence[Finished], *, new_take: bool) -> str:
    """Why, one line for each reason with the shots that it holds up; they are made by themselves."""
    by_reason: dict[str, list[str]] = {}
    for item in waiting:
        by_reason.setdefault(item.reason, []).append(item.shot.key)
    lines = [
        f"{', '.join(keys[:5])}{f' and {len(keys) - 5} more' if len(keys) > 5 else ''}: {reason}"
        for reason, keys in by_reason.items()
    ]
    then = (
        "a new take is not asked for again by itself, ask once more when there is room"
        if new_take
        else "the schedule due_shots takes them up when there is room"
    )
    return f"Deferred; {then}:\n" + "\n".join(lines)
