"""Adds up a period's jobs and refunds: by line of the table, by shot, by day; and finds the bills that are not the quotes.

What belongs here: which job counts as what. What does not: SQL, and how anything looks. Many are added as whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from heapq import nsmallest
from typing import TypeVar

from wan_pipeline.money import Money
from wan_pipeline.reports.figures import (
    FIELDS,
    BillDifference,
    CostRow,
    DayCost,
    Figures,
    ShotCost,
    from_integers,
)
from wan_pipeline.reports.reading import JobRow, RefundRow, Sums, dimensions
from wan_pipeline.spend.records import OPEN_STATES, Basis, JobState

DEAREST = 10
_FAILED = frozenset({JobState.FAILED.value, JobState.LOST.value, JobState.REJECTED.value})
_LOST = frozenset({JobState.LOST.value, JobState.WRITTEN_OFF.value})
_OPEN = frozenset(state.value for state in OPEN_STATES)
_DELIVERED_NOTHING = frozenset({JobState.FAILED.value, JobState.REJECTED.value, JobState.RELEASED.value})
_SAID = frozenset({Basis.REPORTED.value, Basis.INVOICED.value})
_CHARGED, _REFUNDED, _HELD, _UNKNOWN = (FIELDS.index(name) for name in ("charged", "refunded", "held", "unknown"))
_NO_SUMS = Sums(None, 0, 0)

Key = TypeVar("Key")
Line = tuple[bool, str, str, str, str, str | None]


@dataclass
class Added:
    """The sums so far, in the order of FIELDS."""

    lines: dict[Line, list[int]] = field(default_factory=dict[Line, list[int]])
    shots: dict[tuple[bool, str], list[int]] = field(default_factory=dict[tuple[bool, str], list[int]])
    models: dict[tuple[bool, str], set[str]] = field(default_factory=dict[tuple[bool, str], set[str]])
    days: dict[tuple[bool, date], list[int]] = field(default_factory=dict[tuple[bool, date], list[int]])
    differences: list[BillDifference] = field(default_factory=list[BillDifference])

    def rows(self) -> tuple[CostRow, ...]:
        rows = [CostRow(*key, figures=from_integers(sums)) for key, sums in self.lines.items()]
        return tuple(sorted(rows, key=_order))

    def by_day(self) -> tuple[DayCost, ...]:
        return tuple(DayCost(*key, figures=from_integers(sums)) for key, sums in sorted(self.days.items()))

    def dearest(self) -> tuple[ShotCost, ...]:
        """At most ten of each kind. What may have been billed without our knowing counts with what was; the shot's name
        decides a tie."""
        ranked = [
            (kind, -billed - sums[_UNKNOWN], -sums[_HELD], shot)
            for (kind, shot), sums in self.shots.items()
            for billed in [sums[_CHARGED] - sums[_REFUNDED]]
            if billed + sums[_UNKNOWN] + sums[_HELD] > 0
        ]
        return tuple(
            ShotCost(kind, shot, tuple(sorted(self.models[kind, shot])), from_integers(self.shots[kind, shot]))
            for each in (False, True)
            for kind, _, _, shot in nsmallest(DEAREST, (rank for rank in ranked if rank[0] is each))
        )

    def bills(self) -> tuple[BillDifference, ...]:
        """Those outside the quote's bounds first, the largest difference first."""
        return tuple(
            sorted(self.differences, key=lambda each: (each.how == "within", -abs(each.difference.nanos), each.job))
        )


def add_up(jobs: Iterable[JobRow], sums: Mapping[str, Sums], refunds: Iterable[RefundRow], *, days: bool) -> Added:
    """`days`: each day's figures too."""
    added = Added()
    for job in jobs:
        money = sums.get(job.id, _NO_SUMS)
        values = _values(job, money)
        _add(added.lines, dimensions(job), values)
        _add_shot(added, (job.simulated, job.shot), job.model, values)
        if days:
            _add(added.days, (job.simulated, job.moment.date()), values)
        difference = _difference(job, money)
        if difference is not None:
            added.differences.append(difference)
    for row in refunds:
        refund, values = row.refund, _refund_values(row)
        _add(added.lines, dimensions(row), values)
        _add_shot(added, (refund.simulated, refund.shot), refund.model, values)
        if days:
            _add(added.days, (refund.simulated, refund.at.date()), values)
    return added


