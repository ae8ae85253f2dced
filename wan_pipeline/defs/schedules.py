"""The schedules: shots whose `not_before` has come, and yesterday's cost report."""

# No `from __future__ import annotations`: Dagster compares the context's annotation with its classes.

from datetime import UTC, datetime, timedelta

import dagster as dg

from wan_pipeline.defs.jobs import daily_report, make_videos
from wan_pipeline.defs.partitions import SHOTS, add_shots
from wan_pipeline.defs.resources import Installation
from wan_pipeline.defs.run_tags import ASKED_BY, AskedBy
from wan_pipeline.defs.take_up import (
    group_requests,
    is_due,
    is_left_to_schedule,
    is_to_be_taken_up,
    launched_run_keys,
    run_requests,
)


@dg.schedule(
    name="due_shots",
    cron_schedule="*/5 * * * *",
    execution_timezone="UTC",
    job=make_videos,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Takes up shots whose not_before has come. Reads the index that the bucket sensor keeps, not the bucket.",
)
def due_shots(context: dg.ScheduleEvaluationContext, installation: Installation) -> list[dg.RunRequest] | dg.SkipReason:
    """One tick. A schedule has no cursor: what an earlier tick has launched is known by its run key."""
    now = datetime.now(UTC)
    with installation.open() as opened:
        index = opened.ledger.index
        waiting = [row for row in index.load().values() if is_to_be_taken_up(row) and is_left_to_schedule(row)]
        due = [row for row in waiting if is_due(row, now)]
        if not due:
            return dg.SkipReason(f"{len(waiting)} shots wait for their time, none is due")
        add_shots(context.instance, sorted(row.key for row in due))
        order = context.instance.get_dynamic_partitions(SHOTS)
        # By their moment: the shots of one moment make the same runs in each tick, whatever becomes due beside them.
        moments = sorted({row.not_before for row in due if row.not_before is not None})
        requests = [
            request
            for moment in moments
            for request in group_requests(order, [row for row in due if row.not_before == moment])
        ]
        launched = launched_run_keys(context.instance, [request.run_key for request in requests])
        for request in requests:
            if request.run_key in launched:
                index.mark_taken_up(list(request.piece.keys), list(request.versions), now)
    return run_requests([request for request in requests if request.run_key not in launched], AskedBy.SCHEDULE)


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
