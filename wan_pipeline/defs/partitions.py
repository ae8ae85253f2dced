"""The partitions: one per shot, UTC day and UTC month; how keys are added, and how a set of keys becomes ranges.

What belongs here: what Dagster's partition storage demands. What does not: which shots are to be made (take_up.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import dagster as dg
from sqlalchemy.exc import IntegrityError

from wan_pipeline.defs.run_tags import RANGE_SIZE_TAG

# Dagster's names; a test compares them with those it uses.
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"

SHOTS = "shots"
# A run's process costs 1.4 s of CPU beside its shots: 69 ms a video in runs of 50, 46 in runs of 200, 41 in runs of 1,000
# (benchmarks/partitions.py); and four runs at once are to hold what a large account makes at a time.
MAX_SHOTS_PER_RUN = 200
_KEYS_PER_INSERT = 10_000  # SQLite refuses about 30,000 in one statement

shot_partitions = dg.DynamicPartitionsDefinition(name=SHOTS)
# end_offset=1: today is a partition too, so that a report of the running day can be made.
day_partitions = dg.DailyPartitionsDefinition(start_date="2026-01-01", end_offset=1)
# Keys are `2026-03`, as the files in the bucket are called. end_offset=1: the running month is a partition too.
month_partitions = dg.MonthlyPartitionsDefinition(start_date="2026-01", end_offset=1, fmt="%Y-%m")


@dataclass(frozen=True, slots=True)
class Piece:
    """Shots that lie side by side in the order of the partitions, so that one run can have them as a range."""

    keys: tuple[str, ...]

    @property
    def range_tags(self) -> dict[str, str]:
        """The run tags that make a run one over this range, and say how many are in it."""
        return {RANGE_START_TAG: self.keys[0], RANGE_END_TAG: self.keys[-1], RANGE_SIZE_TAG: str(len(self.keys))}


def add_shots(instance: dg.DagsterInstance, keys: Iterable[str]) -> list[str]:
    """Add the keys that are no partitions yet, in the order given, so that they lie side by side. Returns those."""
    wanted = list(dict.fromkeys(keys))
    known = instance.get_existing_dynamic_partitions(SHOTS, wanted)
    new = [key for key in wanted if key not in known]
    for start in range(0, len(new), _KEYS_PER_INSERT):
        _add(instance, new[start : start + _KEYS_PER_INSERT])
    return new


def _add(instance: dg.DagsterInstance, keys: Sequence[str]) -> None:
    """Dagster looks which keys there are and inserts the others; somebody else may add one in between."""
    for last in (False, True):
        try:
            instance.add_dynamic_partitions(SHOTS, keys)
            return
        except IntegrityError:
            if last:
                raise


def contiguous_pieces(order: Sequence[str], wanted: Collection[str], max_size: int = MAX_SHOTS_PER_RUN) -> list[Piece]:
    """The wanted keys as the fewest pieces of neighbours in `order`, none longer than `max_size`.

    `order`: all partitions, or as partition_order.in_order gives them. Keys that are not in it (no partitions) are in no
    piece.
    """
    if max_size < 1:
        raise ValueError(f"a piece holds at least one shot, not {max_size}")
    wanted = wanted if isinstance(wanted, (set, frozenset)) else frozenset(wanted)
    pieces: list[Piece] = []
    current: list[str] = []
    for key in order:
        if key in wanted:
            current.append(key)
        if current and (key not in wanted or len(current) == max_size):
            pieces.append(Piece(tuple(current)))
            current = []
    if current:
        pieces.append(Piece(tuple(current)))
    return pieces
