"""Small worlds for matching: jobs as the ledger has them, and the lines that an honest provider would have of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from wan_pipeline.money import Money
from wan_pipeline.reconciliation.matching import Comparison, Ours, compare
from wan_pipeline.reconciliation.sides import Book, GivenBack, Line, OurJob
from wan_pipeline.reports.period import Period
from wan_pipeline.spend.audit_records import LineKind
from wan_pipeline.spend.records import Basis, JobState

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
DAY = Period.day(NOON.date())
MONTH = Period.month(NOON.date())
PRICE = Money.usd("0.05")
FIRST, LAST = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)


def job(number: int = 1, **changed: Any) -> OurJob:
    """A job that is stored and billed PRICE as quoted, unless it is said otherwise."""
    moment = changed.pop("moment", NOON + timedelta(seconds=number))
    made = OurJob(
        id=f"j{number:03}",
        shot=f"spring/cat{number}",
        take=1,
        model="wavespeed/wan-2.6-i2v-flash",
        upstream="alibaba/wan-2.6/image-to-video-flash",
        state=JobState.STORED,
        provider_job_id=f"pred-{number}",
        moment=moment,
        settled_at=moment + timedelta(minutes=2),
        billed=PRICE,
        basis=Basis.REPORTED,
        quoted_low=Money.usd("0.04"),
        quoted_high=Money.usd("0.06"),
    )
    return replace(made, **changed)


def given_back(amount: Money, at: datetime, *, told: bool = True) -> GivenBack:
    return GivenBack(amount, at, told)


def line(number: int = 1, amount: Money = PRICE, kind: LineKind = LineKind.CHARGE, **changed: Any) -> Line:
    """A line of the job of that number, entered when it was submitted."""
    made = Line(
        line_id=f"{kind.value}-{number}",
        place="the books",
        kind=kind,
        reference=f"pred-{number}",
        amount=amount,
        at=NOON + timedelta(seconds=number),
    )
    return replace(made, **changed)


def refund(number: int = 1, amount: Money = PRICE, **changed: Any) -> Line:
    return line(number, amount, LineKind.REFUND, **changed)


def honest(jobs: list[OurJob]) -> list[Line]:
    """What books would say that say what the ledger says."""
    lines: list[Line] = []
    for each in jobs:
        if each.charged:
            lines.append(
                Line(f"c-{each.id}", "the books", LineKind.CHARGE, each.provider_job_id, each.charged, each.moment)
            )
        lines += [
            Line(f"r-{each.id}-{n}", "the books", LineKind.REFUND, each.provider_job_id, back.amount, back.at)
            for n, back in enumerate(each.refunds)
        ]
    return lines


def ours(jobs: list[OurJob], ambiguous: list[OurJob] | None = None) -> Ours:
    known = {each.provider_job_id: each.id for each in jobs if each.provider_job_id}
    return Ours("wavespeed", False, {each.id: each for each in jobs}, known, ambiguous or [])


def books(lines: list[Line], **changed: Any) -> Book:
    """An invoice over half a year, read long after."""
    made = Book("invoice", "the books", tuple(lines), ((FIRST, LAST),), LAST, timedelta(), by_day=True)
    return replace(made, **changed)


def compared(lines: list[Line], jobs: list[OurJob], period: Period = DAY, **changed: Any) -> Comparison:
    return compare(books(lines, **changed), ours(jobs), period)


def named(comparison: Comparison) -> list[tuple[str, str, str | None]]:
    """Each finding: its kind, of what, and whose."""
    return sorted(
        (each.kind.value, each.line_kind.value, each.job.id if each.job else each.lines[0].reference)
        for each in comparison.findings
    )
