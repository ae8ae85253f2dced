"""What a finding says to a person: what differs, both sides' evidence, and where it helps what to look at next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from wan_pipeline.money import Money
from wan_pipeline.providers.looking import same_model
from wan_pipeline.reconciliation.findings import Kind
from wan_pipeline.reconciliation.settling import Difference
from wan_pipeline.reconciliation.sides import BOOKS_LAG, CLOCK_SKEW, Book, Line, OurJob, utc, utc_day
from wan_pipeline.spend.audit_records import LineKind

_SHOWN = 3  # ambiguous jobs that a line may be for
_SHOWN_LINES = 20  # of one job


def of_job(difference: Difference, job: OurJob, book: Book) -> str:
    """A difference in a job's money."""
    there = _lines(difference.lines)
    verb = "charged" if difference.line_kind is LineKind.CHARGE else "given back"
    match difference.kind:
        case Kind.DOUBLED:
            again = "charges" if difference.line_kind is LineKind.CHARGE else "gives back"
            return f"{there} {again} {difference.theirs} USD once more for {job.named}: another line does so already"
        case Kind.WRONG_DAY:
            what = "was submitted" if difference.line_kind is LineKind.CHARGE else "was given back"
            return f"{there} is dated {_date(difference.lines[0])}: {job.named} {what} on {utc(difference.moment)}"
        case Kind.MISSING_THERE:
            return (
                f"{job.named}, {job.provider_job_id or 'without an id there'}: {difference.ours} USD {verb} here"
                f"{_said_by(job)}; {book.title} has no line of it"
            )
        case Kind.MISSING_HERE if difference.line_kind is LineKind.REFUND:
            return f"{there} gives back {difference.theirs} USD for {job.named}: the ledger has no refund of it"
        case Kind.MISSING_HERE:
            named = difference.lines[0].reference if difference.lines else None
            lost = f"{there} charges {difference.theirs} USD for {job.named}, whose answer was lost:"
            if named is None or named == job.id or named in job.attempts:  # the line names it as we do
                return (
                    f"{lost} the provider has it, and the line does not say under which id. Look for it in your account;"
                    f" `wan-pipeline resolve {job.id} --found ID`"
                )
            return f"{lost} it is the provider's {named}; `wan-pipeline resolve {job.id} --found {named}`"
        case Kind.OTHER_AMOUNT:
            more = difference.difference if difference.difference.nanos > 0 else -difference.difference
            way = "more" if difference.difference.nanos > 0 else "less"
            ours = f"{difference.ours} USD" if difference.ours is not None else f"nothing ({job.state})"
            return (
                f"{job.named}: {difference.theirs} USD {verb} there ({there}), {ours} here{_said_by(job)}:"
                f" {more} USD {way} there"
            )


def of_line(kind: Kind, line: Line, book: Book, ambiguous: Sequence[OurJob]) -> str:
    """A line for which the ledger has no job."""
    verb = "charges" if line.kind is LineKind.CHARGE else "gives back"
    what = f"{line.named} {verb} {line.amount} USD for {line.reference or 'no job that it names'}"
    if kind is Kind.DOUBLED:
        return f"{what} once more: another line does so already, and the ledger has no such job"
    about = f"{what} on {_date(line)}{f', {line.model}' if line.model else ''}: the ledger has no such job"
    possible = [job for job in ambiguous if may_be(line, job)]
    if not possible:
        return f"{about}. Was it bought by somebody else with this account?"
    names = ", ".join(f"{job.named}, sent {utc(job.moment)}" for job in possible[:_SHOWN])
    more = f" and {len(possible) - _SHOWN} more" if len(possible) > _SHOWN else ""
    found = f"`wan-pipeline resolve {possible[0].id} --found {line.reference}`" if line.reference else ""
    return f"{about}. It may be the one whose answer was lost: {names}{more}{f'; if it is: {found}' if found else ''}"


def may_be(line: Line, job: OurJob) -> bool:
    """Could this line be for that job, of which nobody knows whether the provider has it?"""
    until = line.until or line.at + timedelta(microseconds=1)
    in_time = line.at - BOOKS_LAG <= job.moment < until + CLOCK_SKEW
    return (
        line.kind is LineKind.CHARGE
        and in_time
        and line.amount <= job.quoted_high
        and same_model(line.model, job.upstream)
    )


def _lines(lines: Sequence[Line]) -> str:
    more = f" and {len(lines) - _SHOWN_LINES} lines more" if len(lines) > _SHOWN_LINES else ""
    return "; ".join(line.named for line in lines[:_SHOWN_LINES]) + more


def _date(line: Line) -> str:
    return utc(line.at) if line.until is None else utc_day(line.at + (line.until - line.at) / 2)


def _said_by(job: OurJob) -> str:
    """Who has said our amount."""
    quoted = f"quoted {_bounds(job.quoted_low, job.quoted_high)} USD"
    return f" ({job.basis}, {quoted})" if job.basis is not None and job.basis != "quoted" else f" ({quoted})"


def _bounds(low: Money, high: Money) -> str:
    return str(high) if low == high else f"{low} to {high}"
