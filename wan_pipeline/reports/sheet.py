"""A period's costs as values: rows, totals, sums by fewer dimensions. How they are read and how they look is elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from functools import reduce
from typing import Literal, TypeVar

from wan_pipeline.reports.changes import Change
from wan_pipeline.reports.figures import (
    BillDifference,
    BudgetRow,
    CostRow,
    DayCost,
    Figures,
    Previous,
    Refund,
    ShotCost,
)
from wan_pipeline.reports.period import Period

Dimension = Literal["provider", "model", "resolution", "sound", "campaign"]
DIMENSIONS: tuple[Dimension, ...] = ("provider", "model", "resolution", "sound", "campaign")
Item = TypeVar("Item")
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class CostSheet:
    """What one UTC day or month came to, as the ledger stood at `as_of`: the jobs submitted in it, and the refunds that
    took place in it.

    A past period's report may still change: one of its jobs may be billed or found out about later, or its video replaced.
    """

    period: Period
    as_of: datetime
    rows: tuple[CostRow, ...]  # live first, then as spelled: provider, model, resolution, sound, campaign (none first)
    dearest: tuple[ShotCost, ...] = ()  # at most ten of each kind, the dearest first
    days: tuple[DayCost, ...] = ()  # of a month: the days with anything in them
    differences: tuple[BillDifference, ...] = ()  # those outside the quote's bounds first, the largest difference first
    refunds: tuple[Refund, ...] = ()  # in the order of their moments
    budgets: tuple[BudgetRow, ...] = ()
    previous: Previous | None = None
    changes: tuple[Change, ...] = ()  # against what was published before; the latest first
    unreadable: str | None = None  # why what was published before could not be compared with

    @property
    def day(self) -> date:
        """The day, or the month's first."""
        return self.period.first

    @property
    def is_over(self) -> bool:
        """Had the period ended when the ledger was read?"""
        return self.period.is_over(self.as_of)

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
