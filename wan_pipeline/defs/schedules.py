"""The schedules: shots whose `not_before` has come, shots that wait for room in a budget, and the cost reports of yesterday
and of its month."""

# No `from __future__ import annotations`: Dagster compares the context's annotation with its classes.

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from wan_pipeline.defs.deferred import awaited, with_room
from wan_pipeline.defs.jobs import daily_report, make_videos, monthly_report
from wan_pipeline.defs.partition_order import in_order
from wan_pipeline.defs.partitions import Piece, add_shots, contiguous_pieces
from wan_pipeline.defs.resources import Installation, OpenInstallation
from wan_pipeline.defs.run_tags import ASKED_BY, AskedBy, carried_tags
from wan_pipeline.defs.runs_of_shots import RunsOfShots
from wan_pipeline.defs.take_up import (
    MAX_SHOTS_PER_TICK,
    group_requests,
    is_due,
    is_left_to_schedule,
    is_to_be_taken_up,
    launched_run_keys,
    run_requests,
)
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Deferral
from wan_pipeline.spend.shot_index import IndexedShot

_LONGEST_WAIT = timedelta(hours=1)


@dg.schedule(
    name="due_shots",
    cron_schedule="* * * * *",
    execution_timezone="UTC",
    job=make_videos,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        "Takes up shots whose not_before has come, and deferred ones for which there is room now, the oldest first. Reads"
        " the index that the bucket sensor keeps, not the bucket."
    ),
)
def due_shots(context: dg.ScheduleEvaluationContext, installation: Installation) -> list[dg.RunRequest] | dg.SkipReason:
    """One tick."""
    now = datetime.now(UTC)
    with installation.open() as opened:
        rows = opened.ledger.index.waiting_for_their_time()
        waiting = [row for row in rows.values() if is_to_be_taken_up(row) and is_left_to_schedule(row)]
        requests = _due(context.instance, opened.ledger, [row for row in waiting if is_due(row, now)], now)
        # The moment that the tick is for: evaluated once more after a crash, it asks with the same keys.
        deferrals, more = deferred(context.instance, opened, now, context.scheduled_execution_time)
    if not requests and not more:
        return dg.SkipReason(
            f"{len(waiting)} shots wait for their time and {deferrals} are deferred; none is to be taken up now"
        )
    return [*requests, *more]


def _due(
    instance: dg.DagsterInstance, ledger: Ledger, due: Sequence[IndexedShot], now: datetime
) -> list[dg.RunRequest]:
    """Runs for shots whose time has come. A schedule has no cursor: what an earlier tick has launched is known by its run
    key."""
    if not due:
        return []
    add_shots(instance, sorted(row.key for row in due))
    order = in_order(instance, {row.key for row in due})
    # By their moment: the shots of one moment make the same runs in each tick, whatever becomes due beside them.
    moments = sorted({row.not_before for row in due if row.not_before is not None})
    requests = [
        request
        for moment in moments
        for request in group_requests(order, [row for row in due if row.not_before == moment])
    ]
    launched = launched_run_keys(instance, [request.run_key for request in requests])
    for request in requests:
        if request.run_key in launched:
            ledger.index.mark_taken_up(list(request.piece.keys), list(request.versions), now)
    return run_requests([request for request in requests if request.run_key not in launched], AskedBy.SCHEDULE)


