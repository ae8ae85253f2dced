"""The recovery sensor: what a run that is gone has left behind is collected, and what it had not come to is taken up again.

The ledger knows what is in flight and who holds it; Dagster's runs know which shots somebody is at. A tick

1. ends runs of ours whose process is gone (lost_runs.py), which would cover their shots for ever;
2. settles the ledger's orphans: what was never sent may be bought again, what was sent without an answer is ambiguous;
3. launches runs over exactly the shots with something to collect, or with an ambiguous job that is to be looked for: they
   buy nothing (`wan/collect_only`), and those whose results expire first come first;
4. lets the bucket sensor and the schedule take up again what was taken up and never came to an end;
5. shows budgets, ambiguous jobs and deferrals in the catalog where they have changed (budgets.py).

It never buys, and keeps nothing that the next tick could not find again. What does not belong here: how a job is found or
collected (generation/).
"""

# No `from __future__ import annotations`: Dagster compares the context's annotation with its classes.

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg

from wan_pipeline.defs.budgets import Picture, picture, picture_observation, with_views
from wan_pipeline.defs.jobs import make_videos
from wan_pipeline.defs.lost_runs import end_lost_runs
from wan_pipeline.defs.partition_order import in_order
from wan_pipeline.defs.partitions import Piece, add_shots, contiguous_pieces
from wan_pipeline.defs.resources import Installation, OpenInstallation
from wan_pipeline.defs.run_tags import ASKED_BY, COLLECT_ONLY, PRIORITY_TAG, AskedBy
from wan_pipeline.defs.runs_of_shots import RunsOfShots
from wan_pipeline.defs.sensors import INTERVAL_SECONDS
from wan_pipeline.defs.take_up import MAX_SHOTS_PER_TICK, is_due, is_unfinished
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Job

