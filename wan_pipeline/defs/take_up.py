"""Which shots are to be taken up, by whom, and as which runs: functions over the index of discovered shots.

What belongs here: the comparison of what is with what was taken up. What does not: reading the bucket, launching.

A version is taken up once. A shot whose mistakes change is taken up again, so that its partition shows the new reason;
one that was taken up in order, and then only broken by a `_defaults.yaml`, is not: its video is there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

import dagster as dg

from wan_pipeline.defs.partitions import Piece, contiguous_pieces
from wan_pipeline.defs.run_tags import ASKED_BY, AskedBy
from wan_pipeline.generation.events import Finished, Verdict
from wan_pipeline.shots.shot import Shot
from wan_pipeline.spend.shot_index import MISTAKES, IndexedShot, SeenShot, ShotIndex, WaitingShot

RUN_KEY_TAG = "dagster/run_key"  # Dagster's name; a test compares it with the one it uses
MAX_SHOTS_PER_TICK = 1_000  # 5 runs; also what the sensor's cursor has to hold

_SIMULATED = "simulated:"
_SEEN_FIELDS = tuple(each.name for each in fields(SeenShot))


def seen(shot: Shot, *, simulated: bool) -> SeenShot:
    """The shot as the index keeps it. Its version there tells too which mistakes it has, and whether what was taken up
    was a simulation: a bucket tried out in demo mode is not taken for made in live mode."""
    problem = "\n".join(sorted(str(item) for item in shot.problems))
    version = f"{_SIMULATED if simulated else ''}{shot.version}"
    if problem:
        version += MISTAKES + hashlib.sha256(problem.encode()).hexdigest()[:12]
    told = (problem or None, shot.not_before, shot.campaign, shot.model_id, shot.last_modified, shot.origin)
    return SeenShot(shot.key, version, shot.ready, *told)


def update_index(index: ShotIndex, shots: Sequence[Shot], now: datetime, *, simulated: bool) -> dict[str, IndexedShot]:
    """Bring the index in line with all shots that the bucket has; gives its rows. What has not changed is not written."""
    rows = index.load()
    return index.load() if _update(index, rows, shots, now, simulated=simulated, listed=False) else rows


def update_listed(
    index: ShotIndex, shots: Sequence[Shot], keys: Collection[str] | None, now: datetime, *, simulated: bool
) -> None:
    """The same of the shots of these keys (None: of all), as the listing that the index keeps has shown them: those that are
    not among `shots` are gone."""
    rows = index.load() if keys is None else index.load_some(keys)
    _update(index, rows, shots, now, simulated=simulated, listed=True)


def _update(
    index: ShotIndex,
    rows: Mapping[str, IndexedShot],
    shots: Sequence[Shot],
    now: datetime,
    *,
    simulated: bool,
    listed: bool,
) -> bool:
    """Whether something was written."""
    found = {shot.key: seen(shot, simulated=simulated) for shot in shots}
    changed = [item for key, item in found.items() if key not in rows or not _is_same(item, rows[key], listed=listed)]
    missing = [row for key, row in rows.items() if key not in found]
    gone = [row.key for row in missing if row.gone_at is None or (listed and row.listed_version is not None)]
    index.save(changed, now, listed=listed)
    index.mark_gone(gone, now, listed=listed)
    return bool(changed or gone)


def _is_same(item: SeenShot, row: IndexedShot, *, listed: bool) -> bool:
    if row.gone_at is not None or (listed and row.listed_version != item.version):
        return False
    return all(getattr(item, name) == getattr(row, name) for name in _SEEN_FIELDS)


def is_to_be_taken_up(row: IndexedShot) -> bool:
    """Is there something about this shot that no run has been asked to look at?"""
    if row.gone_at is not None or row.taken_up_version == row.version:
        return False
    taken_up_in_order = row.taken_up_version is not None and MISTAKES not in row.taken_up_version
    return row.ready or not (taken_up_in_order and row.taken_up_version == row.version.partition(MISTAKES)[0])


def is_unfinished(row: IndexedShot) -> bool:
    """Was this version taken up, and has no run brought it to an end?"""
    return (
        row.ready
        and row.gone_at is None
        and row.taken_up_version == row.version
        and row.finished_version != row.version
    )


def is_left_to_schedule(row: IndexedShot | WaitingShot) -> bool:
    """A shot that was not due when this version was first seen is the schedule's, every other the sensor's; so no two
    ever ask for the same."""
    return row.not_before is not None and row.not_before > row.version_seen_at


def is_due(row: IndexedShot | WaitingShot, now: datetime) -> bool:
    return row.not_before is None or row.not_before <= now


@dataclass(frozen=True, slots=True)
class Request:
    """One run to be asked for: neighbouring shots at these versions, taken up so many times before. The same give the same
    key, so that Dagster launches nothing twice; a shot that is taken up again has another one, or Dagster would skip it."""

    piece: Piece
    versions: tuple[str, ...]
    times: tuple[int, ...]

    @property
    def run_key(self) -> str:
        text = json.dumps([self.piece.keys, self.versions, self.times])
        return f"shots-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def group_requests(order: Sequence[str], rows: Iterable[IndexedShot]) -> list[Request]:
    """The runs for these shots, in the order of the partitions; those with mistakes apart from the others, so that a
    run of good shots is not red for its neighbour's mistake."""
    by_key = {row.key: row for row in rows}
    requests: list[Request] = []
    for ready in (True, False):
        wanted = {key for key, row in by_key.items() if row.ready is ready}
        for piece in contiguous_pieces(order, wanted):
            rows_of_piece = [by_key[key] for key in piece.keys]
            versions = tuple(row.version for row in rows_of_piece)
            requests.append(Request(piece, versions, tuple(row.times_taken_up for row in rows_of_piece)))
    return requests


