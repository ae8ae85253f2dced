"""What gives cause for an alert: rules over one reading of the ledger, and nothing else.

A cause has a kind (the name of the asset check that shows it), a subject, which says of what and of which period, and a
sentence with the figures. The same kind and subject is told once (spend/alerts.py). Live and simulated money never meet
here: a reading is of one of them.

What does not belong here: reading the ledger (watching.py), telling anyone (webhook.py, the UI).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

from wan_pipeline.money import Money
from wan_pipeline.spend.records import BudgetLine

BUDGET_USED = "budget_used"
USUAL_SPEND = "usual_spend"
AMBIGUOUS_MONEY = "ambiguous_money"
WASTE = "waste"
BILLS_WITHIN_QUOTES = "bills_within_quotes"

BUDGET_PERCENT = 80
UNUSUAL_FACTOR = 3
USUAL_DAYS = 14  # looked back at
USUAL_DAYS_AT_LEAST = 5  # with spend: fewer have no median worth the name
DOUBT_FOR = timedelta(days=1)
WASTE_PERCENT = 5
WASTE_MATTERS_FROM = Money.usd(1)  # billed in the month: of less, every failure is a large part

RULES = {
    BUDGET_USED: f"A budget is used to {BUDGET_PERCENT} % or more: what is held and what was billed together.",
    USUAL_SPEND: (
        f"Held and billed for today's purchases (UTC) is over {UNUSUAL_FACTOR} times the usual: the median of the days with"
        f" spend among the last {USUAL_DAYS}, where there are at least {USUAL_DAYS_AT_LEAST}."
    ),
    AMBIGUOUS_MONEY: "A job has been ambiguous for more than a day: what it holds is unknown, not zero.",
    WASTE: (
        f"Over {WASTE_PERCENT} % of what was billed for the jobs of this UTC month is wasted (failed, lost, duplicates,"
        f" unused takes); from {WASTE_MATTERS_FROM} USD on."
    ),
    BILLS_WITHIN_QUOTES: "A job was billed more than it was quoted at most.",
}
KINDS = tuple(RULES)


@dataclass(frozen=True, slots=True)
class Doubt:
    """An ambiguous job, and since when it is."""

    job: str
    shot: str
    provider: str
    held: Money
    since: datetime


@dataclass(frozen=True, slots=True)
class Bill:
    """A job that was billed more than its quote's upper bound."""

    job: str
    shot: str
    model: str
    billed: Money
    quoted: Money


@dataclass(frozen=True, slots=True)
class Waste:
    """Of the jobs submitted in the UTC month that begins on `month`: what was billed, and what of it is wasted, by kind."""

    month: date
    billed: Money
    wasted: tuple[tuple[str, Money], ...]

    @property
    def total(self) -> Money:
        return Money.total(amount for _, amount in self.wasted)


@dataclass(frozen=True, slots=True)
class Reading:
    """The ledger at one moment, as far as a rule asks for it. `spend_before`: of each day before today that is looked back
    at, zero where nothing was bought. `waste` None: it was not read this time."""

    at: datetime
    simulated: bool
    budgets: Sequence[BudgetLine]
    spend_today: Money
    spend_before: Sequence[Money]
    doubts: Sequence[Doubt]
    waste: Waste | None
    bills: Sequence[Bill]

    @property
    def kinds(self) -> frozenset[str]:
        """Of which kinds it tells everything there is."""
        return frozenset(KINDS if self.waste is not None else (kind for kind in KINDS if kind != WASTE))

    @property
    def usd(self) -> str:
        return "simulated USD" if self.simulated else "USD"


@dataclass(frozen=True, slots=True, order=True)
class Cause:
    kind: str
    subject: str
    message: str


def causes(reading: Reading) -> list[Cause]:
    """All that there is cause to tell of, kind by kind."""
    return [cause for rule in _RULES for cause in rule(reading)]