def deferred(
    instance: dg.DagsterInstance,
    opened: OpenInstallation,
    now: datetime,
    moment: datetime,
) -> tuple[int, list[dg.RunRequest]]:
    """How many shots are deferred, and the runs for those that have room now."""
    ledger, simulated = opened.ledger, opened.simulated
    waiting = ledger.deferrals.load(simulated=simulated)
    rows = ledger.index.load_some([each.shot for each in waiting])
    over = [each.shot for each in waiting if _needs_nothing(rows.get(each.shot), each)]
    ledger.deferrals.forget(over, simulated=simulated)
    waiting = [each for each in waiting if each.shot not in set(over)]
    ready = [each for each in waiting if _is_as_deferred(rows[each.shot]) and is_due(rows[each.shot], now)]
    if not ready:
        return len(waiting), []
    add_shots(instance, sorted(each.shot for each in ready))
    runs = RunsOfShots.read(instance, [each.shot for each in ready], now)
    without_end = [*ledger.open_jobs(simulated=simulated), *ledger.ambiguous(simulated=simulated)]
    busy = {job.shot for job in without_end} | runs.covered
    busy_jobs = {awaited(job.id) for job in without_end}

    def may_be_tried(each: Deferral) -> bool:
        # A run of ours that succeeded has found no room where this tick had seen some: that is asked ever more seldom too.
        waits = (tries.not_before(each.shot, _LONGEST_WAIT) for tries in (runs.failures, runs.scheduled))
        return (
            each.shot not in busy and each.limit not in busy_jobs and all(wait is None or wait <= now for wait in waits)
        )

    ended = [each.shot for each in ready if each.shot in runs.cancelled and each.shot not in busy]
    ledger.deferrals.forget(ended, simulated=simulated)  # a person has ended its run: nobody buys it by himself
    free = [each for each in ready if may_be_tried(each) and each.shot not in runs.cancelled]
    used = ledger.used_by_shots([each.shot for each in free], simulated=simulated) if free else {}
    lines = ledger.budget_lines(opened.budgets, simulated=simulated)
    chosen = with_room(free, lines, opened.budgets.shot, used, now)[:MAX_SHOTS_PER_TICK]
    order = in_order(instance, {each.shot for each in chosen})
    return len(waiting) - len(ended), _requests(order, chosen, moment)


def _requests(order: Sequence[str], chosen: Sequence[Deferral], moment: datetime) -> list[dg.RunRequest]:
    """Over exactly these shots; those whose eldest has waited longest come first."""
    since = {each.shot: each.since for each in chosen}
    times = {each.shot: each.times for each in chosen}
    runs: list[tuple[Piece, str]] = []
    for decided in {each.decided for each in chosen}:
        wanted = frozenset(each.shot for each in chosen if each.decided == decided)
        runs += [(piece, decided) for piece in contiguous_pieces(order, wanted)]
    runs.sort(key=lambda run: min((since[key], key) for key in run[0].keys))
    requests: list[dg.RunRequest] = []
    for piece, decided in runs:
        text = json.dumps([piece.keys, [times[key] for key in piece.keys], moment.isoformat()])
        key = f"deferred-{hashlib.sha256(text.encode()).hexdigest()[:32]}"
        tags = {**piece.range_tags, ASKED_BY: str(AskedBy.SCHEDULE), **carried_tags(decided)}
        requests.append(dg.RunRequest(run_key=key, tags=tags))
    return requests


def _needs_nothing(row: IndexedShot | None, each: Deferral) -> bool:
    """Its files are gone, or a run has brought it to an end meanwhile; unless a person wants it made though it had come to
    one (then the run that makes it says when that is over)."""
    return row is None or row.gone_at is not None or (row.finished_version == row.version and not each.decided)


def _is_as_deferred(row: IndexedShot) -> bool:
    """A shot that has changed since is the sensor's, which takes the new version up."""
    return row.ready and not is_to_be_taken_up(row)


@dg.schedule(
    name="daily_cost_report",
    cron_schedule="30 0 * * *",
    execution_timezone="UTC",
    job=daily_report,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="The cost report of yesterday (UTC).",
)
def daily_cost_report(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Yesterday's, from the time the tick is for: a tick that comes late reports the day it was meant for."""
    day = (context.scheduled_execution_time.astimezone(UTC) - timedelta(days=1)).strftime("%Y-%m-%d")
    return dg.RunRequest(run_key=f"report-{day}", partition_key=day, tags={ASKED_BY: str(AskedBy.SCHEDULE)})


@dg.schedule(
    name="monthly_cost_report",
    cron_schedule="45 0 * * *",
    execution_timezone="UTC",
    job=monthly_report,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        "The cost report of the month that yesterday (UTC) lies in: each day the running month so far, and on the first of a"
        " month the whole one before."
    ),
)
def monthly_cost_report(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """The month of the day before the one that the tick is for; made anew each day, after that day's report."""
    day = context.scheduled_execution_time.astimezone(UTC) - timedelta(days=1)
    key = f"monthly-report-{day:%Y-%m-%d}"
    return dg.RunRequest(run_key=key, partition_key=f"{day:%Y-%m}", tags={ASKED_BY: str(AskedBy.SCHEDULE)})