def totals(
    jobs: Iterable[JobRow], sums: Mapping[str, Sums], refunds: Iterable[RefundRow]
) -> tuple[tuple[bool, Figures], ...]:
    """By kind, those that occur: as `add_up`, and nothing but the totals."""
    kinds: dict[bool, list[int]] = {}
    for job in jobs:
        _add(kinds, job.simulated, _values(job, sums.get(job.id, _NO_SUMS)))
    for row in refunds:
        _add(kinds, row.refund.simulated, _refund_values(row))
    return tuple((kind, from_integers(values)) for kind, values in sorted(kinds.items()))


def totals_of(rows: Iterable[CostRow]) -> dict[bool, Figures]:
    """By kind, those that occur."""
    totals: dict[bool, Figures] = {}
    for row in rows:
        totals[row.simulated] = totals.get(row.simulated, Figures()) + row.figures
    return totals


def _order(row: CostRow) -> tuple[bool, str, str, str, str, str]:
    return row.simulated, row.provider, row.model, row.resolution, row.sound, row.campaign or ""


def _values(job: JobRow, money: Sums) -> list[int]:
    ambiguous = job.state == JobState.AMBIGUOUS.value
    stored = job.state == JobState.STORED.value
    net = (money.charged or 0) - money.refunded
    failed = lost = duplicate = unused = 0
    if job.state == JobState.FAILED.value:
        failed = net
    elif job.state in _LOST:
        lost = net
    elif job.is_duplicate:
        duplicate = net
    elif stored and not job.is_current:
        unused = net
    return [
        1,
        int(stored),
        int(job.state in _FAILED),
        int(ambiguous),
        int(job.state in _OPEN),
        job.duration_s if stored else 0,
        job.quoted_low,
        job.quoted_high,
        money.charged or 0,
        0,  # a refund belongs to its own moment
        0 if ambiguous else money.held,
        money.held if ambiguous else 0,
        failed,
        lost,
        duplicate,
        unused,
    ]


def _refund_values(row: RefundRow) -> list[int]:
    values = [0] * len(FIELDS)
    values[_REFUNDED] = row.refund.amount.nanos
    return values


def _add_shot(added: Added, shot: tuple[bool, str], model: str, values: list[int]) -> None:
    _add(added.shots, shot, values)
    added.models.setdefault(shot, set()).add(model)


def _difference(job: JobRow, money: Sums) -> BillDifference | None:
    """None: nobody has said, it is as quoted, or nothing was delivered and nothing is billed for that."""
    if money.charged is None:
        return None
    billed = money.charged - money.refunded
    if billed == 0 and job.state in _DELIVERED_NOTHING:
        return None
    if billed > job.quoted_high:
        how = "over"
    elif billed < job.quoted_low:
        how = "under"
    elif billed != job.quoted_high and job.basis in _SAID:
        how = "within"
    else:
        return None
    return BillDifference(
        simulated=job.simulated,
        job=job.id,
        shot=job.shot,
        provider=job.provider,
        model=job.model,
        state=JobState(job.state),
        quoted_low=Money(job.quoted_low),
        quoted=Money(job.quoted_high),
        billed=Money(billed),
        basis=None if job.basis is None else Basis(job.basis),
        how=how,
    )


def _add(groups: dict[Key, list[int]], key: Key, values: list[int]) -> None:
    have = groups.get(key)
    if have is None:
        groups[key] = list(values)
    else:
        groups[key] = [one + other for one, other in zip(have, values, strict=True)]
