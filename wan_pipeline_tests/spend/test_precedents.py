"""What a quote is held against is read from the ledger for the shots and weeks asked about, on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest

from wan_pipeline.money import Money
from wan_pipeline.spend import precedents
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import JobState
from wan_pipeline_tests.spend.samples import (
    NEW_TAKE,
    NO_LIMIT,
    NOON,
    PRICE,
    bought,
    corrected,
    finish,
    job_in,
    request_for,
    video,
)


def billed(ledger: Ledger, shot: str, amount: str, **changes: object) -> str:
    """A stored job whose provider has reported this."""
    purchase = bought(ledger, request_for(shot, shot, **changes))
    job = ledger.mark_accepted(purchase.job.id, purchase.attempt_id, f"p-{shot}", Money.usd(amount))
    return finish(ledger, job, JobState.STORED).id


def test_the_job_that_bought_a_request_last_is_found_and_simulated_ones_are_not_among_live_ones(ledger: Ledger) -> None:
    first = job_in(ledger, JobState.STORED, request_for("cat", "a cat"))
    second = bought(ledger, request_for("cat", "a cat"), NEW_TAKE).job
    job_in(ledger, JobState.STORED, request_for("dog", "a dog", simulated=True))
    hashes = [first.request_hash, request_for("dog", "a dog").request_hash, "f" * 64]
    assert {job.id for job in precedents.latest_jobs(ledger.engine, hashes, simulated=False).values()} == {second.id}
    assert [job.shot for job in precedents.latest_jobs(ledger.engine, hashes, simulated=True).values()] == ["dog"]
    assert precedents.latest_jobs(ledger.engine, [], simulated=False) == {}


def test_a_shots_latest_take_comes_with_its_job_whoever_bought_it(ledger: Ledger) -> None:
    job_in(ledger, JobState.STORED, request_for("cat", "old"))
    job = job_in(ledger, JobState.STORED, request_for("cat", "new", own="own-2"))
    ledger.claim(request_for("twin", "new"), NO_LIMIT)
    found = precedents.current_takes(ledger.engine, ["cat", "twin", "nobody"], simulated=False)
    assert {shot: (take.take, each.id) for shot, (take, each) in found.items()} == {
        "cat": (2, job.id),
        "twin": (1, job.id),
    }


def test_usual_times_are_of_recent_jobs_of_the_model(ledger: Ledger) -> None:
    for number, seconds in enumerate((10, 30, 500)):
        purchase = bought(ledger, request_for(f"s{number}", f"s{number}"), now=NOON)
        ledger.mark_accepted(purchase.job.id, purchase.attempt_id, f"p{number}", None, now=NOON)
        at = NOON + timedelta(seconds=seconds)
        ledger.mark_generated(purchase.job.id, "https://cdn.invalid/v.mp4", now=at)
        ledger.mark_stored(purchase.job.id, video(), now=at)
    assert precedents.usual_seconds(ledger.engine, NOON, simulated=False) == {"wavespeed/wan-2.6-i2v-flash": 30.0}
    assert precedents.usual_seconds(ledger.engine, NOON + timedelta(days=31), simulated=False) == {}
    assert precedents.usual_seconds(ledger.engine, NOON, simulated=True) == {}


def test_bills_are_those_that_a_provider_has_named_without_what_was_refunded(ledger: Ledger) -> None:
    wanted = [billed(ledger, "cat", "0.21"), billed(ledger, "dog", "0.19", has_audio=True)]
    billed(ledger, "sim", "0.30", simulated=True)
    job_in(ledger, JobState.STORED, request_for("quoted", "nobody has said"))
    job_in(ledger, JobState.FAILED, request_for("failed", "failed"), billed=PRICE)
    back = billed(ledger, "back", "0.22")
    corrected(ledger, back, Money.usd("0.10"), "the books", NOON)
    now = ledger.now()
    bills = precedents.recent_bills(ledger.engine, now, simulated=False)
    assert {bill.job_id: str(bill.billed) for bill in bills} == dict(zip(wanted, ("0.21", "0.19"), strict=True))
    (dog,) = [bill for bill in bills if bill.shot == "dog"]
    assert (dog.has_audio, dog.duration_s, dog.quoted_high) == (True, 5, PRICE)
    assert precedents.recent_bills(ledger.engine, now + timedelta(days=31), simulated=False) == []
    dearer = corrected(ledger, wanted[0], Money.usd("0.25"), "invoice 7")
    assert dearer.billed in {
        bill.billed for bill in precedents.recent_bills(ledger.engine, now, simulated=False, of_each=1)
    }


def test_the_newest_bills_of_each_kind_are_enough(ledger: Ledger) -> None:
    ids = [billed(ledger, f"s{number}", "0.20") for number in range(5)]
    loud = billed(ledger, "loud", "0.20", has_audio=True)
    bills = precedents.recent_bills(ledger.engine, ledger.now(), simulated=False, of_each=2)
    assert {bill.job_id for bill in bills} == {*ids[-2:], loud}


@pytest.mark.parametrize("retryable", [True, False])
def test_rejections_come_with_the_providers_words_and_only_those_that_are_final(
    ledger: Ledger, retryable: bool
) -> None:
    purchase = bought(ledger, request_for())
    ledger.mark_rejected(purchase.job.id, purchase.attempt_id, "HTTP 400: duration: must be 5", retryable=retryable)
    unsent = job_in(ledger, JobState.RESERVED, request_for("dog", "a dog"))
    ledger.mark_rejected(unsent.id, None, "given up here")
    found = precedents.recent_rejections(ledger.engine, ledger.now() - timedelta(days=1), simulated=False)
    assert [each.reason for each in found] == ([] if retryable else ["HTTP 400: duration: must be 5"])
