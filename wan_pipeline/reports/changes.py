"""What has changed between two makings of the same report: which figures, by how much, and which jobs did it.

What belongs here: the comparison of values. What does not: where the earlier ones are kept (record.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from wan_pipeline.money import Money
from wan_pipeline.reports.figures import COUNTS, FIELDS, Figures

KEPT = 20  # changes that a report tells of: a day that changes more often than that has another trouble
Value = int | Money


@dataclass(frozen=True, slots=True)
class FigureChange:
    """One of the totals: what was published, and what it is now."""

    simulated: bool
    figure: str  # a field of Figures, or billed, or wasted
    before: Value
    after: Value

    @property
    def difference(self) -> Value:
        if isinstance(self.before, Money) and isinstance(self.after, Money):
            return self.after - self.before
        if isinstance(self.before, int) and isinstance(self.after, int):
            return self.after - self.before
        raise TypeError(f"{self.figure}: {self.before!r} and {self.after!r} are not of one kind")


@dataclass(frozen=True, slots=True)
class Cause:
    """A job of the period about which something was written since, in words: `refund of 0.125 USD at …: note`."""

    simulated: bool
    job: str
    shot: str
    what: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """`since`: when the report published before was made; `as_of`: when this was found. `late`: the period was over then,
    so that what was published had looked final."""

    since: datetime
    as_of: datetime
    late: bool
    figures: tuple[FigureChange, ...]
    causes: tuple[Cause, ...]
    more_causes: int = 0  # that are not listed


@dataclass(frozen=True, slots=True)
class Published:
    """What is kept of a report for its next making."""

    as_of: datetime
    was_over: bool
    totals: Mapping[bool, Figures]
    changes: tuple[Change, ...] = ()


def figure_changes(before: Mapping[bool, Figures], after: Mapping[bool, Figures]) -> tuple[FigureChange, ...]:
    """Every total that is not what it was, live ones first; a kind of money that was not there counts as zero."""
    return tuple(
        FigureChange(simulated, name, getattr(old, name), getattr(new, name))
        for simulated in sorted({*before, *after})
        for old, new in [(before.get(simulated, Figures()), after.get(simulated, Figures()))]
        for name in (*COUNTS, *MONEY_NAMES)
        if getattr(old, name) != getattr(new, name)
    )


MONEY_NAMES = ("billed", *FIELDS[len(COUNTS) :], "wasted")


def changes_since(
    published: Published,
    after: Mapping[bool, Figures],
    causes: Sequence[Cause],
    as_of: datetime,
    most_causes: int = 200,
) -> tuple[Change, ...]:
    """The changes to be told, the latest first: this one, where there is any, and the earlier late ones. Growth while a
    period lasted is told once; what came late stays told."""
    earlier = tuple(change for change in published.changes if change.late)
    figures = figure_changes(published.totals, after)
    if not figures:
        return earlier[:KEPT]
    now = Change(
        since=published.as_of,
        as_of=as_of,
        late=published.was_over,
        figures=figures,
        causes=tuple(causes[:most_causes]),
        more_causes=max(0, len(causes) - most_causes),
    )
    return (now, *earlier)[:KEPT]
