"""Retired shots leave the set of partitions; in the ledger, the index and the bucket they stay.

What Dagster does is linear in the number of partitions, whatever they are (docs/benchmarks.md), so those that are over for
good are taken out once a day: shots whose files have been gone from the inbox for a week, and, where WAN_RETIRE_AFTER_DAYS
is set, those whose video was finished that many days ago. Never one with a job in flight or in doubt, or deferred; never
one that an unfinished run covers; and none at all while a backfill over shots is under way, which counts on its partitions.

A shot that changes is a partition again as soon as it is taken up, one that comes back unchanged with the next retirement
(or `wan-pipeline run --shot`). Nothing is bought for that: its take stands.

What belongs here: the rule. What does not: how partitions are deleted (partitions.py), who asks for it (the job and its
schedule below, `wan-pipeline retire`).
"""

# No `from __future__ import annotations`: Dagster compares the context's annotation with its classes.

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.execution.backfill import (  # not exported
    BULK_ACTION_TERMINAL_STATUSES,
    BulkActionsFilter,
    BulkActionStatus,
)

from wan_pipeline.defs import names
from wan_pipeline.defs.failures import retried_where_it_passes, told_plainly
from wan_pipeline.defs.partition_order import remove_shots
from wan_pipeline.defs.partitions import RANGE_END_TAG, RANGE_START_TAG, SHOTS, add_shots
from wan_pipeline.defs.resources import Installation, OpenInstallation
from wan_pipeline.defs.run_marks import marked_run
from wan_pipeline.defs.run_tags import ASKED_BY, NO_RUN_RETRIES, AskedBy
from wan_pipeline.defs.runs_of_shots import PARTITION_TAG, UNFINISHED
from wan_pipeline.spend.retirement import finished_since, gone_since, present_at_rest, without_end

GONE_FOR = timedelta(days=7)  # a folder that was not mounted for a night is no reason
_SHOTS_ASSETS = frozenset({names.SOURCE_IMAGES, names.SHOT_QUOTES, names.GENERATED_VIDEOS})
_UNDER_WAY = [status for status in BulkActionStatus if status not in BULK_ACTION_TERMINAL_STATUSES]


@dataclass(frozen=True, slots=True)
class Retirement:
    """What is to be done: `gone` and `finished` leave the partitions, `back` are partitions again. `partitions`: how many
    there were. `kept_by`: the backfills that are under way, on account of which nothing is done."""

    gone: tuple[str, ...]
    finished: tuple[str, ...]
    back: tuple[str, ...]
    partitions: int
    kept_by: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kept_by:
            ids = ", ".join(self.kept_by)
            return f"nothing is retired while a backfill over shots is under way ({ids}); {self.partitions} partitions"
        left = self.partitions - len(self.gone) - len(self.finished) + len(self.back)
        return (
            f"{len(self.gone)} shots whose files are gone and {len(self.finished)} that were finished long ago leave the"
            f" partitions, {len(self.back)} are partitions again; {left} are left"
        )


def plan_retirement(instance: dg.DagsterInstance, opened: OpenInstallation, now: datetime) -> Retirement:
    """What would be done now."""
    order = instance.get_dynamic_partitions(SHOTS)
    backfills = _backfills_of_shots(instance)
    if backfills:
        return Retirement((), (), (), len(order), tuple(backfills))
    ledger, days = opened.ledger, opened.settings.retire_after_days
    finished: set[str] = set()
    if days is not None:
        finished = finished_since(ledger, now - timedelta(days=days), simulated=opened.simulated)
    known = set(order)
    back = present_at_rest(ledger) - finished - known
    kept = without_end(ledger) | _covered(instance, order)
    gone = gone_since(ledger, now - GONE_FOR) - kept
    return Retirement(
        gone=tuple(key for key in order if key in gone),
        finished=tuple(key for key in order if key in finished and key not in kept),
        back=tuple(sorted(back)),
        partitions=len(order),
    )


def retire(instance: dg.DagsterInstance, opened: OpenInstallation, now: datetime) -> Retirement:
    """Does it; gives what was done."""
    plan = plan_retirement(instance, opened, now)
    remove_shots(instance, [*plan.gone, *plan.finished])
    add_shots(instance, plan.back)
    return plan


def _backfills_of_shots(instance: dg.DagsterInstance) -> list[str]:
    backfills = instance.get_backfills(filters=BulkActionsFilter(statuses=_UNDER_WAY))
    # One that was launched from a job's page names no assets.
    return [
        each.backfill_id
        for each in backfills
        if each.asset_selection is None or _SHOTS_ASSETS & set(each.asset_selection)
    ]


def _covered(instance: dg.DagsterInstance, order: Sequence[str]) -> set[str]:
    """The partitions of every run that is not over yet, whatever it makes of them."""
    places = {key: place for place, key in enumerate(order)}
    covered: set[str] = set()
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        first, last = run.tags.get(RANGE_START_TAG), run.tags.get(RANGE_END_TAG)
        if first in places and last in places:
            covered.update(order[places[first] : places[last] + 1])
        covered.update(key for key in (first, last, run.tags.get(PARTITION_TAG)) if key is not None)
    return covered


@dg.op(name="retire", description="Takes shots that are over for good out of the partitions. Deletes nothing else.")
def retire_op(context: dg.OpExecutionContext, installation: Installation) -> None:
    """One retirement."""
    with told_plainly(), retried_where_it_passes(context), marked_run(context, installation) as opened:
        done = retire(context.instance, opened, datetime.now(UTC))
        context.log.info(str(done))
        counts = {"gone": len(done.gone), "finished": len(done.finished), "partitions_again": len(done.back)}
        context.add_output_metadata({**counts, "partitions_before": done.partitions})


@dg.job(
    name=names.RETIRE_SHOTS,
    description=(
        "Shots whose files have been gone for a week, and those that were finished WAN_RETIRE_AFTER_DAYS ago, leave the"
        " partitions. Their videos and their rows in the ledger stay. The same as `wan-pipeline retire`."
    ),
    tags={"spends": "nothing", **NO_RUN_RETRIES},
    executor_def=dg.in_process_executor,
)
def retire_shots() -> None:
    """One op."""
    retire_op()


@dg.schedule(
    name="daily_retirement",
    cron_schedule="15 3 * * *",
    execution_timezone="UTC",
    job=retire_shots,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Takes shots that are over for good out of the partitions.",
)
def daily_retirement(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Once for each day that the tick is for."""
    day = context.scheduled_execution_time.astimezone(UTC).strftime("%Y-%m-%d")
    return dg.RunRequest(run_key=f"retire-{day}", tags={ASKED_BY: str(AskedBy.SCHEDULE)})
