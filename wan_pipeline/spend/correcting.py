"""Corrections: what a provider's books say afterwards. An entry is appended, with its evidence; nothing is overwritten.

What does not belong here: when a correction is right (the reconciliation decides, or a person).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from wan_pipeline.money import Money
from wan_pipeline.spend import rows
from wan_pipeline.spend.entries import Account
from wan_pipeline.spend.errors import LedgerError
from wan_pipeline.spend.records import Basis, Job, JobState
from wan_pipeline.spend.transacting import Transacting
from wan_pipeline.spend.transitions import Step, account, change

_MOST = Money.usd(10**9)  # sums of more nano-dollars are no number that a database keeps
# What is known to have been taken by the provider, or may have been.
_MAY_BE_BILLED = frozenset(set(JobState) - {JobState.RESERVED, JobState.SUBMITTING, JobState.AMBIGUOUS})


@dataclass(frozen=True, slots=True)
class BillPart:
    """What is billed becomes `total`: by a refund at `refunded_at`, else by a correction."""

    total: Money
    evidence: str
    refunded_at: datetime | None = None


class Corrections(Transacting):
    """The part of the ledger's door for whoever reconciles it with a provider's books."""

    def settle(self, job_id: str, seen: Money | None, parts: Sequence[BillPart], now: datetime | None = None) -> bool:
        """All of these one after the other, in one transaction, where `seen` is still what is billed; False: it is not,
        somebody else came first, and nothing is appended twice. A correction is an adjustment of the charge and belongs to
        the job's day, a refund to its own. Raises LedgerError where the job may be billed nothing (yet), UnknownJobError;
        nothing is changed then."""

        def work(step: Step) -> bool:
            if rows.job(step.connection, job_id, lock=True).billed != seen:
                return False
            for part in parts:
                if part.refunded_at is None:
                    _correct(step, job_id, part.total, part.evidence)
                else:
                    _refund(step, job_id, part.total, part.refunded_at, part.evidence)
            return True

        return self._step(work, now)


def _correct(step: Step, job_id: str, total: Money, evidence: str) -> None:
    """By an adjustment of the charge (the first word on it is a charge)."""
    books = account(step, _correctable(step, job_id, total))
    books.adjust(total, evidence)
    _close(step, job_id, books)


def _refund(step: Step, job_id: str, total: Money, effective_at: datetime, evidence: str) -> None:
    """Where no more than that is billed, nothing changes: a refund raises no bill."""
    job = _correctable(step, job_id, total)
    if job.billed is not None and total < job.billed:
        books = account(step, job)
        books.bill(total, Basis.INVOICED, evidence, effective_at)
        _close(step, job_id, books)


def _close(step: Step, job_id: str, books: Account) -> None:
    money = books.close()
    if money:
        change(step, job_id, **money)


def _correctable(step: Step, job_id: str, total: Money) -> Job:
    if total.nanos < 0:
        raise LedgerError(f"job {job_id}: a bill of {total} USD: nobody is billed less than nothing")
    if total > _MOST:
        raise LedgerError(f"job {job_id}: a bill of {total} USD: no video costs that much")
    job = rows.job(step.connection, job_id, lock=True)
    if job.state not in _MAY_BE_BILLED:
        raise LedgerError(f"job {job.id} ({job.shot}) is {job.state}: resolve it first, then its bill can be corrected")
    return job
