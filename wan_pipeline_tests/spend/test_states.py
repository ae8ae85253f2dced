"""The arrows between the states: who may walk them, what a late answer does, what a repeated step does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.errors import LedgerError, NotHolderError, UnknownJobError
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Job, JobState, Standing
from wan_pipeline_tests.spend.samples import (
    NO_LIMIT,
    NOON,
    PRICE,
    RETRY,
    bought,
    expect,
    finish,
    gone,
    job_in,
    joined,
    request_for,
    video,
)

S = JobState
REACHABLE = list(JobState)
LATER = NOON + timedelta(hours=1)
STEPS: dict[str, Callable[[Ledger, Job], object]] = {
    "begin_attempt": lambda ledger, job: ledger.begin_attempt(job.id),
    "refused": lambda ledger, job: ledger.mark_refused(job.id, job.attempt_id or "", "429"),
    "not_sent": lambda ledger, job: ledger.mark_not_sent(job.id, job.attempt_id or "", "no route"),
    "accepted": lambda ledger, job: ledger.mark_accepted(job.id, job.attempt_id or "", f"p-{job.id}", None),
    "rejected": lambda ledger, job: ledger.mark_rejected(job.id, job.attempt_id, "bad"),
    "given up": lambda ledger, job: ledger.mark_rejected(job.id, None, "never sent", retryable=True),
    "ambiguous": lambda ledger, job: ledger.mark_ambiguous(job.id, job.attempt_id or "", "timeout"),
    "generated": lambda ledger, job: ledger.mark_generated(job.id, "https://x/v"),
    "stored": lambda ledger, job: ledger.mark_stored(job.id, video()),
    "failed": lambda ledger, job: ledger.mark_failed(job.id, "policy", None),
    "lost": lambda ledger, job: ledger.mark_lost(job.id, "410"),
    "fetch failed": lambda ledger, job: ledger.mark_fetch_failed(job.id, "cut", LATER),
    "found": lambda ledger, job: ledger.resolve_found(job.id, f"found-{job.id}", "it"),
    "absent": lambda ledger, job: ledger.resolve_absent(job.id, "it"),
    "not charged": lambda ledger, job: ledger.resolve_not_charged(job.id, "it"),
    "written off": lambda ledger, job: ledger.resolve_write_off(job.id, "it"),
}
# Which steps each state allows; everything else raises LedgerError and changes nothing. A step into the state that the
# job is in already is one repeated after its answer was lost.
# "ambiguous" where more is known already changes nothing, nor does a late answer to what was given up that confirms it.
ALLOWED = {
    S.RESERVED: {"begin_attempt", "refused", "not_sent", "rejected", "given up"},
    S.SUBMITTING: {"refused", "not_sent", "accepted", "rejected", "ambiguous"},
    S.SUBMITTED: {"accepted", "ambiguous", "generated", "fetch failed", "failed", "lost"},
    S.GENERATED: {"accepted", "ambiguous", "generated", "fetch failed", "stored", "lost"},
    S.STORED: {"accepted", "ambiguous", "stored"},
    S.LOST: {"accepted", "ambiguous", "lost"},
    S.FAILED: {"accepted", "ambiguous", "failed"},
    S.REJECTED: {"rejected", "given up"},
    S.AMBIGUOUS: {
        *("refused", "not_sent", "accepted", "rejected", "ambiguous"),
        *("found", "absent", "not charged", "written off"),
    },
    S.RELEASED: {"refused", "not_sent", "accepted", "rejected", "ambiguous"},
    S.WRITTEN_OFF: {"refused", "not_sent", "accepted", "rejected", "ambiguous"},
}


@pytest.mark.parametrize("state", REACHABLE)
def test_only_the_drawn_arrows_can_be_walked(ledger: Ledger, state: JobState) -> None:
    allowed: set[str] = set()
    for name, step in STEPS.items():
        job = job_in(ledger, state, request_for(name, name))
        entries = ledger.entries(job.id)
        try:
            step(ledger, job)
            allowed.add(name)
        except LedgerError as error:
            assert job.id in str(error)
            assert str(state) in str(error)
            assert ledger.job(job.id) == job
            assert ledger.entries(job.id) == entries
    assert allowed == ALLOWED[state]


@pytest.mark.parametrize("state", [S.RESERVED, S.SUBMITTED, S.GENERATED])
def test_only_the_holder_may_go_on(ledger: Ledger, other: Ledger, state: JobState) -> None:
    proven_by_the_attempt = {"refused", "not_sent", "accepted", "rejected", "ambiguous"}
    job = job_in(ledger, state)
    for name in ALLOWED[state] - proven_by_the_attempt:
        with pytest.raises(NotHolderError, match=job.id):
            STEPS[name](other, job)
    assert ledger.job(job.id) == job


def test_a_holder_that_was_taken_for_dead_is_told_so(ledger: Ledger, other: Ledger) -> None:
    job = job_in(ledger, S.SUBMITTED)
    old_id = ledger.owner_id
    gone(ledger)
    joined(other.claim(request_for(), NO_LIMIT), mine=True)
    assert other.job(job.id).owner not in (old_id, ledger.owner_id)
    with pytest.raises(NotHolderError, match="leave it to its holder"):
        ledger.mark_generated(job.id, "https://x/v")


def test_an_answer_that_comes_late_is_not_lost(ledger: Ledger, other: Ledger) -> None:
    """Its holder seemed dead, the job was taken for ambiguous; then the provider's answer is there after all."""
    purchase = bought(ledger)
    gone(ledger)
    expect(Standing, other.claim(request_for(), NO_LIMIT))
    job = ledger.mark_accepted(purchase.job.id, purchase.attempt_id, "p-1", None)
    assert (job.state, job.provider_job_id, job.held, job.owner) == (S.SUBMITTED, "p-1", PRICE, ledger.owner_id)
    assert [attempt.outcome for attempt in ledger.attempts(job.id)] == ["accepted"]
    assert finish(ledger, job, S.STORED).billed == PRICE


