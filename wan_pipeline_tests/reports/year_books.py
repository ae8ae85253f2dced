"""The providers' side of the generated year: what their own books say of it, line by line, and no more than they would.

AI/ML API and WaveSpeed keep books that a program reads (lines for the ledger's statements); ShortAPI sends an invoice each
month (a CSV file with its mapping: year_invoices.py). The books agree with the ledger; year_planting.py puts errors in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from wan_pipeline.money import Money
from wan_pipeline.spend.audit_records import LineKind, StatementLine
from wan_pipeline_tests.reports.year_jobs import YearJob

INVOICED = "shortapi"
SOURCES = {
    "aimlapi": "AI/ML API /v2/billing/transactions",
    "wavespeed": "WaveSpeed /api/v3/billings/search",
}
_UPSTREAM = {
    "shortapi/wan-2.6-i2v": "alibaba/wan-2.6/image-to-video",
    "shortapi/wan-2.7-i2v": "alibaba/wan-2.7/image-to-video",
    "shortapi/wan-2.6-r2v": "alibaba/wan-2.6/reference-to-video",
    "aimlapi/wan-2.6-i2v": "alibaba/wan-2-6-i2v",
    "wavespeed/wan-2.6-i2v-flash": "alibaba/wan-2.6/image-to-video-flash",
}
_PAID_IN = 5_000_000_000_000  # nano-dollars, into AI/ML API's account, at the first moment of each month


class BookLine(NamedTuple):
    """One line of a provider's books. `at` is UTC without a time zone; `job_id`: of the ledger's job that it is for, which
    the provider does not know."""

    provider: str
    line_id: str
    kind: str  # charge, refund, topup
    reference: str | None
    nanos: int
    at: datetime
    model: str | None
    job_id: str | None


def lines_of(job: YearJob) -> Iterator[BookLine]:
    """Every line that the job's provider has of it. What is under way has none yet, and what nobody knows of has none."""
    if job.state in ("submitted", "generated", "ambiguous", "released") or not job.billed_at_all:
        return
    offer = job.offer
    if offer.provider == "aimlapi" and job.state == "failed" and not job.billed and job.fingerprint[0] < "8":
        return  # a request that fails may cost nothing from the beginning
    reference = job.provider_job_id or job.id  # an invoice may name our job instead
    charged = sum(entry.nanos for entry in job.entries if entry.kind in ("charge", "adjustment"))
    if charged:
        yield BookLine(
            offer.provider,
            _line_id(job, "charge", 0),
            "charge",
            reference,
            charged,
            _charged_at(job),
            _UPSTREAM[offer.model],
            job.id,
        )
    refunds = [entry for entry in job.entries if entry.kind == "refund" and entry.nanos]
    for number, entry in enumerate(refunds):
        at, line_id = entry.took_place_at, _line_id(job, "refund", number)
        yield BookLine(offer.provider, line_id, "refund", reference, entry.nanos, at, _UPSTREAM[offer.model], job.id)


def topups(since: datetime, until: datetime) -> Iterator[BookLine]:
    """What was paid into AI/ML API's account, month by month."""
    month = since.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while month < until:
        if month >= since:
            yield BookLine("aimlapi", f"PAYMENT {month:%Y-%m}", "topup", None, _PAID_IN, month, None, None)
        month = (month + timedelta(days=32)).replace(day=1)


def statement_lines(lines: Iterable[BookLine]) -> Iterator[StatementLine]:
    """As `ledger.statements` keeps them."""
    for line in lines:
        yield StatementLine(
            line.provider,
            False,
            SOURCES[line.provider],
            line.line_id,
            LineKind(line.kind),
            line.reference,
            Money(line.nanos),
            line.at.replace(tzinfo=UTC),
            line.model,
        )


def _line_id(job: YearJob, kind: str, number: int) -> str:
    return f"{kind[0]}{number}-{job.fingerprint[40:60]}"


def _charged_at(job: YearJob) -> datetime:
    """AI/ML API enters a charge when the generation is done, which may be the day after."""
    submitted_at = job.submitted_at or job.claimed_at
    if job.offer.provider == "aimlapi":
        return (job.generated_at or submitted_at) + timedelta(seconds=10)
    return submitted_at


class BooksAsRead:
    """A provider's client as far as its books go: tells of these lines, and nothing else can be had of it. ShortAPI's has
    no books at all."""

    def __init__(self, lines: Iterable[StatementLine]) -> None:
        self.books_title = "the generated year's books"
        self._by_day: defaultdict[date, list[StatementLine]] = defaultdict(list)
        for line in lines:
            self._by_day[line.at.date()].append(line)

    async def statement(self, since: datetime, until: datetime, *, simulated: bool) -> list[StatementLine]:
        days = [since.date() + timedelta(days=number) for number in range((until.date() - since.date()).days + 1)]
        return [line for day in days for line in self._by_day.get(day, []) if since <= line.at < until]

    async def sent_with(self, since: datetime, until: datetime) -> dict[str, str]:
        return {}


class NoBooks:
    """A client that lets nobody read its books."""


def connected(lines: Iterable[BookLine]) -> Callable[[str], AbstractAsyncContextManager[Any]]:
    """For a Reconciler: each provider's client by its name."""
    kept: defaultdict[str, list[BookLine]] = defaultdict(list)
    for line in lines:
        kept[line.provider].append(line)
    clients: dict[str, Any] = {name: BooksAsRead(statement_lines(kept[name])) for name in SOURCES}

    @asynccontextmanager
    async def connect(provider: str) -> AsyncGenerator[Any]:
        yield clients.get(provider, NoBooks())

    return connect
