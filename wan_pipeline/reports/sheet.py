"""A day's costs as values: rows, totals, sums by fewer dimensions. How they are read and how they look is elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from functools import reduce
from typing import Literal, TypeVar

from wan_pipeline.reports.figures import CostRow, Figures, ShotCost

Dimension = Literal["provider", "model", "resolution", "campaign"]
Item = TypeVar("Item")
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class CostSheet:
    """What the jobs submitted on one UTC day came to, as the ledger stood at `as_of`.

    A past day's report may still change: a job of that day may be billed, refunded or found out about later.
    """

    day: date
    as_of: datetime
    rows: tuple[CostRow, ...]  # live first, then as spelled: provider, model, resolution, campaign (none first)
    dearest: tuple[ShotCost, ...]  # at most ten of each kind, the dearest first

    @property
    def kinds(self) -> tuple[bool, ...]:
        """The values of `simulated` that occur; they are never added to each other."""
        return tuple(sorted({row.simulated for row in self.rows}))

    def total(self, *, simulated: bool) -> Figures:
        """All live jobs, or all simulated ones."""
        return total_of(row.figures for row in self.rows if row.simulated is simulated)

    def by(self, *dimensions: Dimension, simulated: bool) -> dict[tuple[str | None, ...], Figures]:
        """The same figures, added up by fewer dimensions: `report.by("model", simulated=False)`."""
        chosen = [row for row in self.rows if row.simulated is simulated]
        groups = grouped(chosen, lambda row: tuple(getattr(row, dimension) for dimension in dimensions))
        return {key: total_of(row.figures for row in rows) for key, rows in groups.items()}


def total_of(figures: Iterable[Figures]) -> Figures:
    return reduce(lambda one, other: one + other, figures, Figures())


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups
