"""A correction is appended with its evidence and leaves the ledger in agreement with itself; said again, nothing happens."""

from __future__ import annotations

from datetime import timedelta

import pytest

from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.correcting import BillPart
from wan_pipeline.spend.errors import LedgerError
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Basis, EntryKind, JobState
from wan_pipeline_tests.spend.samples import NOON, PRICE, corrected, job_in

LATER = NOON + timedelta(days=3)
LESS = Money.usd("0.15")


def test_a_charge_is_corrected_by_an_adjustment_of_the_difference_with_its_evidence(ledger: Ledger) -> None:
    job = job_in(ledger, JobState.STORED)
    for _ in range(2):
        job = corrected(ledger, job.id, LESS, "billings: line-1", now=LATER)
    assert (job.billed, job.basis, job.held) == (LESS, Basis.INVOICED, ZERO)
    *_, last = ledger.entries(job.id)
    assert (last.kind, last.amount, last.note) == (EntryKind.ADJUSTMENT, LESS - PRICE, "billings: line-1")
    assert sum(entry.kind is EntryKind.ADJUSTMENT for entry in ledger.entries(job.id)) == 1


def test_a_refund_falls_to_the_total_at_its_own_moment_and_never_raises_the_bill(ledger: Ledger) -> None:
    job = job_in(ledger, JobState.STORED)
    for _ in range(2):
        job = corrected(ledger, job.id, LESS, "billings: line-2", LATER)
    assert (job.billed, job.basis) == (LESS, Basis.INVOICED)
    assert corrected(ledger, job.id, PRICE, "more", LATER).billed == LESS
    *_, last = ledger.entries(job.id)
    assert (last.kind, last.amount, last.effective_at) == (EntryKind.REFUND, PRICE - LESS, LATER)


def test_what_was_never_billed_gets_a_charge_as_its_first_entry(ledger: Ledger) -> None:
    job = corrected(ledger, job_in(ledger, JobState.RELEASED).id, PRICE, "billings: line-3")
    assert (job.billed, job.basis, job.state) == (PRICE, Basis.INVOICED, JobState.RELEASED)
    assert ledger.entries(job.id)[-1].kind is EntryKind.CHARGE


@pytest.mark.parametrize("state", [JobState.RESERVED, JobState.SUBMITTING, JobState.AMBIGUOUS])
def test_a_job_of_which_nobody_knows_whether_it_was_taken_is_resolved_first(ledger: Ledger, state: JobState) -> None:
    job = job_in(ledger, state)
    with pytest.raises(LedgerError, match="resolve it first"):
        corrected(ledger, job.id, PRICE, "billings: line-4")
    assert ledger.job(job.id) == job


def test_what_is_settled_is_settled_whole_or_not_at_all_and_once(ledger: Ledger) -> None:
    job = job_in(ledger, JobState.STORED)
    parts = [BillPart(PRICE + PRICE, "line-6"), BillPart(LESS, "line-7", LATER)]
    with pytest.raises(LedgerError, match="no video costs that much"):
        ledger.settle(job.id, PRICE, [*parts, BillPart(Money(10**18 + 1), "line-8")])
    assert ledger.job(job.id) == job
    assert [ledger.settle(job.id, PRICE, parts) for _ in range(2)] == [True, False]
    assert [entry.kind.value for entry in ledger.entries(job.id)[-2:]] == ["adjustment", "refund"]
    assert ledger.job(job.id).billed == LESS


def test_nobody_is_billed_less_than_nothing(ledger: Ledger) -> None:
    job = job_in(ledger, JobState.STORED)
    with pytest.raises(LedgerError, match="less than nothing"):
        corrected(ledger, job.id, -PRICE, "billings: line-5")
    assert ledger.job(job.id) == job
