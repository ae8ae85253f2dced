"""Which partitions a run's range means: those that lay between its two ends when the range was asked for.

A run that Dagster keeps names its range by the first key and the last. New keys lie at the end of the order, so that a
range stays what it was, but for keys that leave it; until one of its ends is retired, comes back and lies at the end: then
the same two keys span other shots. A re-execution of such a run would buy those, and its Terminate would be taken for a
word on them. An end that is a partition since before the run was asked for has not moved, and nothing new lies before it.
The number of shots is looked at besides: SQLite keeps the moments in whole seconds.

What belongs here: that rule. What does not: the order itself (partition_order.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import dagster as dg

from wan_pipeline.defs.partition_order import added_at, keys_in_range
from wan_pipeline.defs.partitions import RANGE_END_TAG, RANGE_START_TAG
from wan_pipeline.defs.run_tags import PARENT_RUN_ID_TAG, RANGE_SIZE_TAG, ROOT_RUN_ID_TAG
from wan_pipeline.problems import Problem, ProblemsError

# Dagster takes a run's moment from its host's clock and a partition's from the database's. A run may follow its partitions
# at once, and its first execution is none to be strict with: what a run under way covers is not retired.
_CLOCKS_DIFFER_BY = timedelta(minutes=1)
_REMEDY = "Nothing was bought. Materialize the shots that are meant anew, or name them to `wan-pipeline run --shot`"


def ends_of(run: dg.DagsterRun) -> list[str]:
    """The first and the last key of its range; none where it has no range."""
    first, last = run.tags.get(RANGE_START_TAG), run.tags.get(RANGE_END_TAG)
    return [first, last] if first is not None and last is not None else []


def keys_asked_for(instance: dg.DagsterInstance, run_id: str, first: str, last: str) -> list[str]:
    """The keys of this run's range, which are read without the other partitions; none where an end is no partition.

    Raises ProblemsError where the range holds others than were asked for.
    """
    record = instance.get_run_record_by_id(run_id)
    if record is None or first == last:
        return keys_in_range(instance, first, last)
    if moved_ranges(instance, [record]):
        what = (
            "may span other shots than when it was first asked for: shots were retired since and came back elsewhere, or "
            "the run that this one repeats is deleted"
        )
        raise ProblemsError([Problem("run tags", RANGE_START_TAG, f"{first} to {last}", what, _REMEDY)])
    keys = keys_in_range(instance, first, last)
    size = _size_asked_for(instance, record.dagster_run)
    if size is None:
        instance.add_run_tags(run_id, {RANGE_SIZE_TAG: str(len(keys))})
    elif not (size.isdecimal() and len(keys) <= int(size)):
        what = f"is not as many shots as lie between {first} and {last} now: {len(keys)}"
        raise ProblemsError([Problem("run tags", RANGE_SIZE_TAG, size, what, _REMEDY)])
    return keys


def _size_asked_for(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str | None:
    """As programs write it when they ask, and any other run when it begins; of a re-execution, that of its first run."""
    first_id = _first_run(run)
    first = instance.get_run_by_id(first_id) if first_id is not None else None
    return (first or run).tags.get(RANGE_SIZE_TAG) or run.tags.get(RANGE_SIZE_TAG)


def moved_ranges(instance: dg.DagsterInstance, records: Iterable[dg.RunRecord]) -> frozenset[str]:
    """Of these runs, those whose range may span other shots than when it was first asked for: by their run ids."""
    ranged = [record for record in records if len(set(ends_of(record.dagster_run))) > 1]
    if not ranged:
        return frozenset()
    asked = _asked_at(instance, ranged)
    added = added_at(instance, {key for record in ranged for key in ends_of(record.dagster_run)})
    return frozenset(
        run.run_id for run in (record.dagster_run for record in ranged) if _has_moved(run, asked.get(run.run_id), added)
    )


def _has_moved(run: dg.DagsterRun, asked: datetime | None, added: Mapping[str, datetime]) -> bool:
    return asked is None or any(added.get(key, asked) > asked for key in ends_of(run))


def _asked_at(instance: dg.DagsterInstance, records: Sequence[dg.RunRecord]) -> dict[str, datetime]:
    """When each run's range was first asked for: a re-execution repeats that of the first run. Where that one is not kept
    any more, nobody knows."""
    first_of = {record.dagster_run.run_id: _first_run(record.dagster_run) for record in records}
    wanted = {run_id for run_id in first_of.values() if run_id is not None}
    kept = instance.get_run_records(dg.RunsFilter(run_ids=sorted(wanted))) if wanted else []
    moments = {record.dagster_run.run_id: record.create_timestamp for record in kept}
    asked: dict[str, datetime] = {}
    for record in records:
        run_id = record.dagster_run.run_id
        first = first_of[run_id]
        if first is None:
            asked[run_id] = record.create_timestamp + _CLOCKS_DIFFER_BY
        elif first in moments:
            asked[run_id] = moments[first]
    return asked


def _first_run(run: dg.DagsterRun) -> str | None:
    return run.tags.get(ROOT_RUN_ID_TAG) or run.tags.get(PARENT_RUN_ID_TAG)
