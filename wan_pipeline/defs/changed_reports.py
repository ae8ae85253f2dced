"""Reports of past days and months that are not true any more are made anew: a refund has come, a correction, a late charge.

Every ten minutes a tick asks the ledger which days have changed since the last one. A day that is over and has a report
older than the change is asked for, and so is its month, once that is over; what changes today waits for the schedules. A day
stays asked for until its report is younger than the change, so that a run that failed is tried again, an hour later.
"""

# No `from __future__ import annotations`: Dagster compares the context's annotation with its classes.

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from wan_pipeline.defs import names
from wan_pipeline.defs.jobs import daily_report, monthly_report
from wan_pipeline.defs.partitions import contiguous_pieces, day_partitions, month_partitions
from wan_pipeline.defs.resources import Installation, OpenInstallation
from wan_pipeline.defs.run_tags import ASKED_BY, AskedBy

MOST_DAYS = 31  # asked for by one tick; a correction of a whole year is spread over an hour or two
_EVERY_SECONDS = 600
_LOOK_BACK = timedelta(days=35)  # of the first tick ever
_OVERLAP = timedelta(minutes=5)  # a transaction is dated before it is committed
_LATE_COMMIT = timedelta(seconds=5)  # a report may not have seen what is dated as long before it
_AGAIN_AFTER_S = 3600


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a tick tells the next: until when it has looked, and which days wait, with their last change. Without it, the
    last five weeks are looked at."""

    since: datetime | None = None
    waiting: Mapping[date, datetime] = field(default_factory=dict[date, datetime])

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        try:
            kept = json.loads(text or "{}")
            waiting = {date.fromisoformat(day): _aware(at) for day, at in kept.get("waiting", {}).items()}
            return cls(_aware(kept["since"]) if "since" in kept else None, waiting)
        except (ValueError, TypeError, AttributeError):  # edited in the UI
            return cls()

    def write(self) -> str:
        waiting = {day.isoformat(): at.isoformat() for day, at in sorted(self.waiting.items())}
        since = {} if self.since is None else {"since": self.since.isoformat()}
        return json.dumps({**since, "waiting": waiting}, separators=(",", ":"))


@dg.sensor(
    name="changed_reports",
    jobs=[daily_report, monthly_report],
    minimum_interval_seconds=_EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Has the reports of past days, and of past months, made anew that a refund, a correction or a late charge has"
        " changed. They say what has changed."
    ),
)
def changed_reports(context: dg.SensorEvaluationContext, installation: Installation) -> dg.SensorResult:
    """One tick."""
    with installation.open() as opened:
        requests, cursor = ask(opened, Cursor.read(context.cursor))
    reason = None if requests else f"no report of a past day is older than its figures; {len(cursor.waiting)} wait"
    return dg.SensorResult(run_requests=requests, skip_reason=reason, cursor=cursor.write())


def ask(opened: OpenInstallation, cursor: Cursor) -> tuple[list[dg.RunRequest], Cursor]:
    """The runs to be asked for now, and what the next tick has to know."""
    from wan_pipeline.reports import Period
    from wan_pipeline.reports.late import changed_days, made_at

    engine = opened.ledger.engine
    changed, now = changed_days(engine, cursor.since or datetime.now(UTC) - _LOOK_BACK)
    waiting = dict(cursor.waiting)
    for day, at in changed.items():
        waiting[day] = max(at, waiting.get(day, at))

    made: dict[Period, datetime | None] = {}

    def is_outdated(period: Period, at: datetime) -> bool:
        if period not in made:
            made[period] = made_at(opened.bucket, period) if period.is_over(now) else None
        seen = made[period]
        return seen is not None and at > seen - _LATE_COMMIT

    days: dict[date, datetime] = {}
    months: dict[date, datetime] = {}
    left: dict[date, datetime] = {}
    for day, at in sorted(waiting.items()):
        if len(days) + len(months) >= MOST_DAYS:
            left[day] = at  # not looked at in this tick
            continue
        month = Period.month(day)
        if is_outdated(Period.day(day), at):
            days[day] = left[day] = at
        if is_outdated(month, at):
            months[month.first] = max(at, months.get(month.first, at))
            left[day] = at
    again = int(now.timestamp()) // _AGAIN_AFTER_S
    requests = [
        *_requests(names.DAILY_REPORT, day_partitions, {Period.day(day).name: at for day, at in days.items()}, again),
        *_requests(
            names.MONTHLY_REPORT, month_partitions, {Period.month(m).name: at for m, at in months.items()}, again
        ),
    ]
    return requests, Cursor(now - _OVERLAP, left)


def _requests(
    job: str, partitions: dg.PartitionsDefinition, changed: Mapping[str, datetime], again: int
) -> Iterable[dg.RunRequest]:
    """One for each range of neighbours. The key is that of the changes: the next tick asks for nothing twice."""
    order: Sequence[str] = partitions.get_partition_keys() if changed else []
    for piece in contiguous_pieces(order, changed.keys(), MOST_DAYS):
        text = json.dumps([[key, changed[key].isoformat()] for key in piece.keys])
        digest = hashlib.sha256(f"{again} {text}".encode()).hexdigest()[:32]
        tags = {**piece.range_tags, ASKED_BY: str(AskedBy.SENSOR)}
        yield dg.RunRequest(run_key=f"changed-{digest}", job_name=job, tags=tags)


def _aware(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
