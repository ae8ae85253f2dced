"""Matching: the jobs and the lines of a period, put side by side; what differs is found, and the sums balance. Pure.

Which day a line belongs to is the ledger's rule: a charge belongs to the UTC day of its job's submission, whatever moment
its line bears; a refund to its own. A line that no job can be found for belongs to its own moment. So each line and each
entry belongs to one period, and none is counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wan_pipeline.money import ZERO, Money
from wan_pipeline.reconciliation import wording
from wan_pipeline.reconciliation.findings import Finding, Kind, sum_of
from wan_pipeline.reconciliation.settling import Difference, Settled, of_kind, repeated, settle, without
from wan_pipeline.reconciliation.sides import Book, Line, OurJob
from wan_pipeline.reports.period import Period
from wan_pipeline.spend.audit_records import LineKind

_USAGE = (LineKind.CHARGE, LineKind.REFUND)


@dataclass(frozen=True, slots=True)
class Ours:
    """What the ledger has of a provider, for a period. `jobs`: those submitted in it, those of which something was given
    back in it, and those that the books' lines name; `known`: by reference the id of the job that it names; `ambiguous`:
    the provider's jobs of which nobody knows whether it has them."""

    provider: str
    simulated: bool
    jobs: Mapping[str, OurJob]
    known: Mapping[str, str]
    ambiguous: Sequence[OurJob] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One side by side: a job with the lines that name it, or lines that name none. `findings` is empty where they agree,
    unless it is too early to say. Amounts are the period's part."""

    job: OurJob | None
    lines: tuple[Line, ...]
    theirs: Money
    ours: Money
    pending: bool = False
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Balance:
    """From the ledger's sum to the books', to the nano-dollar. `elsewhere`: what both sides have, on different days."""

    ledger: Money
    not_covered: Money
    missing_here: Money
    missing_there: Money
    other_amount: Money
    doubled: Money
    pending: Money
    elsewhere: Money
    theirs: Money

    @property
    def lines(self) -> list[tuple[str, Money]]:
        """The steps in words; those that come to nothing are left out, but for the two ends."""
        steps = [
            ("not in the time that these books tell of", -self.not_covered),
            ("missing here", self.missing_here),
            ("missing there", self.missing_there),
            ("of another amount", self.other_amount),
            ("doubled there", self.doubled),
            ("too early to say", self.pending),
            ("the same on another day", self.elsewhere),
        ]
        return [
            ("billed by the ledger", self.ledger),
            *(step for step in steps if step[1]),
            ("their books", self.theirs),
        ]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A period by one set of books."""

    book: Book
    rows: tuple[Row, ...]
    balance: Balance
    jobs_not_covered: int
    others: tuple[Line, ...]  # of the period, no job's: money paid in, bonuses

    @property
    def findings(self) -> list[Finding]:
        return [finding for row in self.rows for finding in row.findings]

    @property
    def matched(self) -> int:
        """Jobs (and what was given back of one) on which both sides agree."""
        return sum(1 for row in self.rows if not row.findings and not row.pending)

    @property
    def pending(self) -> int:
        return sum(1 for row in self.rows if row.pending)

    @property
    def line_count(self) -> int:
        return sum(len(row.lines) for row in self.rows)


def compare(book: Book, ours: Ours, period: Period) -> Comparison:
    """The period's jobs and lines side by side. Raises AssertionError should the sums not balance: that is never the data's
    fault."""
    of_job: dict[str, list[Line]] = {}
    unknown: list[Line] = []
    others: list[Line] = []
    for line in book.lines:
        job_id = ours.known.get(line.reference) if line.reference is not None else None
        if line.kind not in _USAGE:
            others += [line] if _within(line, period) else []
        elif job_id is not None and job_id in ours.jobs:
            of_job.setdefault(job_id, []).append(line)
        elif _within(line, period):
            unknown.append(line)
    parts = [_part(settle(job, of_job.get(job.id, []), book), period) for job in ours.jobs.values()]
    rows = [row for part in parts if (row := _row(part, book, ours, period)) is not None]
    rows += _unknown_rows(unknown, book, ours)
    balance, not_covered = _balance(parts, rows, ours, period)
    return Comparison(book, tuple(rows), balance, not_covered, tuple(others))


def _within(line: Line, period: Period) -> bool:
    return period.since <= line.at < period.until


@dataclass(frozen=True, slots=True)
class _Part:
    """What of a settled job lies within the period. In nano-dollars: of these there are many."""

    settled: Settled
    mine: bool  # is its charge the period's
    theirs: int
    ours: int
    ledger: int


def _part(settled: Settled, period: Period) -> _Part:
    job, since, until = settled.job, period.since, period.until
    mine = since <= job.moment < until
    theirs = 0
    for line in settled.lines:
        if line.kind is LineKind.CHARGE:
            theirs += line.amount.nanos if mine else 0
        elif since <= line.at < until:
            theirs -= line.amount.nanos
    charged = job.charged.nanos if mine else 0
    ours = charged if settled.counts else 0
    if job.refunds:
        ours -= sum(each.amount.nanos for each in settled.refunds if since <= each.at < until)
        charged -= sum(each.amount.nanos for each in job.refunds if since <= each.at < until)
    return _Part(settled, mine, theirs, ours, charged)


def in_ledger(job: OurJob, period: Period) -> Money:
    """What the ledger has billed for this job in the period: charges less what was given back in it."""
    return Money(_part(Settled(job, (), counts=False, refunds=(), differences=()), period).ledger)


def _row(part: _Part, book: Book, ours: Ours, period: Period) -> Row | None:
    """None: neither side has anything of it in the period."""
    settled, job = part.settled, part.settled.job
    if part.mine and not settled.differences and not job.refunds and len(settled.lines) == 1:  # nearly all of them
        return Row(job, settled.lines, Money(part.theirs), Money(part.ours))
    findings = tuple(
        _finding(each, book, ours, job)
        for each in settled.differences
        if not each.pending and period.since <= each.moment < period.until
    )
    lines = tuple(
        line for line in settled.lines if (part.mine if line.kind is LineKind.CHARGE else _within(line, period))
    )
    pending = any(each.pending and period.since <= each.moment < period.until for each in settled.differences)
    if not findings and not lines and not part.ours and not pending:
        return None
    return Row(job, lines, Money(part.theirs), Money(part.ours), pending, findings)


def _finding(difference: Difference, book: Book, ours: Ours, job: OurJob) -> Finding:
    return Finding(
        provider=ours.provider,
        simulated=ours.simulated,
        book=book.name,
        kind=difference.kind,
        line_kind=difference.line_kind,
        moment=difference.moment,
        job=job,
        lines=difference.lines,
        theirs=difference.theirs,
        ours=difference.ours,
        difference=difference.difference,
        words=wording.of_job(difference, job, book),
        fix=difference.fix,
    )


def _unknown_rows(lines: Iterable[Line], book: Book, ours: Ours) -> list[Row]:
    """Lines for which the ledger has no job; the second of the same reference and amount is the first one's double."""
    groups: dict[tuple[str, LineKind], list[Line]] = {}
    alone: list[Line] = []
    for line in lines:
        if line.reference is None:
            alone.append(line)
        else:
            groups.setdefault((line.reference, line.kind), []).append(line)
    rows = [_unknown_row(Kind.MISSING_HERE, line, book, ours) for line in alone]
    for (_, kind), group in groups.items():
        lines = of_kind(group, kind)
        again = repeated(lines)
        rows += [_unknown_row(Kind.DOUBLED, line, book, ours) for line in again]
        rows += [_unknown_row(Kind.MISSING_HERE, line, book, ours) for line in without(lines, again)]
    return rows


def _unknown_row(kind: Kind, line: Line, book: Book, ours: Ours) -> Row:
    finding = Finding(
        provider=ours.provider,
        simulated=ours.simulated,
        book=book.name,
        kind=kind,
        line_kind=line.kind,
        moment=line.at,
        job=None,
        lines=(line,),
        theirs=line.amount,
        ours=None,
        difference=line.signed,
        words=wording.of_line(kind, line, book, ours.ambiguous),
    )
    return Row(None, (line,), line.signed, ZERO, findings=(finding,))


def _balance(parts: Sequence[_Part], rows: Sequence[Row], ours: Ours, period: Period) -> tuple[Balance, int]:
    """The sums and what lies between them; and how many jobs of the period these books say nothing of."""
    ledger = sum(part.ledger for part in parts)
    counted = sum(part.ours for part in parts)
    theirs = Money(sum(row.theirs.nanos for row in rows))
    findings = [finding for row in rows for finding in row.findings]
    by_kind = {kind: sum_of([each for each in findings if each.kind is kind]) for kind in Kind}
    pending = elsewhere = 0
    for part in parts:
        settled = part.settled
        now = [each for each in settled.differences if period.since <= each.moment < period.until]
        pending += sum(each.difference.nanos for each in now if each.pending)
        elsewhere += part.theirs - part.ours - sum(each.difference.nanos for each in now)
        # All over time, what differs is what was named: nothing can hide on another day.
        if _whole(settled) != sum(each.difference.nanos for each in settled.differences):
            raise AssertionError(f"{settled.job.named}: its differences are not the whole difference")
    balance = Balance(
        ledger=Money(ledger),
        not_covered=Money(ledger - counted),
        missing_here=by_kind[Kind.MISSING_HERE],
        missing_there=by_kind[Kind.MISSING_THERE],
        other_amount=by_kind[Kind.OTHER_AMOUNT],
        doubled=by_kind[Kind.DOUBLED],
        pending=Money(pending),
        elsewhere=Money(elsewhere),
        theirs=theirs,
    )
    steps = Money.total(amount for _, amount in balance.lines[:-1])
    if steps != theirs:
        raise AssertionError(f"{ours.provider}, {period}: {steps} USD is not their {theirs} USD")
    uncovered = sum(1 for part in parts if part.mine and not part.settled.counts and part.settled.job.charged)
    return balance, uncovered


def _whole(settled: Settled) -> int:
    """Their nano-dollars less ours, on whatever day."""
    theirs = sum(line.signed.nanos for line in settled.lines)
    charged = settled.job.charged.nanos if settled.counts else 0
    return theirs - charged + sum(each.amount.nanos for each in settled.refunds)
