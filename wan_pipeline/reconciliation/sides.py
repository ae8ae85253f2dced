"""The two sides as values: a line of somebody's books, the books as a whole, and a job as the ledger has it.

What does not belong here: reading either side, comparing them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.audit_records import LineKind
from wan_pipeline.spend.records import OPEN_STATES, Basis, JobState

# How far a provider's clock may be from ours, and how much later than what happened its books may tell of it: a charge lands
# once a generation has completed, a refund within hours (shared/providers/README.md: WaveSpeed's within 3).
CLOCK_SKEW = timedelta(hours=4)
BOOKS_LAG = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a provider's books. `place`: where it stands, for a person; `amount`: positive, `kind` says which way.
    `at`: its moment, or the first one of its date, which ends at `until`. `occurrence`: 2 for the second line that has the
    same id, as in a file with a row pasted twice."""

    line_id: str
    place: str
    kind: LineKind
    reference: str | None
    amount: Money
    at: datetime
    until: datetime | None = None
    model: str | None = None
    detail: str = ""
    occurrence: int = 1

    @property
    def signed(self) -> Money:
        """What it adds to what is billed."""
        match self.kind:
            case LineKind.CHARGE:
                return self.amount
            case LineKind.REFUND:
                return -self.amount
            case _:
                return ZERO

    @property
    def unique(self) -> str:
        """Its id, told from another line's of the same id."""
        return self.line_id if self.occurrence == 1 else f"{self.line_id} ({self.occurrence})"

    @property
    def named(self) -> str:
        """Where it stands, and its id, where that says more."""
        says_no_more = self.place.endswith(self.line_id.replace(" line ", ", line "))
        return self.place if says_no_more else f"{self.place}: {self.unique}"

    def is_dated(self, moment: datetime) -> bool:
        """Is its date the day of this moment? In UTC, where it names a time; else in the time zone of its books."""
        if self.until is None:
            return utc_day(self.at) == utc_day(moment)
        return self.at <= moment < self.until


@dataclass(frozen=True, slots=True)
class Book:
    """One set of books of a provider. `name` is the same in each run; `title` is for a person. `spans`: the time that they
    tell of, each from its first moment to before its last; `as_of`: what happened before it should be in them, `lag` later.
    `by_day`: a line is dated by the day of what it is for (an invoice); where not, by the moment at which it was entered."""

    name: str
    title: str
    lines: tuple[Line, ...]
    spans: tuple[tuple[datetime, datetime], ...]
    as_of: datetime
    lag: timedelta = BOOKS_LAG
    by_day: bool = False

    def covers(self, moment: datetime) -> bool:
        """Would they tell of what happened then?"""
        return any(first <= moment < last for first, last in self.spans)

    def is_early(self, moment: datetime) -> bool:
        """May what happened then still be on its way into them?"""
        return moment + self.lag > self.as_of


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A refund as the ledger has it. `told`: the provider has said when it took place; else `at` is when it was written."""

    amount: Money
    at: datetime
    told: bool


@dataclass(frozen=True, slots=True)
class OurJob:
    """A job, as far as its money goes. `moment`: whose UTC day its charge belongs to. `settled_at`: when its charge was due,
    by what is known of its end. `upstream`: its model as the provider calls it. `attempts`: of an ambiguous one, our own ids
    of its sendings."""

    id: str
    shot: str
    take: int
    model: str
    upstream: str
    state: JobState
    provider_job_id: str | None
    moment: datetime
    settled_at: datetime
    billed: Money | None
    basis: Basis | None
    quoted_low: Money
    quoted_high: Money
    refunds: tuple[GivenBack, ...] = ()
    video_uri: str | None = None
    attempts: tuple[str, ...] = ()

    @property
    def charged(self) -> Money:
        """Charges and adjustments, before what was given back."""
        billed = self.billed or ZERO
        return Money.total([billed, *(refund.amount for refund in self.refunds)]) if self.refunds else billed

    @property
    def is_open(self) -> bool:
        """Is it under way, so that nobody has said the last word about its charge?"""
        return self.state in OPEN_STATES

    @property
    def named(self) -> str:
        return f"job {self.id} ({self.shot}, take {self.take})"


def utc_day(moment: datetime) -> str:
    """`2026-11-20`."""
    return moment.astimezone(UTC).date().isoformat()


def utc(moment: datetime) -> str:
    """`2026-11-20 23:59:59 UTC`, with a fraction where it has one."""
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")
    return f"{text} UTC"
