"""The figures of a report and how they add up. What is read from where, and how it looks, is not here."""

from __future__ import annotations

from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Self

from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.records import OPEN_STATES, JobState

FAILED_STATES = frozenset({JobState.FAILED, JobState.LOST, JobState.REJECTED})
# What is billed for these bought nothing.
WASTED_STATES = frozenset({JobState.FAILED, JobState.LOST, JobState.WRITTEN_OFF})


@dataclass(frozen=True, slots=True)
class JobCost:
    """One job of the ledger, with the sums of its money entries."""

    id: str
    shot: str
    provider: str
    model: str
    resolution: str
    campaign: str | None
    state: JobState
    simulated: bool
    duration_s: int
    quoted_low: Money
    quoted_high: Money
    billed: Money | None  # None: nobody has said
    held: Money

    @property
    def figures(self) -> Figures:
        ambiguous = self.state is JobState.AMBIGUOUS
        stored = self.state is JobState.STORED
        return Figures(
            jobs=1,
            stored=int(stored),
            failed=int(self.state in FAILED_STATES),
            ambiguous=int(ambiguous),
            in_flight=int(self.state in OPEN_STATES),
            seconds=self.duration_s if stored else 0,
            quoted_low=self.quoted_low,
            quoted=self.quoted_high,
            billed=self.billed or ZERO,
            held=ZERO if ambiguous else self.held,
            unknown=self.held if ambiguous else ZERO,
            wasted=(self.billed or ZERO) if self.state in WASTED_STATES else ZERO,
        )


@dataclass(frozen=True, slots=True)
class Figures:
    """What jobs came to, added up. Live and simulated jobs are never added to each other: one of them is no money."""

    jobs: int = 0
    stored: int = 0  # a video was made and is in the bucket
    failed: int = 0  # failed, lost or rejected
    ambiguous: int = 0  # sent, and nobody knows whether it was taken
    in_flight: int = 0
    seconds: int = 0  # of stored video, as ordered
    quoted_low: Money = ZERO
    quoted: Money = ZERO  # the upper bounds
    billed: Money = ZERO  # charges - refunds + adjustments: what somebody has said so far
    held: Money = ZERO  # of jobs in flight: reserved, and on its way to being billed or released
    unknown: Money = ZERO  # of ambiguous jobs: at most this may have been billed. Unknown is not zero
    wasted: Money = ZERO  # the part of what is billed that no video came of: failed, lost, written off

    def __add__(self, other: Self) -> Figures:
        return Figures(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    @property
    def usd_per_second(self) -> Money | None:
        """Billed for a second of stored video, failures' bills included, to the nearest nano-dollar. None: no video."""
        return Money(round(Fraction(self.billed.nanos, self.seconds))) if self.seconds else None


@dataclass(frozen=True, slots=True)
class CostRow:
    """One line of the table."""

    simulated: bool
    provider: str
    model: str
    resolution: str
    campaign: str | None
    figures: Figures


@dataclass(frozen=True, slots=True)
class ShotCost:
    """What one shot came to on that day, in all its takes."""

    simulated: bool
    shot: str
    models: tuple[str, ...]
    figures: Figures