def test_a_late_refusal_makes_an_ambiguous_job_sendable_again_for_who_got_it(ledger: Ledger, other: Ledger) -> None:
    purchase = bought(ledger)
    gone(ledger)
    expect(Standing, other.claim(request_for(), NO_LIMIT))
    job = ledger.mark_refused(purchase.job.id, purchase.attempt_id, "429")
    assert (job.state, job.held, job.owner) == (S.RESERVED, PRICE, ledger.owner_id)
    ledger.begin_attempt(job.id)


def test_a_late_rejection_releases_the_hold(ledger: Ledger) -> None:
    job = job_in(ledger, S.AMBIGUOUS)
    job = ledger.mark_rejected(job.id, job.attempt_id, "400")
    assert (job.state, job.held, job.billed) == (S.REJECTED, ZERO, None)
    assert [attempt.outcome for attempt in ledger.attempts(job.id)] == ["rejected"]


@pytest.mark.parametrize("state", ["released", "written_off"])
@pytest.mark.parametrize("reported", [None, Money.usd("0.17")])
def test_an_answer_finds_its_job_even_after_a_person_gave_it_up(
    ledger: Ledger, state: str, reported: Money | None
) -> None:
    job = job_in(ledger, S.AMBIGUOUS)
    give_up = ledger.resolve_not_charged if state == "released" else ledger.resolve_write_off
    give_up(job.id, "somebody")
    if state == "released":  # it was bought once more meanwhile: now both are known
        bought(ledger, options=RETRY)
    job = ledger.mark_accepted(job.id, job.attempt_id or "", "p-late", reported)
    assert job.state is S.SUBMITTED
    assert job.held + (job.billed or ZERO) == (reported or PRICE)
    assert ledger.verify() == []


def test_two_provider_jobs_for_one_attempt_are_told_and_none_is_forgotten(ledger: Ledger) -> None:
    job = job_in(ledger, S.SUBMITTED)
    with pytest.raises(LedgerError, match=f"{job.provider_job_id}.*p-other"):
        ledger.mark_accepted(job.id, job.attempt_id or "", "p-other", None)
    assert ledger.job(job.id) == job


def test_an_answer_to_another_attempt_changes_nothing(ledger: Ledger) -> None:
    first = bought(ledger)
    ledger.mark_refused(first.job.id, first.attempt_id, "429")
    ledger.begin_attempt(first.job.id)
    before = ledger.job(first.job.id)
    for step in ("accepted", "refused", "rejected", "ambiguous"):
        with pytest.raises(LedgerError, match=first.attempt_id):
            STEPS[step](ledger, first.job)
    assert ledger.job(first.job.id) == before


def test_each_attempt_is_one_row_with_one_outcome(ledger: Ledger) -> None:
    first = bought(ledger)
    ledger.mark_refused(first.job.id, first.attempt_id, "429")
    second = ledger.begin_attempt(first.job.id)
    ledger.mark_not_sent(first.job.id, second, "connect refused")
    third = ledger.begin_attempt(first.job.id)
    ledger.mark_accepted(first.job.id, third, "p", None, note="queued")
    seen = [(attempt.n, attempt.id, attempt.outcome, attempt.detail) for attempt in ledger.attempts(first.job.id)]
    assert seen == [
        (1, first.attempt_id, "refused", "429"),
        (2, second, "not_sent", "connect refused"),
        (3, third, "accepted", "queued"),
    ]
    assert len({first.attempt_id, second, third}) == 3


def test_an_expired_result_is_asked_for_again(ledger: Ledger) -> None:
    job = job_in(ledger, S.GENERATED)
    again = ledger.mark_generated(job.id, "https://other.invalid/v.mp4?sig=2")
    assert (again.state, again.result_url) == (S.GENERATED, "https://other.invalid/v.mp4")


def test_the_signed_part_of_a_result_url_is_never_written(ledger: Ledger) -> None:
    assert job_in(ledger, S.GENERATED).result_url == "https://cdn.invalid/v.mp4"


