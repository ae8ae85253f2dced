"""The figures of a report and how they add up. What is read from where, and how it looks, is not here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from fractions import Fraction
from typing import Self

from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.records import Basis, JobState

SOUND = {True: "sound", False: "silent", None: "not said"}  # jobs.has_audio


@dataclass(frozen=True, slots=True)
class Figures:
    """What jobs came to, added up. Live and simulated jobs are never added to each other: one of them is no money.

    `refunded` belongs to the refunds' own moments, everything else to the moment of the job's submission.
    """

    jobs: int = 0
    takes: int = 0  # videos bought and stored. A shot that reuses another's video buys none
    failed: int = 0  # failed, lost or rejected
    ambiguous: int = 0  # sent, and nobody knows whether it was taken
    in_flight: int = 0
    seconds: int = 0  # of stored video, as ordered
    quoted_low: Money = ZERO
    quoted: Money = ZERO  # the upper bounds
    charged: Money = ZERO  # charges + adjustments: what somebody has said so far
    refunded: Money = ZERO
    held: Money = ZERO  # of jobs in flight: reserved, and on its way to being billed or released
    unknown: Money = ZERO  # of ambiguous jobs: at most this may have been billed. Unknown is not zero
    wasted_failed: Money = ZERO  # billed for jobs that failed
    wasted_lost: Money = ZERO  # for jobs whose video is lost, or that were written off
    wasted_duplicate: Money = ZERO  # for jobs that were bought once more because a person allowed it
    wasted_unused: Money = ZERO  # for videos that are no shot's current take any more

    def __add__(self, other: Self) -> Figures:
        return Figures(*(getattr(self, name) + getattr(other, name) for name in FIELDS))

    @property
    def billed(self) -> Money:
        """Charged less refunded: below zero where more was given back in the period than charged."""
        return self.charged - self.refunded

    @property
    def wasted(self) -> Money:
        """The part of what is billed that no video in use came of; what was given back is not wasted."""
        return self.wasted_failed + self.wasted_lost + self.wasted_duplicate + self.wasted_unused

    @property
    def usd_per_second(self) -> Money | None:
        """Billed for a second of stored video, failures' bills included, to the nearest nano-dollar. None: no video was
        stored, or more was given back than charged."""
        if not self.seconds or self.billed.nanos < 0:
            return None
        return Money(round(Fraction(self.billed.nanos, self.seconds)))


FIELDS = tuple(each.name for each in fields(Figures))
COUNTS = FIELDS[: FIELDS.index("quoted_low")]
AMOUNTS = FIELDS[FIELDS.index("quoted_low") :]


def from_integers(values: Sequence[int]) -> Figures:
    """Figures from whole numbers in the order of FIELDS, amounts in nano-dollars: how many are added up quickly."""
    counts = len(COUNTS)
    return Figures(*values[:counts], *(Money(nanos) for nanos in values[counts:]))  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True, slots=True)
class CostRow:
    """One line of the table. `campaign` None: none."""

    simulated: bool
    provider: str
    model: str
    resolution: str
    sound: str  # a value of SOUND
    campaign: str | None
    figures: Figures


@dataclass(frozen=True, slots=True)
class DayCost:
    """One day of a month."""

    simulated: bool
    day: date
    figures: Figures


@dataclass(frozen=True, slots=True)
class ShotCost:
    """What one shot came to in the period, in all its takes."""

    simulated: bool
    shot: str
    models: tuple[str, ...]
    figures: Figures


@dataclass(frozen=True, slots=True)
class BillDifference:
    """A job whose bill is not its quote. `how`: over or under the quote's bounds, or within them but not the upper bound."""

    simulated: bool
    job: str
    shot: str
    provider: str
    model: str
    state: JobState
    quoted_low: Money
    quoted: Money
    billed: Money
    basis: Basis | None
    how: str

    @property
    def difference(self) -> Money:
        """Against the bound that is nearest: what is over the upper one, or under the lower one; within, against the
        upper."""
        return self.billed - (self.quoted_low if self.how == "under" else self.quoted)


@dataclass(frozen=True, slots=True)
class Refund:
    """Money that a provider gave back in the period; its job may be of an earlier one."""

    simulated: bool
    job: str
    shot: str
    provider: str
    model: str
    amount: Money
    at: datetime  # its own moment
    submitted_at: datetime  # the job's
    note: str


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """A budget against what counted in it when the report was made. `name`: its setting, and whose it is. It counts what
    is held and billed for jobs claimed in its period; `period`: which, or "for good"."""

    simulated: bool
    name: str
    period: str
    allowed: Money
    held: Money
    billed: Money

    @property
    def used(self) -> Money:
        return self.held + self.billed

    @property
    def left(self) -> Money:
        return self.allowed - self.used

    @property
    def percent(self) -> int | None:
        """Used of allowed, in whole percent, rounded down (100 is full). None: nothing is allowed."""
        return self.used.nanos * 100 // self.allowed.nanos if self.allowed else None


@dataclass(frozen=True, slots=True)
class Previous:
    """The totals of the period before, for comparison."""

    name: str
    totals: tuple[tuple[bool, Figures], ...]  # by `simulated`

    def total(self, *, simulated: bool) -> Figures:
        return dict(self.totals).get(simulated, Figures())
