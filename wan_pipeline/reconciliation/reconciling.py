"""Reconciling: a provider's books of a day or month are read, compared with the ledger, and what they settle is corrected.

What belongs here: the order of it all, and what it came to. What does not: each of its steps (the files beside), Dagster,
and how it is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from wan_pipeline.bucket import Bucket
from wan_pipeline.money import Money
from wan_pipeline.providers.connect import PROVIDERS
from wan_pipeline.reconciliation import correcting, provider_books
from wan_pipeline.reconciliation.findings import Finding, Standing
from wan_pipeline.reconciliation.invoices import Invoices, InvoiceSet, RefusedFile, read_invoices, spans_of
from wan_pipeline.reconciliation.ledger_side import Corrected, LedgerSide
from wan_pipeline.reconciliation.matching import Comparison, Ours, compare, in_ledger
from wan_pipeline.reconciliation.provider_books import Connect, Reading
from wan_pipeline.reconciliation.sides import Book, Line
from wan_pipeline.reports.period import Period
from wan_pipeline.spend.audit_records import Explanation, LineKind
from wan_pipeline.spend.ledger import Ledger

_ROUNDS = 4  # of corrections: each set of books may have one to say of a job


class Verdict(StrEnum):
    """What a reconciliation came to."""

    EXPLAINED = "explained"  # every line and every job is matched, corrected or explained
    UNEXPLAINED = "unexplained"
    UNREADABLE = "unreadable"  # an invoice has mistakes: nothing of it counts
    NOT_READ = "not read"  # a provider's books could not be read: nothing is concluded from them
    NO_BOOKS = "no books"  # there is nothing to compare with


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A provider's day or month. `corrected`: what this run has corrected; `corrections`: all that ever were, of its jobs;
    `said`: all that people have said of its findings. `jobs`: how many submitted in it were charged, by the ledger;
    `billed`: what the ledger has of the period, in which a refund counts at its own moment."""

    provider: str
    title: str
    period: Period
    simulated: bool
    as_of: datetime
    comparisons: tuple[Comparison, ...]
    unread: str | None
    unasked: str | None  # why its books were not asked for, where nothing was bought there
    refused: tuple[RefusedFile, ...]
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]
    corrected: tuple[Finding, ...]
    corrections: tuple[Corrected, ...]
    said: tuple[Explanation, ...]
    jobs: int
    billed: Money

    @property
    def unexplained(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.is_open]

    @property
    def verdict(self) -> Verdict:
        if self.refused:
            return Verdict.UNREADABLE
        if self.unexplained:
            return Verdict.UNEXPLAINED
        if self.unread is not None:
            return Verdict.NOT_READ
        return Verdict.EXPLAINED if self.comparisons else Verdict.NO_BOOKS

    @property
    def is_running(self) -> bool:
        """Is the day or month not over yet?"""
        return not self.period.is_over(self.as_of)

    @property
    def earlier(self) -> list[Explanation]:
        """What was said of findings that there are no more: their amounts were corrected."""
        there = {finding.key for finding in self.findings}
        return [each for each in self.said if each.finding not in there]