def usual(spend_before: Sequence[Money]) -> Money | None:
    """The median of the days with spend, to the nano-dollar below. None: there are too few of them."""
    days = sorted(amount.nanos for amount in spend_before if amount.nanos > 0)
    if len(days) < USUAL_DAYS_AT_LEAST:
        return None
    middle = len(days) // 2
    return Money(days[middle] if len(days) % 2 else (days[middle - 1] + days[middle]) // 2)


def _budgets(reading: Reading) -> list[Cause]:
    found: list[Cause] = []
    for line in reading.budgets:
        used = line.held + line.billed
        if used.nanos <= 0 or 100 * used.nanos < BUDGET_PERCENT * line.allowed.nanos:
            continue
        # A budget without a period is another one once its limit is raised.
        period = f"until {line.until:%Y-%m-%d}" if line.until else f"of {line.allowed} USD"
        share = f"{_percent(used, line.allowed)} % used" if line.allowed else "used, though it allows nothing"
        parts = f"{line.billed} billed, {line.held} held"
        message = f"{line.name} is {share}: {used} of {line.allowed} {reading.usd} ({parts}), {line.left} left"
        message += f" until {line.until:%Y-%m-%d} UTC" if line.until else ""
        found.append(Cause(BUDGET_USED, f"{line.name} {period}", message))
    return found


def _spend(reading: Reading) -> list[Cause]:
    normal = usual(reading.spend_before)
    if normal is None or reading.spend_today.nanos <= UNUSUAL_FACTOR * normal.nanos:
        return []
    today = reading.at.astimezone(UTC).date()
    days = sum(amount.nanos > 0 for amount in reading.spend_before)
    message = (
        f"{reading.spend_today} {reading.usd} are held and billed for what was bought today ({today}, UTC): over"
        f" {UNUSUAL_FACTOR} times the usual {normal}, the median of {days} days with spend among the last {USUAL_DAYS}"
    )
    return [Cause(USUAL_SPEND, today.isoformat(), message)]


def _doubts(reading: Reading) -> list[Cause]:
    return [
        Cause(
            AMBIGUOUS_MONEY,
            doubt.job,
            f"{doubt.held} {reading.usd} are in doubt since {doubt.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC: whether"
            f" {doubt.provider} took the job {doubt.job} ({doubt.shot}) nobody knows. What is known:"
            f" wan-pipeline jobs --state ambiguous; to decide: wan-pipeline resolve {doubt.job}",
        )
        for doubt in reading.doubts
        if reading.at - doubt.since > DOUBT_FOR
    ]


def _waste(reading: Reading) -> list[Cause]:
    waste = reading.waste
    if waste is None or waste.billed < WASTE_MATTERS_FROM:
        return []
    if 100 * waste.total.nanos <= WASTE_PERCENT * waste.billed.nanos:
        return []
    parts = ", ".join(f"{amount} {kind}" for kind, amount in waste.wasted if amount)
    message = (
        f"{_percent(waste.total, waste.billed)} % of what was billed for the jobs of {waste.month:%Y-%m} is wasted:"
        f" {waste.total} of {waste.billed} {reading.usd} ({parts})"
    )
    return [Cause(WASTE, f"{waste.month:%Y-%m}", message)]


def _bills(reading: Reading) -> list[Cause]:
    return [
        Cause(
            BILLS_WITHIN_QUOTES,
            bill.job,
            f"the job {bill.job} ({bill.shot}, {bill.model}) was billed {bill.billed} {reading.usd}:"
            f" {bill.billed - bill.quoted} more than the {bill.quoted} it was quoted at most",
        )
        for bill in reading.bills
        if bill.billed > bill.quoted
    ]


def _percent(part: Money, whole: Money) -> str:
    """With one place, towards zero: 79.99 is not 80."""
    tenths = int(Fraction(1000 * part.nanos, whole.nanos))
    return f"{tenths // 10}.{tenths % 10}" if tenths % 10 else str(tenths // 10)


_RULES: tuple[Callable[[Reading], list[Cause]], ...] = (_budgets, _spend, _doubts, _waste, _bills)
