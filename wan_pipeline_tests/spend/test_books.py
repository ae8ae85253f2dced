"""The money of a job: what is held, charged and given back, and that what is written is never changed."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Basis, Job, JobState
from wan_pipeline.spend.tables import jobs, money_entries
from wan_pipeline_tests.spend.samples import NOON, PRICE, bought, finish, job_in, request_for

S = JobState
USD = Money.usd


def lines(ledger: Ledger, job: Job) -> list[tuple[str, str, str | None]]:
    return [(entry.kind.value, str(entry.amount), entry.basis) for entry in ledger.entries(job.id)]


def test_a_reported_amount_is_charged_at_submission_and_the_hold_released(ledger: Ledger) -> None:
    purchase = bought(ledger)
    job = ledger.mark_accepted(purchase.job.id, purchase.attempt_id, "p", USD("0.17"))
    assert (job.held, job.billed, job.basis) == (ZERO, USD("0.17"), Basis.REPORTED)
    assert lines(ledger, job) == [
        ("hold", "0.20", "quoted"),
        ("charge", "0.17", "reported"),
        ("release", "0.20", None),
    ]
    stored = finish(ledger, job, S.STORED)
    assert (stored.billed, stored.basis) == (USD("0.17"), Basis.REPORTED)


def test_where_nobody_says_what_it_cost_the_hold_stays_and_is_charged_when_stored(ledger: Ledger) -> None:
    job = job_in(ledger, S.SUBMITTED)
    assert (job.held, job.billed) == (PRICE, None)
    job = finish(ledger, job, S.STORED)
    assert (job.held, job.billed, job.basis) == (ZERO, PRICE, Basis.QUOTED)


def test_an_amount_reported_with_the_result_counts(ledger: Ledger) -> None:
    job = ledger.mark_generated(job_in(ledger, S.SUBMITTED).id, "https://x/v", USD("0.19"))
    assert (job.held, job.billed, job.basis) == (ZERO, USD("0.19"), Basis.REPORTED)


def test_reported_at_submission_and_again_with_the_result_is_charged_once(ledger: Ledger) -> None:
    purchase = bought(ledger)
    ledger.mark_accepted(purchase.job.id, purchase.attempt_id, "p", USD("0.17"))
    job = ledger.mark_generated(purchase.job.id, "https://x/v", USD("0.17"))
    assert [kind for kind, _, _ in lines(ledger, job)] == ["hold", "charge", "release"]
    job = ledger.mark_generated(purchase.job.id, "https://x/v", USD("0.18"))  # and what is more is charged on top
    assert lines(ledger, job)[-1] == ("charge", "0.01", "reported")
    assert job.billed == USD("0.18")


@pytest.mark.parametrize(
    ("charged", "said", "billed", "basis", "last"),
    [
        (None, None, "0.20", "quoted", "charge"),  # unknown is not zero
        (None, "0", "0.00", "reported", "charge"),
        (None, "0.05", "0.05", "reported", "charge"),
        ("0.17", None, "0.17", "reported", None),
        ("0.17", "0", "0.00", "reported", "refund"),
        ("0.17", "0.17", "0.17", "reported", None),
    ],
)
def test_a_failure_costs_what_the_provider_says_and_not_less_than_it_says(
    ledger: Ledger, charged: str | None, said: str | None, billed: str, basis: str, last: str | None
) -> None:
    purchase = bought(ledger)
    ledger.mark_accepted(purchase.job.id, purchase.attempt_id, "p", None if charged is None else USD(charged))
    job = ledger.mark_failed(purchase.job.id, "policy", None if said is None else USD(said))
    assert (str(job.billed), job.basis, job.held) == (billed, basis, ZERO)
    written = [kind for kind, _, _ in lines(ledger, job) if kind in ("charge", "refund")]
    assert written == ([] if charged is None else ["charge"]) + ([] if last is None else [last])


def test_a_rejection_costs_nothing(ledger: Ledger) -> None:
    job = job_in(ledger, S.REJECTED)
    assert (job.held, job.billed) == (ZERO, None)


def test_what_is_lost_is_paid(ledger: Ledger) -> None:
    job = job_in(ledger, S.LOST)
    assert (job.held, job.billed, job.basis) == (ZERO, PRICE, Basis.QUOTED)


def test_an_amount_that_cannot_be_meant_does_not_cost_the_answer(ledger: Ledger) -> None:
    for name, amount in (("negative", USD("-1")), ("huge", USD(10) * 10**12)):
        purchase = bought(ledger, request_for(name, name))
        job = ledger.mark_accepted(purchase.job.id, purchase.attempt_id, f"p-{name}", amount, "queued")
        assert (job.state, job.held, job.billed) == (S.SUBMITTED, PRICE, None)
        assert "cannot be meant" in str(ledger.attempts(job.id)[0].detail)


def test_half_a_micro_dollar_is_kept(ledger: Ledger) -> None:
    purchase = bought(ledger, request_for(quoted_high=Money.credits(399_999)))
    job = ledger.mark_accepted(purchase.job.id, purchase.attempt_id, "p", Money.credits(1))
    assert str(job.billed) == "0.0000005"


@pytest.mark.parametrize("statement", [sa.delete(money_entries), sa.update(money_entries).values(amount_nanos=0)])
def test_money_entries_cannot_be_changed_by_anyone(ledger: Ledger, statement: sa.Executable) -> None:
    job_in(ledger, S.STORED)
    before = ledger.entries()
    with pytest.raises(DBAPIError, match="appended, never changed"), ledger.engine.begin() as connection:
        connection.execute(statement)
    assert ledger.entries() == before


def test_verify_finds_a_row_that_disagrees_with_its_entries(ledger_url: str) -> None:
    with Ledger.open(ledger_url) as ledger:
        made = {
            state: job_in(ledger, state, request_for(state, state))
            for state in (S.STORED, S.SUBMITTED, S.REJECTED, S.AMBIGUOUS, S.RELEASED)
        }
        assert ledger.verify() == []
        for state, column, value, what in (
            (S.STORED, "billed_nanos", 1, "billed against the entries"),
            (S.STORED, "billed_nanos", None, "billed against the entries"),
            (S.STORED, "basis", "invoiced", "basis against the entries"),
            (S.SUBMITTED, "held_nanos", 0, "held against the entries"),
            (S.SUBMITTED, "state", "stored", "hold of a job that has ended (stored)"),
            (S.REJECTED, "state", "submitted", "hold of a job under way (submitted)"),
            (S.STORED, "state", "submitting", f"attempt {made[S.STORED].attempt_id} of a submitting job"),
            (S.STORED, "take", 9, "take"),
            (S.SUBMITTED, "provider_job_id", None, "provider's id of a job that it works on (submitted)"),
            (S.AMBIGUOUS, "doubted_at", None, "moment of the doubt (ambiguous)"),
            (S.STORED, "next_look_at", NOON, "next look for a job that is not ambiguous (stored)"),
            (S.STORED, "retryable", True, "retryable (stored)"),
            (S.STORED, "duplicate_allowed_nanos", 1, "duplicate allowed by a person (stored)"),
            (S.RELEASED, "duplicate_allowed_nanos", -1, "duplicate allowed by a person (released)"),
            (S.REJECTED, "fetches", 1, "collections of a job that was never accepted (rejected)"),
            (S.STORED, "kept_key", "x", "kept for inspection, of a job that is not lost (stored)"),
            (S.STORED, "sent_at", NOON, "moment of sending"),
        ):
            job = made[state]
            before = {"held_nanos": job.held.nanos, "billed_nanos": job.billed and job.billed.nanos}
            before |= {"basis": job.basis, "state": job.state.value, "take": job.take}
            before = before.get(column, getattr(job, column.removesuffix("_nanos"), None))
            _set(ledger, job, column, value)
            assert what in {item.what for item in ledger.verify() if item.job_id == job.id}, what
            _set(ledger, job, column, before)
        assert ledger.verify() == []


def test_verify_finds_two_jobs_that_claim_the_same_one_of_their_provider(ledger_url: str) -> None:
    """One of them was not made for what was paid for it."""
    shots = {
        "cat": {"provider": "wavespeed"},
        "dog": {"provider": "wavespeed"},
        "elk": {"provider": "aimlapi"},
        "fox": {"provider": "wavespeed", "simulated": True},
    }
    with Ledger.open(ledger_url) as ledger:
        purchases = {shot: bought(ledger, request_for(shot, shot, **about)) for shot, about in shots.items()}
        for shot in ("cat", "elk", "fox"):  # other providers', and simulated ones, have ids of their own
            ledger.mark_accepted(purchases[shot].job.id, purchases[shot].attempt_id, "same", None)
        assert ledger.verify() == []
        ledger.mark_accepted(purchases["dog"].job.id, purchases["dog"].attempt_id, "same", None)
        found = ledger.verify()
    assert {item.job_id for item in found} == {purchases[shot].job.id for shot in ("cat", "dog")}
    assert {(item.what, item.kept) for item in found} == {("provider's id (wavespeed)", "same")}


def _set(ledger: Ledger, job: Job, column: str, value: object) -> None:
    with ledger.engine.begin() as connection:
        connection.execute(sa.update(jobs).where(jobs.c.id == job.id).values({column: value}))