@dataclass(frozen=True, slots=True)
class Reconciler:
    """What reconciling is done with. `connect` gives a provider's client by its name and may raise ConfigurationError. Not
    to be used inside an event loop."""

    ledger: Ledger
    bucket: Bucket
    connect: Connect
    simulated: bool

    def invoices(self) -> Invoices:
        """What lies below `invoices/` now, for several reconciliations. Raises BucketError."""
        return read_invoices(self.bucket)

    def reconcile(
        self, provider: str, period: Period, invoices: Invoices | None = None, *, dry_run: bool = False
    ) -> Reconciliation:
        """The provider's period. `dry_run`: what would be corrected is said and not done; the provider's lines are kept all
        the same. Raises BucketError."""
        now = self.ledger.now()
        invoices = self.invoices() if invoices is None else invoices
        files = [each for each in invoices.sets if each.provider == provider]
        side = self._side(provider, period)
        reading = provider_books.read(self.connect, side, now)
        self.ledger.statements.add(reading.lines)
        comparisons = self._compare(side, reading, files, now)
        corrected: list[Finding] = []
        for _ in range(0 if dry_run else _ROUNDS):
            done = correcting.correct_by_themselves(self.ledger, _findings(comparisons, self._said(comparisons)))
            if not done:
                break
            corrected += done
            side = self._side(provider, period)
            comparisons = self._compare(side, reading, files, now)
        mine = [job for job in side.jobs.values() if period.since <= job.moment < period.until and job.charged]
        needless = reading.needs_key and not mine and not side.ambiguous  # who buys nothing there needs no key
        days = (period.since.date(), (period.until - timedelta(days=1)).date())
        said = self.ledger.statements.explained(provider, *days, simulated=self.simulated)
        return Reconciliation(
            provider=provider,
            title=PROVIDERS[provider].title,
            period=period,
            simulated=self.simulated,
            as_of=now,
            comparisons=tuple(comparisons),
            unread=None if needless else reading.unread,
            unasked=reading.unread if needless else None,
            refused=tuple(each for each in invoices.refused if each.concerns(provider, period)),
            notes=invoices.notes,
            findings=tuple(_findings(comparisons, self._said(comparisons))),
            corrected=tuple(replace(finding, standing=Standing.CORRECTED) for finding in corrected),
            corrections=tuple(side.corrected()),
            said=tuple(said),
            jobs=len(mine),
            billed=Money.total(in_ledger(job, period) for job in side.jobs.values()),
        )

    def accept(self, findings: Sequence[Finding], reason: str, who: str) -> list[Finding]:
        """A person's word on these findings; see `correcting.accept`."""
        return correcting.accept(self.ledger, findings, reason, who, self.ledger.now())

    def _side(self, provider: str, period: Period) -> LedgerSide:
        return LedgerSide.read(self.ledger.engine, provider, period, simulated=self.simulated)

    def _compare(
        self, side: LedgerSide, reading: Reading, files: Sequence[InvoiceSet], now: datetime
    ) -> list[Comparison]:
        books = [provider_books.book(reading, self.ledger, side, now)]
        books += [_invoice_book(side, each) for each in files]
        ours = Ours(side.provider, side.simulated, side.jobs, side.known, side.ambiguous)
        return [compare(book, ours, side.period) for book in books if book is not None]

    def _said(self, comparisons: Sequence[Comparison]) -> dict[str, Explanation]:
        keys = [finding.key for comparison in comparisons for finding in comparison.findings]
        return self.ledger.statements.explanations(keys) if keys else {}


def _invoice_book(side: LedgerSide, invoices: InvoiceSet) -> Book | None:
    """One set of invoices, where it tells anything of the period: of a day, of a job, or by a line that is dated so."""
    period, files = side.period, invoices.files
    undated = {line.reference for file in files if file.days is None for line in file.lines}
    near = {line.reference for line in invoices.lines if period.since <= line.at < period.until} | undated
    side.look_up(reference for reference in near if reference is not None)
    moments = {reference: side.jobs[job_id].moment for reference, job_id in side.known.items()}
    spans = spans_of(files, moments)
    lines = tuple(
        line for line in invoices.lines if line.reference in side.known or period.since <= line.at < period.until
    )
    touches = any(first < period.until and last > period.since for first, last in spans)
    if not touches and not any(_belongs(line, moments, period) for line in lines):
        return None
    names = ", ".join(file.key for file in files[:3])
    title = names if len(files) <= 3 else f"{names} and {len(files) - 3} more"
    # A file cannot tell of what came after it was put there; of all before, it can.
    as_of = max(file.modified_at for file in files)
    return Book(invoices.mapping_key, title, lines, tuple(spans), as_of, lag=timedelta(), by_day=True)


def _belongs(line: Line, moments: dict[str, datetime], period: Period) -> bool:
    """By the moment of its job; what was given back by its own."""
    at = moments.get(line.reference or "", line.at) if line.kind is LineKind.CHARGE else line.at
    return period.since <= at < period.until


def _findings(comparisons: Sequence[Comparison], said: dict[str, Explanation]) -> list[Finding]:
    """All of them, each as it stands; the dearest first."""
    found: list[Finding] = []
    for finding in (each for comparison in comparisons for each in comparison.findings):
        explanation = said.get(finding.key)
        if explanation is not None:
            standing = Standing.EXPLAINED
        elif finding.fix is not None and finding.fix.by_itself:
            standing = Standing.CORRECTABLE
        else:
            standing = Standing.UNEXPLAINED
        found.append(replace(finding, standing=standing, explanation=explanation))
    return sorted(found, key=lambda each: (not each.is_open, -abs(each.difference.nanos), each.moment, each.key))


def chosen(findings: Sequence[Finding], keys: Collection[str]) -> tuple[list[Finding], list[str]]:
    """The findings that these beginnings of keys name, and those beginnings that name none, or several."""
    picked: dict[str, Finding] = {}
    wrong: list[str] = []
    for key in keys:
        named = {each.key: each for each in findings if key and each.key.startswith(key.casefold())}
        if len(named) == 1:
            picked |= named
        else:
            wrong.append(key)
    return list(picked.values()), wrong