_TAKEN_UP_FOR = timedelta(minutes=1)  # Dagster is given so long to launch what a tick has asked for
LONGEST_COLLECT_WAIT = timedelta(minutes=15)
_LONGEST_TAKE_UP_WAIT = timedelta(hours=1)
_SHOWN_EVERY = timedelta(minutes=1)
_FAR = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a tick tells the next one. Without it, a lost run is ended a tick later and the budgets are shown once more."""

    suspects: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    shown: str = ""
    shown_at: datetime | None = None

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        try:
            kept = json.loads(text or "{}")
            suspects = {str(run): datetime.fromisoformat(since) for run, since in kept.get("suspects", {}).items()}
            shown_at = kept.get("shown_at")
            return cls(suspects, str(kept.get("shown", "")), datetime.fromisoformat(shown_at) if shown_at else None)
        except (ValueError, TypeError, AttributeError):  # edited in the UI
            return cls()

    def write(self) -> str:
        suspects = {run: since.isoformat() for run, since in self.suspects.items()}
        shown_at = self.shown_at.isoformat() if self.shown_at else None
        return json.dumps({"suspects": suspects, "shown": self.shown, "shown_at": shown_at}, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Collection:
    """One run to be asked for: neighbouring shots, and the jobs on whose account."""

    piece: Piece
    tokens: tuple[str, ...]

    @property
    def request(self) -> dg.RunRequest:
        """The key names the jobs, how far they are and when they were tried last: the same tick asked again launches nothing
        twice, and a later try is another run."""
        digest = hashlib.sha256(json.dumps([self.piece.keys, self.tokens]).encode()).hexdigest()[:32]
        tags = {ASKED_BY: str(AskedBy.RECOVERY), COLLECT_ONLY: "true", PRIORITY_TAG: "1"}
        return dg.RunRequest(run_key=f"recover-{digest}", tags={**self.piece.range_tags, **tags})


@dg.sensor(
    name="recovery_sensor",
    job=make_videos,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Collects what runs that are gone have left in flight, looks for what is ambiguous, lets what never came to an end"
        " be taken up again, and shows the budgets. Buys nothing."
    ),
)
def recovery_sensor(context: dg.SensorEvaluationContext, installation: Installation) -> dg.SensorResult:
    """One tick."""
    now = datetime.now(UTC)
    cursor = Cursor.read(context.cursor)
    with installation.open() as opened:
        home = opened.settings.dagster_home
        suspects, ended = end_lost_runs(context.instance, opened.ledger, home, cursor.suspects, now)
        collections, again = recover(context.instance, opened, now)
        seen = picture(opened)
        observation, cursor = _show(opened, seen, Cursor(suspects, cursor.shown, cursor.shown_at), now)
    told = _told(ended, again, seen)
    return dg.SensorResult(
        run_requests=[collection.request for collection in collections],
        skip_reason=None if collections else told,
        cursor=cursor.write(),
        asset_events=observation,
    )


def recover(instance: dg.DagsterInstance, opened: OpenInstallation, now: datetime) -> tuple[list[Collection], int]:
    """The collections to be launched now, and how many shots were given back to be taken up again."""
    ledger, simulated = opened.ledger, opened.simulated
    jobs = [job for job in ledger.settle_orphans(simulated=simulated) if _is_due(job.next_fetch_at, now)]
    jobs += ledger.ambiguous(simulated=simulated, due=True)
    unfinished = _unfinished(ledger, now, simulated=simulated)
    if not jobs and not unfinished:
        return [], 0
    add_shots(instance, [job.shot for job in jobs])
    runs = RunsOfShots.read(instance, [*(job.shot for job in jobs), *unfinished], now)
    order = in_order(instance, {job.shot for job in jobs})
    return collections_of(jobs, order, runs, now), _take_up_again(ledger, unfinished, runs, now)


def collections_of(jobs: Iterable[Job], order: Sequence[str], runs: RunsOfShots, now: datetime) -> list[Collection]:
    """The runs for these jobs: none for a shot that a run is at, nor for one that was tried just now; nearest result
    expiry first."""
    by_shot: dict[str, list[Job]] = {}
    for job in jobs:
        if job.shot not in runs.covered and _is_due(runs.collections.not_before(job.shot, LONGEST_COLLECT_WAIT), now):
            by_shot.setdefault(job.shot, []).append(job)
    nearest = {shot: min(job.result_expires_at or _FAR for job in theirs) for shot, theirs in by_shot.items()}
    chosen = sorted(by_shot, key=lambda shot: (nearest[shot], shot))[:MAX_SHOTS_PER_TICK]
    pieces = contiguous_pieces(order, frozenset(chosen))
    pieces.sort(key=lambda piece: min(nearest[key] for key in piece.keys))
    return [Collection(piece, _tokens(piece, by_shot, runs, now)) for piece in pieces]


def _tokens(piece: Piece, by_shot: Mapping[str, Sequence[Job]], runs: RunsOfShots, now: datetime) -> tuple[str, ...]:
    """Dagster skips a key that it has ever launched, so no two tries may have the same: not those before a night without a
    daemon and those after it, of which nothing but the hour tells (runs are not looked back at for ever), nor those of an
    outage that lasts longer than that."""
    tried = [f"{runs.collections.last_end.get(key, '')}" for key in piece.keys]
    jobs = [f"{job.id}:{job.state}:{job.looks}:{job.fetches}" for key in piece.keys for job in by_shot[key]]
    return (*jobs, *tried, str(int(now.timestamp() / LONGEST_COLLECT_WAIT.total_seconds())))


def _unfinished(ledger: Ledger, now: datetime, *, simulated: bool) -> list[str]:
    """Shots that were taken up a while ago, and neither came to an end nor wait for something that is looked after."""
    rows = [
        row
        for row in ledger.index.unfinished().values()
        if is_unfinished(row) and is_due(row, now) and _is_due(row.taken_up_at, now - _TAKEN_UP_FOR)
    ]
    if not rows:
        return []
    in_flight = {job.shot for job in ledger.open_jobs([row.key for row in rows], simulated=simulated)}
    ambiguous = {job.shot for job in ledger.ambiguous(simulated=simulated)}
    deferred = {deferral.shot for deferral in ledger.deferrals.load(simulated=simulated)}
    return [row.key for row in rows if row.key not in in_flight | ambiguous | deferred]


def _take_up_again(ledger: Ledger, unfinished: Sequence[str], runs: RunsOfShots, now: datetime) -> int:
    again = [
        key
        for key in unfinished
        if key not in runs.covered and _is_due(runs.failures.not_before(key, _LONGEST_TAKE_UP_WAIT), now)
    ]
    # Of those whose run a person has ended, perhaps while it was queued, what is not bought is not bought by itself.
    ended = [key for key in again if key in runs.cancelled]
    if ended:
        rows = ledger.index.load_some(ended)
        ledger.index.mark_finished(ended, [rows[key].version for key in ended], now)
    again = [key for key in again if key not in runs.cancelled]
    if again:
        ledger.index.take_up_again(again)
    return len(again)


def _is_due(moment: datetime | None, now: datetime) -> bool:
    return moment is None or moment <= now


def _show(
    opened: OpenInstallation, seen: Picture, cursor: Cursor, now: datetime
) -> tuple[list[dg.AssetObservation], Cursor]:
    """The budgets as an observation, where they have changed and the last one is a minute old."""
    digest = seen.digest
    recent = cursor.shown_at is not None and now - cursor.shown_at < _SHOWN_EVERY
    if digest == cursor.shown or recent:
        return [], cursor
    return [picture_observation(with_views(seen, opened))], Cursor(cursor.suspects, digest, now)


def _told(ended: int, again: int, seen: Picture) -> str:
    parts = [f"{ended} runs of processes that are gone were ended"] if ended else []
    parts += [f"{again} shots are taken up again"] if again else []
    parts += [f"{len(seen.ambiguous)} jobs are ambiguous, none is to be looked for now"] if seen.ambiguous else []
    parts += [f"{len(seen.deferrals)} shots are deferred"] if seen.deferrals else []
    return "; ".join(parts) or "nothing is left behind"
