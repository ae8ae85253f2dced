"""Which shots Dagster's runs are over: those that are covered by a run under way, those whose last run a person has ended,
and how often others were tried of late.

What belongs here: reading runs. What does not: launching them, and what a shot needs (recovery.py, schedules.py).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg

from wan_pipeline.defs import names
from wan_pipeline.defs.partition_order import places_of
from wan_pipeline.defs.partitions import RANGE_END_TAG, RANGE_START_TAG
from wan_pipeline.defs.ranges import ends_of, moved_ranges
from wan_pipeline.defs.run_tags import ASKED_BY, AskedBy, is_recovery

PARTITION_TAG = "dagster/partition"  # Dagster's name; a test compares it with the one it uses
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_LOOK_BACK = timedelta(hours=6)
_MOST_RUNS = 500  # looked back at: a guard, not a measure
_FIRST_WAIT = timedelta(seconds=15)
# A daemon that is cut off between writing a run down and queueing it leaves it so: it is nobody's, and Dagster's
# run_monitoring ends it minutes later. (Should it be launched after all, it joins whoever was quicker.)
_LAUNCHED_WITHIN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Tries:
    """What was tried of late: how many runs over each shot, and when the last of them ended."""

    counts: Counter[str] = field(default_factory=Counter[str])
    last_end: dict[str, datetime] = field(default_factory=dict[str, datetime])

    def add(self, keys: Sequence[str], ended: datetime) -> None:
        self.counts.update(keys)
        for key in keys:
            self.last_end[key] = max(ended, self.last_end.get(key, ended))

    def not_before(self, key: str, longest: timedelta) -> datetime | None:
        """When the shot may be tried again: each try doubles the wait after it. None: at once."""
        count = self.counts[key]
        if not count:
            return None
        return self.last_end[key] + min(longest, _FIRST_WAIT * 2 ** min(count - 1, 20))


@dataclass(frozen=True, slots=True)
class RunsOfShots:
    """`covered`: by a run that is queued or under way, and that would make or collect them. `collections`: runs of the
    recovery sensor, however they ended. `failures`: all other runs that failed or were cancelled. `scheduled`: those of the
    schedule, however they ended. `cancelled`: the last run over these, but for the sensor's, was ended by a person, perhaps
    before it had begun (what a redeployment ends has failed, for Dagster)."""

    covered: frozenset[str]
    collections: Tries
    failures: Tries
    scheduled: Tries
    cancelled: frozenset[str]

    @classmethod
    def read(cls, instance: dg.DagsterInstance, keys: Iterable[str], now: datetime) -> RunsOfShots:
        """Of these shots; what runs were over others is not read. Those that are no partitions are in no run's range, and a
        run whose range may have come to span others (ranges.py) tells of the two shots that it names."""
        unfinished = [
            record
            for record in instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED))
            if makes_videos(record.dagster_run) and not _is_forgotten(record, now)
        ]
        filters = dg.RunsFilter(created_after=now - _LOOK_BACK)
        recent = [
            record
            for record in instance.get_run_records(filters, limit=_MOST_RUNS)  # the newest first
            if record.dagster_run.is_finished and makes_videos(record.dagster_run)
        ]
        moved = moved_ranges(instance, [*unfinished, *recent])
        wanted = set(keys)
        ends = {key for record in (*unfinished, *recent) for key in ends_of(record.dagster_run)}
        places = places_of(instance, wanted | ends)
        order = sorted(wanted & places.keys(), key=places.__getitem__)

        def of(run: dg.DagsterRun) -> Sequence[str]:
            if run.run_id in moved:
                return [key for key in ends_of(run) if key in wanted]
            return shots_of(run, order, places)

        covered: set[str] = set()
        for record in unfinished:
            covered.update(of(record.dagster_run))
        collections, failures, scheduled = Tries(), Tries(), Tries()
        last_status: dict[str, dg.DagsterRunStatus] = {}
        for record in recent:
            run = record.dagster_run
            of_run = of(run)
            ended = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else now
            if is_recovery(run.tags):
                collections.add(of_run, ended)
                continue
            for key in of_run:
                last_status.setdefault(key, run.status)
            if run.status is not dg.DagsterRunStatus.SUCCESS:
                failures.add(of_run, ended)
            if run.tags.get(ASKED_BY) == AskedBy.SCHEDULE:
                scheduled.add(of_run, ended)
        cancelled = {key for key, status in last_status.items() if status is dg.DagsterRunStatus.CANCELED}
        return cls(frozenset(covered), collections, failures, scheduled, frozenset(cancelled))


def _is_forgotten(record: dg.RunRecord, now: datetime) -> bool:
    status = record.dagster_run.status
    return status is dg.DagsterRunStatus.NOT_STARTED and now - record.create_timestamp > _LAUNCHED_WITHIN


def makes_videos(run: dg.DagsterRun) -> bool:
    """Is the asset of the videos in this run's selection, whatever job it is of?"""
    if run.job_name == names.MAKE_VIDEOS and not run.asset_selection:
        return True
    return names.GENERATED_VIDEOS in (run.asset_selection or ())


def shots_of(run: dg.DagsterRun, order: Sequence[str], places: Mapping[str, int]) -> Sequence[str]:
    """Those of `order` that are among the run's partitions, by its tags. `places`: of all of `order` and of a range's ends,
    numbers that grow in the partitions' order, which is that of `order`."""
    first, last = run.tags.get(RANGE_START_TAG), run.tags.get(RANGE_END_TAG)
    if first is not None and first in places and last is not None and last in places:
        begin = bisect_left(order, places[first], key=places.__getitem__)
        return order[begin : bisect_right(order, places[last], key=places.__getitem__)]
    single = run.tags.get(PARTITION_TAG)
    return [single] if single is not None else []