def run_requests(requests: Iterable[Request], asked_by: AskedBy) -> list[dg.RunRequest]:
    """As Dagster takes them: a run over a range, by its tags."""
    return [
        dg.RunRequest(run_key=request.run_key, tags={**request.piece.range_tags, ASKED_BY: str(asked_by)})
        for request in requests
    ]


def launched_run_keys(instance: dg.DagsterInstance, run_keys: Sequence[str]) -> set[str]:
    """Those for which there is a run, whoever launched it."""
    if not run_keys:
        return set()
    runs = instance.get_runs(filters=dg.RunsFilter(tags={RUN_KEY_TAG: list(run_keys)}))
    return {run.tags[RUN_KEY_TAG] for run in runs}


def write_cursor(requests: Iterable[Request]) -> str:
    """What this tick asks for. Dagster keeps it once the runs are launched, and not otherwise."""
    asked = [pair for request in requests for pair in zip(request.piece.keys, request.versions, strict=True)]
    return json.dumps({"asked_for": asked}, separators=(",", ":"))


def read_cursor(cursor: str | None) -> dict[str, str]:
    """Shot and version of what the last tick asked for, and what was launched therefore."""
    if not cursor:
        return {}
    try:
        return {str(key): str(version) for key, version in json.loads(cursor)["asked_for"]}
    except (ValueError, KeyError, TypeError):
        # Somebody edited the cursor in the UI. What is asked for again is joined or reused, and costs nothing.
        return {}


def remember_begun(index: ShotIndex, shots: Sequence[Shot], now: datetime, *, simulated: bool) -> None:
    """A run begins with these shots, whoever asked: should it never come to their end, they are taken up again. Those that
    are not ready or not due stay the sensor's and the schedule's."""
    found = [seen(shot, simulated=simulated) for shot in shots if shot.ready]
    found = [item for item in found if item.not_before is None or item.not_before <= now]
    index.save(found, now)
    index.mark_taken_up([item.key for item in found], [item.version for item in found], now)


def remember_finished(
    index: ShotIndex,
    finished: Sequence[Finished],
    now: datetime,
    *,
    simulated: bool,
    terminated: bool = False,
    collect_only: bool = False,
) -> None:
    """A shot that a run has brought to an end is taken up and finished, whoever asked; nobody needs to ask for it again.

    `terminated`: a person ended the run, and with it what it had not bought yet. `collect_only`: the run was not to buy, so
    that nothing was there to be collected is no end.
    """
    done = [
        seen(item.shot, simulated=simulated)
        for item in finished
        if _is_an_end(item.verdict, terminated=terminated) and not (collect_only and found_nothing(item))
    ]
    keys, versions = [item.key for item in done], [item.version for item in done]
    index.save(done, now)
    index.mark_taken_up(keys, versions, now)
    index.mark_finished(keys, versions, now)


_OPEN_ENDS = frozenset({Verdict.NOT_DUE, Verdict.IN_FLIGHT, Verdict.AMBIGUOUS, Verdict.DEFERRED})


def _is_an_end(verdict: Verdict, *, terminated: bool) -> bool:
    if verdict is Verdict.STOPPED:
        return terminated
    return verdict not in _OPEN_ENDS


def found_nothing(item: Finished) -> bool:
    """Of a run that only collects: there was nothing of this shot in flight, or it was not due, so nothing was decided."""
    return item.job_id is None and item.verdict is Verdict.FAILED