def test_storing_twice_is_fine_with_the_same_bytes_and_only_with_them(ledger: Ledger, other: Ledger) -> None:
    job = job_in(ledger, S.STORED)
    assert ledger.mark_stored(job.id, video()) == job
    assert other.mark_stored(job.id, video()) == job
    with pytest.raises(LedgerError):
        ledger.mark_stored(job.id, video(sha256="0" * 64))
    assert job.video_duration_s == 5.04
    assert job.video_bytes == 123_456


def test_words_that_a_database_cannot_hold_do_not_keep_an_answer_from_being_written(ledger: Ledger) -> None:
    purchase = bought(ledger)
    job = ledger.mark_rejected(purchase.job.id, purchase.attempt_id, "bad\x00 \ud800 " + "x" * 10_000)
    assert job.state is S.REJECTED
    assert job.error is not None
    assert job.error.startswith("bad\N{REPLACEMENT CHARACTER} ? x")
    assert len(job.error) == 4000


def test_an_unknown_job_is_said_to_be_unknown(ledger: Ledger) -> None:
    with pytest.raises(UnknownJobError, match="j-none"):
        ledger.mark_lost("j-none", "gone")


def test_a_failed_collection_is_counted_and_keeps_the_job(ledger: Ledger, other: Ledger) -> None:
    job = job_in(ledger, S.GENERATED)
    first = ledger.mark_fetch_failed(job.id, "cut at 3 MB", LATER)
    assert (first.state, first.fetches, first.next_fetch_at, first.error) == (S.GENERATED, 1, LATER, "cut at 3 MB")
    assert ledger.mark_fetch_failed(job.id, "cut at 3 MB", LATER).fetches == 1, "said again, after a lost answer"
    later = LATER + timedelta(minutes=1)
    assert ledger.mark_fetch_failed(job.id, "cut at 3 MB", later).fetches == 2
    with pytest.raises(NotHolderError):
        other.mark_fetch_failed(job.id, "cut", later + timedelta(minutes=1))
    assert finish(ledger, ledger.job(job.id), S.STORED).error is None


def test_until_when_a_result_can_be_had_is_kept_and_renewed_with_its_url(ledger: Ledger) -> None:
    job = job_in(ledger, S.SUBMITTED)
    assert ledger.mark_generated(job.id, "https://x/v", expires_at=LATER).result_expires_at == LATER
    renewed = ledger.mark_generated(job.id, "https://y/v", expires_at=LATER + timedelta(hours=1))
    assert (renewed.result_expires_at, renewed.result_url) == (LATER + timedelta(hours=1), "https://y/v")


def test_a_job_was_done_when_that_was_heard_however_late_it_is_written_down(ledger: Ledger) -> None:
    job = job_in(ledger, S.SUBMITTED)
    assert ledger.mark_generated(job.id, "https://x/v", now=LATER, known_for_s=30).generated_at == LATER - timedelta(
        seconds=30
    )


def test_what_came_in_place_of_a_video_is_named_with_the_loss(ledger: Ledger) -> None:
    job = ledger.mark_lost(job_in(ledger, S.GENERATED).id, "no video", "videos/cat/take-1.unplayable")
    assert (job.state, job.kept_key) == (S.LOST, "videos/cat/take-1.unplayable")


def test_every_sending_has_its_moment(ledger: Ledger) -> None:
    purchase = bought(ledger, now=NOON)
    assert ledger.job(purchase.job.id).sent_at == purchase.job.sent_at == NOON
    ledger.mark_refused(purchase.job.id, purchase.attempt_id, "429", now=NOON)
    ledger.begin_attempt(purchase.job.id, now=LATER)
    assert ledger.job(purchase.job.id).sent_at == LATER


def test_a_timeout_that_is_told_after_others_have_found_the_job_takes_nothing_back(
    ledger: Ledger, other: Ledger
) -> None:
    """Its sender was taken for dead, another process looked for the job and found it, and then the sender's wait ends."""
    purchase = bought(ledger)
    gone(ledger)
    expect(Standing, other.claim(request_for(), NO_LIMIT))
    found = other.resolve_found(purchase.job.id, "p-1", "found in the list")
    assert ledger.mark_ambiguous(purchase.job.id, purchase.attempt_id, "read timeout") == found
    with pytest.raises(NotHolderError):
        ledger.mark_generated(purchase.job.id, "https://x/v")


@pytest.mark.parametrize("late", ["refused", "not_sent", "rejected"])
def test_a_late_no_to_what_was_given_up_as_absent_opens_nothing_again(ledger: Ledger, late: str) -> None:
    old = job_in(ledger, S.AMBIGUOUS)
    ledger.resolve_absent(old.id, "nowhere")
    new = bought(ledger).job
    STEPS[late](ledger, old)
    assert (ledger.job(old.id).state, ledger.job(old.id).held) == (S.RELEASED, ZERO)
    assert [attempt.outcome for attempt in ledger.attempts(old.id)] == [late]
    assert ledger.job(new.id) == new
