"""The bucket sensor: what is new or changed below `inbox/` becomes partitions and runs.

A tick reads the listing, brings the index up to date, and asks for what no run has looked at yet. Its time is taken at
entry; what it cannot finish the next tick goes on with: files read are remembered, and requests are asked for in parts.
"""

# No `from __future__ import annotations`: Dagster compares the context's annotation with its classes.

import os
import time
from datetime import UTC, datetime

import dagster as dg

from wan_pipeline.bucket.events import EventQueue
from wan_pipeline.defs.jobs import make_videos
from wan_pipeline.defs.partition_order import in_order
from wan_pipeline.defs.partitions import add_shots
from wan_pipeline.defs.resources import Installation, OpenInstallation
from wan_pipeline.defs.run_tags import AskedBy
from wan_pipeline.defs.take_up import (
    MAX_SHOTS_PER_TICK,
    Request,
    group_requests,
    is_due,
    is_left_to_schedule,
    read_cursor,
    run_requests,
    write_cursor,
)
from wan_pipeline.defs.upkeep import Upkeep
from wan_pipeline.defs.upkeep_by_events import by_events
from wan_pipeline.shots.inbox import YAML_ENDINGS, stem_of
from wan_pipeline.shots.settling import left_to_settle
from wan_pipeline.spend.shot_index import WaitingShot

TICK_SECONDS = 45  # Dagster gives a tick 60
# A newcomer who copies an image into the demo's inbox waits for the next tick.
INTERVAL_SECONDS = 30 if os.environ.get("WAN_MODE", "demo") == "live" else 10


@dg.sensor(
    name="bucket_sensor",
    job=make_videos,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Takes up shots that are new or changed in the bucket's inbox/, once their files are quiet.",
)
def bucket_sensor(context: dg.SensorEvaluationContext, installation: Installation) -> dg.SensorResult:
    """One tick."""
    deadline = time.monotonic() + TICK_SECONDS
    with installation.open() as opened:
        asked_for = read_cursor(context.cursor)
        if asked_for:
            # Dagster has kept the cursor, so it has launched the runs: these are taken up now.
            opened.ledger.index.mark_taken_up(list(asked_for), list(asked_for.values()), datetime.now(UTC))
        if not _keep_up(Upkeep(opened, deadline)):
            reason = f"{TICK_SECONDS} s were not enough to read {opened.bucket.url}; the next tick goes on from here"
            return dg.SensorResult(skip_reason=reason, cursor=write_cursor([]))
        return _take_up(context.instance, opened)


def _keep_up(upkeep: Upkeep) -> bool:
    url = upkeep.opened.settings.bucket_events_url
    return upkeep.by_listing() if url is None else by_events(upkeep, EventQueue(url))


def _take_up(instance: dg.DagsterInstance, opened: OpenInstallation) -> dg.SensorResult:
    now = datetime.now(UTC)
    index = opened.ledger.index
    waiting = index.waiting()
    settle_s = opened.settings.settle_seconds
    known_at = index.inbox.listing(opened.bucket.url).fresh_at
    quiet = [shot for shot in waiting if _is_quiet(shot, now, settle_s, known_at)]
    later = [shot for shot in quiet if is_left_to_schedule(shot)]
    wanted = [shot for shot in quiet if not is_left_to_schedule(shot)]
    wanted.sort(key=lambda shot: (not shot.ready, shot.key))
    chosen = [shot.key for shot in wanted[:MAX_SHOTS_PER_TICK]]
    if chosen or later:
        add_shots(instance, [*chosen, *(shot.key for shot in later)])
    requests: list[Request] = []
    if chosen:
        requests = group_requests(in_order(instance, chosen), index.load_some(chosen).values())
    told = _told(index.count(), len(waiting) - len(quiet), sum(not is_due(shot, now) for shot in later))
    return dg.SensorResult(
        run_requests=run_requests(requests, AskedBy.SENSOR),
        skip_reason=None if requests else told,
        cursor=write_cursor(requests),
    )


def _is_quiet(shot: WaitingShot, now: datetime, settle_s: float, known_at: datetime | None) -> bool:
    """`known_at`: the index knows of all that was in the bucket then. A walk has read its beginning before its end, so a
    yaml that came before an image may be missing there beside it."""
    if shot.modified_at is None:
        return True
    if shot.origin is None or stem_of(shot.origin)[1] in YAML_ENDINGS:
        return left_to_settle(shot.modified_at, now, settle_s, shot.version_seen_at) <= 0
    return known_at is not None and (
        left_to_settle(shot.modified_at, now, settle_s, shot.version_seen_at, known_at) <= 0
    )


def _told(shots: int, unsettled: int, not_due: int) -> str:
    parts = [f"{shots} shots in the bucket, nothing new to take up"]
    parts += [f"{unsettled} wait for their files to be quiet"] if unsettled else []
    parts += [f"{not_due} are not due yet"] if not_due else []
    return "; ".join(parts)
