"""One job against all lines that name it: what agrees, what differs, and what may still be on its way. Pure.

A job agrees when what was charged less what was given back is the same on both sides. A provider may charge a job that fails
and give the money back, where the ledger never had a charge, or write neither, where the ledger has both: that agrees too.
What differs is named by its parts: lines that stand there twice, the charge, what was given back. The differences of all
parts are together the difference of the job.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from wan_pipeline.money import ZERO, Money
from wan_pipeline.reconciliation.findings import Change, Fix, Kind
from wan_pipeline.reconciliation.sides import CLOCK_SKEW, Book, GivenBack, Line, OurJob
from wan_pipeline.spend.audit_records import LineKind
from wan_pipeline.spend.records import Basis, JobState


@dataclass(frozen=True, slots=True)
class Difference:
    """One part that differs; `pending`: it may be that their books come after. See `Finding` for the rest."""

    kind: Kind
    line_kind: LineKind
    moment: datetime
    lines: tuple[Line, ...]
    theirs: Money | None
    ours: Money | None
    difference: Money
    fix: Fix | None = None
    pending: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """A job and its lines. `counts`: whether its charge is within what these books tell of; `refunds`: those of ours that
    are."""

    job: OurJob
    lines: tuple[Line, ...]
    counts: bool
    refunds: tuple[GivenBack, ...]
    differences: tuple[Difference, ...]

    @property
    def pending(self) -> bool:
        return any(each.pending for each in self.differences)


def settle(job: OurJob, lines: list[Line], book: Book) -> Settled:
    """The job against these lines, which are all that name it in these books."""
    if len(lines) == 1 and not job.refunds and _agrees(job, lines[0], book):  # nearly all of them
        return Settled(job, tuple(lines), counts=True, refunds=(), differences=())
    charges, refunds = of_kind(lines, LineKind.CHARGE), of_kind(lines, LineKind.REFUND)
    if not lines and _came_to_nothing(job):
        return Settled(job, (), counts=True, refunds=job.refunds, differences=())
    counts = bool(charges) or book.covers(job.moment)
    given_back = _refunds_that_count(job, refunds, book)
    ours_charged = job.charged if counts else ZERO
    ours = ours_charged - _sum_back(given_back)
    doubled = _take_out_doubled(charges, refunds, ours)
    differences = [_doubled(line, job) for line in doubled]
    charged, back = total(charges), total(refunds)
    if charged - back == ours:
        differences += _wrong_days(job, charges, refunds, given_back, book)
    elif not charges and not refunds and ours_charged:
        early = job.is_open or book.is_early(job.settled_at)
        gone = Difference(Kind.MISSING_THERE, LineKind.CHARGE, job.moment, (), None, ours, -ours, pending=early)
        differences.append(gone)
    elif charged == ours_charged:
        differences.append(_refund_differs(job, charges, refunds, given_back, book))
        differences += _wrong_days(job, charges, [], (), book)
    elif back == _sum_back(given_back):
        differences.append(_charge_differs(job, charges, charged, ours_charged, book))
        differences += _wrong_days(job, charges, refunds, given_back, book)
    else:
        fix = _fix(job, charges, refunds)
        if fix is not None and not charges:  # so do books read by a mapping that takes their charges for refunds
            fix = replace(fix, by_itself=False)
        both = (*charges, *refunds)
        net = charged - back
        differences.append(
            Difference(
                Kind.OTHER_AMOUNT,
                LineKind.CHARGE,
                job.moment,
                both,
                net,
                ours if job.billed is not None else None,
                net - ours,
                fix,
                pending=job.is_open,
            )
        )
        differences += _wrong_days(job, charges, [], (), book)
    return Settled(job, tuple(lines), counts, given_back, tuple(differences))


def _came_to_nothing(job: OurJob) -> bool:
    """It failed, and its whole charge was given back by the provider's answers alone: books that bill no failure have
    neither, whichever of the two days they are asked for."""
    answered = job.state is JobState.FAILED and bool(job.refunds) and not any(each.told for each in job.refunds)
    return answered and job.charged == _sum_back(job.refunds)


def _agrees(job: OurJob, line: Line, book: Book) -> bool:
    """One charge, the same on both sides, on the day that it belongs to."""
    return (
        line.kind is LineKind.CHARGE
        and line.amount == job.billed
        and (line.is_dated(job.moment) or not (book.by_day or _is_out_of_time(line, job, book)))
    )


def of_kind(lines: list[Line], kind: LineKind) -> list[Line]:
    """These of the lines, in their order."""
    return sorted(
        (line for line in lines if line.kind is kind), key=lambda line: (line.at, line.line_id, line.occurrence)
    )


def total(lines: list[Line]) -> Money:
    """Their amounts together, without their signs."""
    return Money.total(line.amount for line in lines)


def repeated(lines: Sequence[Line]) -> list[Line]:
    """The lines of which another one before it has the same amount, the last one first."""
    seen: set[Money] = set()
    again: list[Line] = []
    for line in lines:
        if line.amount in seen:
            again.append(line)
        seen.add(line.amount)
    return again[::-1]


def without(lines: Sequence[Line], taken: Sequence[Line]) -> list[Line]:
    """The others, in their order."""
    out = Counter(taken)
    kept: list[Line] = []
    for line in reversed(lines):
        if out[line]:
            out[line] -= 1
        else:
            kept.append(line)
    return kept[::-1]


def _refunds_that_count(job: OurJob, refunds: list[Line], book: Book) -> tuple[GivenBack, ...]:
    """Of ours those that these books would tell of; all, where they tell of more."""
    covered = tuple(each for each in job.refunds if book.covers(each.at))
    return job.refunds if total(refunds) > _sum_back(covered) else covered


def _sum_back(refunds: tuple[GivenBack, ...]) -> Money:
    return Money.total(refund.amount for refund in refunds)


def _take_out_doubled(charges: list[Line], refunds: list[Line], ours: Money) -> list[Line]:
    """Lines that stand there once too often, as long as without them less is amiss. They leave their list."""
    taken: list[Line] = []
    excess = total(charges) - total(refunds) - ours
    for lines, sign in ((charges, 1), (refunds, -1)):
        out: list[Line] = []
        for line in repeated(lines):
            if excess.nanos * sign <= 0:
                break
            out.append(line)
            excess -= line.signed
        lines[:] = without(lines, out)
        taken += out
    return taken


def _doubled(line: Line, job: OurJob) -> Difference:
    moment = job.moment if line.kind is LineKind.CHARGE else line.at
    return Difference(Kind.DOUBLED, line.kind, moment, (line,), line.amount, None, line.signed)


def _charge_differs(job: OurJob, charges: list[Line], theirs: Money, ours: Money, book: Book) -> Difference:
    """Charges differ, and what was given back does not."""
    # A failure that was not charged here, and is there: the refund may still come.
    may_be_refunded = not ours and job.state is JobState.FAILED and book.is_early(job.settled_at)
    kind = Kind.OTHER_AMOUNT if charges else Kind.MISSING_THERE
    late = not charges and book.is_early(job.settled_at)
    return Difference(
        Kind.MISSING_HERE if job.state is JobState.AMBIGUOUS else kind,
        LineKind.CHARGE,
        job.moment,
        tuple(charges),
        theirs if charges else None,
        ours if job.billed is not None else None,
        theirs - ours,
        _fix(job, charges, []) if charges else None,
        pending=job.is_open or may_be_refunded or late,
    )


def _refund_differs(
    job: OurJob, charges: list[Line], refunds: list[Line], given_back: tuple[GivenBack, ...], book: Book
) -> Difference:
    """What was given back differs, and the charge does not."""
    theirs, ours = total(refunds), _sum_back(given_back)
    if theirs > ours:
        kind = Kind.OTHER_AMOUNT if ours else Kind.MISSING_HERE
        return Difference(
            kind,
            LineKind.REFUND,
            refunds[-1].at,
            tuple(refunds),
            theirs,
            ours if ours else None,
            ours - theirs,
            _fix(job, charges, refunds),
            pending=job.is_open,
        )
    last = max(refund.at for refund in given_back)
    kind = Kind.OTHER_AMOUNT if theirs else Kind.MISSING_THERE
    said = theirs if theirs else None
    pending = job.is_open or book.is_early(last)
    return Difference(kind, LineKind.REFUND, last, tuple(refunds), said, ours, ours - theirs, pending=pending)


def _fix(job: OurJob, charges: list[Line], refunds: list[Line]) -> Fix | None:
    """The entries that would make the ledger say what these lines say. By itself only what they settle beyond doubt: a
    charge of which the provider had not spoken before, within the quote; a refund of what is charged alike on both sides,
    not dated before its charge."""
    charged = total(charges) if charges else job.charged
    already = Money.total(refund.amount for refund in job.refunds)
    if job.state is JobState.AMBIGUOUS or total(refunds) > charged or already > charged:
        return None
    changes: list[Change] = []
    if charged != job.charged:
        changes.append(Change(job.id, charged - already, _evidence(charges)))
    back = ZERO
    for line in refunds:
        back += line.amount
        if back > already:
            changes.append(Change(job.id, charged - back, _evidence([line]), line.at))
    in_bounds = job.basis is Basis.QUOTED and job.quoted_low <= charged <= job.quoted_high
    dated_before = any((line.until or line.at) + CLOCK_SKEW < job.moment for line in refunds)
    by_itself = (charged == job.charged or in_bounds) and not dated_before
    return Fix(tuple(changes), by_itself) if changes else None


def _evidence(lines: list[Line]) -> str:
    return "; ".join(line.named for line in lines)


def _wrong_days(
    job: OurJob, charges: list[Line], refunds: list[Line], given_back: tuple[GivenBack, ...], book: Book
) -> list[Difference]:
    """Lines whose day is not that of what they are for. It changes no sum."""
    wrong = [
        Difference(Kind.WRONG_DAY, LineKind.CHARGE, job.moment, (line,), line.amount, line.amount, ZERO)
        for line in charges
        if not line.is_dated(job.moment) and (book.by_day or _is_out_of_time(line, job, book))
    ]
    if book.by_day and len(refunds) == len(given_back) == 1 and given_back[0].told:
        line, ours = refunds[0], given_back[0]
        if not line.is_dated(ours.at):
            wrong.append(Difference(Kind.WRONG_DAY, LineKind.REFUND, ours.at, (line,), line.amount, ours.amount, ZERO))
    return wrong


def _is_out_of_time(line: Line, job: OurJob, book: Book) -> bool:
    return not job.moment - CLOCK_SKEW <= line.at <= max(job.settled_at, job.moment) + book.lag
