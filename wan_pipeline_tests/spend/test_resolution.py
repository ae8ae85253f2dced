"""An ambiguous job's way out: looked for, found, absent, or decided by a person; and what may be bought anew after that."""

from __future__ import annotations

from datetime import timedelta

import pytest

from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.errors import LedgerError
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Basis, Bought, JobState, Look, NotBought, Reused, Standing
from wan_pipeline_tests.spend.samples import (
    COLLECT,
    NEW_TAKE,
    NO_LIMIT,
    NOON,
    PRICE,
    RETRY,
    bought,
    expect,
    finish,
    gone,
    job_in,
    request_for,
)

S = JobState
USD = Money.usd
SECOND = timedelta(seconds=1)


def attempt_of(ledger: Ledger, job_id: str) -> str:
    return ledger.job(job_id).attempt_id or ""


# --- the search ---


def test_a_doubt_is_dated_and_due_to_be_looked_into_at_once(ledger: Ledger) -> None:
    purchase = bought(ledger, now=NOON)
    ledger.mark_ambiguous(purchase.job.id, purchase.attempt_id, "timeout", now=NOON + SECOND)
    (job,) = ledger.ambiguous(simulated=False, due=True, now=NOON + SECOND)
    assert (job.sent_at, job.doubted_at, job.next_look_at, job.looks) == (NOON, NOON + SECOND, NOON + SECOND, 0)
    assert ledger.ambiguous(simulated=True) == []


def test_what_the_witnesses_say_is_kept_and_the_next_look_waits(ledger: Ledger) -> None:
    job = job_in(ledger, S.AMBIGUOUS)
    first = [Look("AI/ML API /v2/logs", "absent", "no such request id", NOON), Look("billing", "unsure", "?", NOON)]
    looked = ledger.record_look(job.id, first, NOON + timedelta(hours=9), now=NOON)
    assert (looked.looks, looked.next_look_at, looked.held) == (1, NOON + timedelta(hours=9), PRICE)
    assert ledger.record_look(job.id, first, NOON + timedelta(hours=9), now=NOON).looks == 1, "said again"
    second = [Look("billing", "unreachable", "timed out", NOON + SECOND)]
    assert ledger.record_look(job.id, second, None, now=NOON).looks == 2
    assert ledger.looks(job.id) == first + second
    assert ledger.ambiguous(simulated=False, due=True, now=NOON + timedelta(days=9)) == []  # nobody asks by himself


def test_the_oldest_doubt_comes_first_and_only_what_is_due(ledger: Ledger) -> None:
    for name, minutes in (("b", 2), ("a", 3), ("c", 1)):
        purchase = bought(ledger, request_for(name, name), now=NOON)
        at = NOON + timedelta(minutes=minutes)
        ledger.mark_ambiguous(purchase.job.id, purchase.attempt_id, "timeout", now=at)
    assert [job.shot for job in ledger.ambiguous(simulated=False)] == ["c", "b", "a"]
    due = ledger.ambiguous(simulated=False, due=True, now=NOON + timedelta(minutes=2))
    assert [job.shot for job in due] == ["c", "b"]


def test_testimonies_that_come_after_the_answer_change_nothing_of_the_job(ledger: Ledger) -> None:
    job = job_in(ledger, S.AMBIGUOUS)
    accepted = ledger.mark_accepted(job.id, attempt_of(ledger, job.id), "p", None)
    assert accepted.next_look_at is None
    assert ledger.record_look(job.id, [Look("list", "absent", "", NOON)], NOON) == accepted
    assert len(ledger.looks(job.id)) == 1


def test_a_job_that_is_in_doubt_again_is_looked_for_from_the_beginning(ledger: Ledger) -> None:
    job = job_in(ledger, S.AMBIGUOUS)
    ledger.record_look(job.id, [Look("list", "absent", "", NOON)], NOON)
    ledger.mark_refused(job.id, attempt_of(ledger, job.id), "429")
    attempt = ledger.begin_attempt(job.id)
    assert isinstance(attempt, str)
    assert ledger.mark_ambiguous(job.id, attempt, "timeout").looks == 0


# --- callbacks ---


def test_a_callback_is_a_hint_that_is_followed_at_once(ledger: Ledger) -> None:
    job = job_in(ledger, S.AMBIGUOUS)
    ledger.record_look(job.id, [], NOON + timedelta(days=900), now=NOON)
    attempt = attempt_of(ledger, job.id)
    assert ledger.add_callback(attempt, ["p-1", "p-2"], now=NOON)
    assert ledger.add_callback(attempt, ["p-1"], now=NOON + SECOND)
    assert ledger.hints(attempt) == ["p-1", "p-2"]
    assert [item.id for item in ledger.ambiguous(simulated=False, due=True, now=NOON + SECOND)] == [job.id]
    assert ledger.job(job.id).state is S.AMBIGUOUS, "nothing is believed before a poll"


def test_a_callback_that_comes_before_the_answer_is_lost_waits_for_the_doubt(ledger: Ledger) -> None:
    purchase = bought(ledger)
    assert ledger.add_callback(purchase.attempt_id, ["p-1"])
    assert ledger.job(purchase.job.id) == purchase.job
    ledger.mark_ambiguous(purchase.job.id, purchase.attempt_id, "timeout")
    assert ledger.hints(purchase.attempt_id) == ["p-1"]


def test_a_callback_for_no_attempt_is_told_so_and_senseless_ids_are_no_hints(ledger: Ledger) -> None:
    assert not ledger.add_callback("0" * 32, ["p-1"])
    attempt = bought(ledger).attempt_id
    assert ledger.add_callback(attempt, ["", "x" * 501, "\x00", *(f"p-{n:03}" for n in range(1000))])
    assert ledger.hints(attempt) == [f"p-{n:03}" for n in range(20)]


@pytest.mark.parametrize("state", [S.RELEASED, S.WRITTEN_OFF])
def test_a_callback_for_what_was_given_up_as_not_taken_opens_the_search_again(ledger: Ledger, state: JobState) -> None:
    """A video that was paid for is there after all: it must not be lost, nor its money."""
    job = job_in(ledger, state)
    attempt = attempt_of(ledger, job.id)
    assert ledger.add_callback(attempt, ["p-1"], now=NOON)
    again = ledger.job(job.id)
    assert (again.state, again.next_look_at, again.looks) == (S.AMBIGUOUS, NOON, 0)
    assert again.held + (again.billed or ZERO) == PRICE
    found = ledger.resolve_found(job.id, "p-1", "named by a callback")
    assert finish(ledger, found, S.STORED).billed == PRICE


def test_a_callback_that_names_another_jobs_id_or_what_is_known_opens_nothing(ledger: Ledger) -> None:
    job_in(ledger, S.STORED, request_for("dog", "a dog"))
    known = ledger.jobs(shot="dog")[0].provider_job_id or ""
    job = job_in(ledger, S.RELEASED)
    attempt = attempt_of(ledger, job.id)
    assert ledger.add_callback(attempt, [known])
    assert ledger.job(job.id) == job
    assert ledger.known_provider_jobs("wavespeed", [known, "p-1"]) == {known}
    assert ledger.known_provider_jobs("shortapi", [known]) == frozenset()
    stored = job_in(ledger, S.STORED, request_for("cow", "a cow"))
    assert ledger.add_callback(attempt_of(ledger, stored.id), ["p-9"])
    assert ledger.job(stored.id) == stored


def test_a_person_who_gives_up_again_what_a_callback_brought_back_is_heard(ledger: Ledger) -> None:
    job = job_in(ledger, S.RELEASED)
    attempt = attempt_of(ledger, job.id)
    ledger.add_callback(attempt, ["p-1"])
    ledger.resolve_not_charged(job.id, "p-1 is somebody else's")
    ledger.add_callback(attempt, ["p-1"])  # the provider repeats it
    assert ledger.job(job.id).state is S.RELEASED


# --- found ---


def test_a_found_job_goes_on_as_if_its_answer_had_arrived(ledger: Ledger, other: Ledger) -> None:
    job = job_in(ledger, S.AMBIGUOUS)
    found = other.resolve_found(job.id, "p-1", "in the list of predictions")
    assert (found.state, found.provider_job_id, found.held, found.owner) == (S.SUBMITTED, "p-1", PRICE, other.owner_id)
    assert [(a.outcome, a.detail) for a in other.attempts(job.id)] == [("accepted", "in the list of predictions")]
    assert other.resolve_found(job.id, "p-1", "in the list of predictions") == found, "said again"
    late = ledger.mark_accepted(job.id, attempt_of(ledger, job.id), "p-1", None)  # and the answer arrives after all
    assert late == found
    finish(other, found, S.STORED)


def test_what_the_search_learns_of_the_amount_is_reported_and_charged(ledger: Ledger) -> None:
    job = job_in(ledger, S.AMBIGUOUS)
    found = ledger.resolve_found(job.id, "p-1", "AI/ML API's logs", USD("0.17"))
    assert (found.billed, found.basis, found.held) == (USD("0.17"), Basis.REPORTED, ZERO)


def test_one_job_of_the_provider_is_never_two_of_the_ledger(ledger: Ledger) -> None:
    first, second = (job_in(ledger, S.AMBIGUOUS, request_for(name, name)) for name in "ab")
    ledger.resolve_found(first.id, "p-1", "seen")
    with pytest.raises(LedgerError, match="p-1 at wavespeed is another job of the ledger"):
        ledger.resolve_found(second.id, "p-1", "seen")
    assert ledger.job(second.id) == second


# --- absent ---


def test_what_is_absent_gives_its_hold_back_and_is_bought_anew_by_whoever_comes(ledger: Ledger, other: Ledger) -> None:
    old = ledger.resolve_absent(job_in(ledger, S.AMBIGUOUS).id, "in no log and no bill 4 h after it was sent")
    assert (old.state, old.held, old.billed, old.retryable) == (S.RELEASED, ZERO, None, True)
    assert ledger.resolve_absent(old.id, "in no log and no bill 4 h after it was sent") == old, "said again"
    expect(NotBought, other.claim(request_for(), NO_LIMIT, COLLECT))
    new = bought(other).job
    assert (new.take, new.repeat) == (2, 2)
    assert new.id != old.id
    assert ledger.job(old.id) == old, "the old one stays, for an answer that comes late"
    late = ledger.mark_accepted(old.id, attempt_of(ledger, old.id), "p-late", None)
    assert (late.state, late.held, late.retryable) == (S.SUBMITTED, PRICE, False)


def test_what_was_bought_anew_after_an_absence_is_not_bought_a_third_time(ledger: Ledger) -> None:
    ledger.resolve_absent(job_in(ledger, S.AMBIGUOUS).id, "nowhere")
    second = bought(ledger)
    ledger.mark_ambiguous(second.job.id, second.attempt_id, "timeout")
    for options in (None, RETRY, NEW_TAKE):
        assert expect(Standing, ledger.claim(request_for(), NO_LIMIT, options)).job.id == second.job.id
    found = ledger.resolve_found(second.job.id, "p-2", "seen")
    finish(ledger, found, S.STORED)
    assert expect(Reused, ledger.claim(request_for(), NO_LIMIT)).job.id == second.job.id


# --- a person's word ---


def test_what_a_person_calls_not_charged_stands_until_asked_by_name(ledger: Ledger) -> None:
    job = ledger.resolve_not_charged(job_in(ledger, S.AMBIGUOUS).id, "Ann: not in the account")
    assert (job.state, job.held, job.retryable) == (S.RELEASED, ZERO, False)
    assert job.error == "not charged: Ann: not in the account"
    expect(Standing, ledger.claim(request_for(), NO_LIMIT))
    bought(ledger, options=RETRY)


def test_what_a_person_writes_off_counts_as_spent_and_takes_the_word_new_take(ledger: Ledger) -> None:
    job = ledger.resolve_write_off(job_in(ledger, S.AMBIGUOUS).id, "Ann: cannot be found")
    assert (job.state, job.held, job.billed) == (S.WRITTEN_OFF, ZERO, PRICE)
    expect(Standing, ledger.claim(request_for(), NO_LIMIT, RETRY))
    bought(ledger, options=NEW_TAKE)


@pytest.mark.parametrize("decision", ["not charged", "written off"])
def test_a_duplicate_that_a_person_allows_is_bought_once_and_for_no_more_than_that(
    ledger: Ledger, decision: str
) -> None:
    resolve = ledger.resolve_not_charged if decision == "not charged" else ledger.resolve_write_off
    old = resolve(job_in(ledger, S.AMBIGUOUS).id, "Ann, since it is urgent", PRICE)
    assert old.duplicate_allowed == PRICE
    assert resolve(old.id, "Ann, since it is urgent", PRICE) == old, "said again"
    for words in ("Ann, since it is urgent", f"at most {PRICE} USD"):
        assert words in (old.error or "")
        assert words in ledger.entries(old.id)[-1].note
    dearer = request_for(quoted_high=PRICE + Money(1))
    standing = expect(Standing, ledger.claim(dearer, NO_LIMIT))
    assert f"at most {PRICE} USD" in standing.remedy
    expect(NotBought, ledger.claim(request_for(), NO_LIMIT, COLLECT))
    new = expect(Bought, ledger.claim(request_for("its twin"), NO_LIMIT))  # whoever asks for this request
    ledger.mark_rejected(new.job.id, new.attempt_id, "bad prompt")
    assert expect(Standing, ledger.claim(request_for(), NO_LIMIT)).job.id == new.job.id, "allowed once, not for ever"


def test_an_allowance_is_for_the_request_that_it_was_given_for(ledger: Ledger) -> None:
    """A change of a _defaults.yaml makes it another request, which takes the word `outdated`."""
    ledger.resolve_write_off(job_in(ledger, S.AMBIGUOUS).id, "Ann", PRICE)
    expect(Standing, ledger.claim(request_for(prompt="a dog"), NO_LIMIT))


def test_what_cannot_be_allowed_is_refused_and_changes_nothing(ledger: Ledger) -> None:
    job = job_in(ledger, S.AMBIGUOUS)
    for resolve in (ledger.resolve_not_charged, ledger.resolve_write_off):
        with pytest.raises(LedgerError, match="cannot be allowed"):
            resolve(job.id, "Ann", USD("-0.01"))
    assert ledger.job(job.id) == job


@pytest.mark.parametrize("state", [state for state in S if state is not S.AMBIGUOUS])
def test_only_an_ambiguity_can_be_resolved(ledger: Ledger, state: JobState) -> None:
    job = job_in(ledger, state)
    for resolve in (ledger.resolve_absent, ledger.resolve_not_charged, ledger.resolve_write_off):
        with pytest.raises(LedgerError, match="not ambiguous: there is nothing to resolve"):
            resolve(job.id, "somebody else")
    with pytest.raises(LedgerError, match="not ambiguous"):
        ledger.resolve_found(job.id, "p-other", "somebody else")
    assert ledger.job(job.id) == job


# --- orphans ---


def test_orphans_are_settled_and_what_is_paid_for_is_named_for_collection(ledger: Ledger, other: Ledger) -> None:
    made = {state: job_in(other, state, request_for(state, state)) for state in S}
    held = job_in(ledger, S.SUBMITTED, request_for("held", "held"))
    assert ledger.orphans(simulated=False) == [], "their holder lives"
    gone(other)
    before = {job.shot: job for job in ledger.jobs()}
    orphans = ledger.orphans(simulated=False)
    assert {job.shot for job in orphans} == {"reserved", "submitting", "submitted", "generated"}
    assert {job.shot: job for job in ledger.jobs()} == before
    assert {job.shot for job in ledger.settle_orphans(simulated=False)} == {"submitted", "generated"}
    reserved, submitting = (ledger.job(made[state].id) for state in (S.RESERVED, S.SUBMITTING))
    assert (reserved.state, reserved.retryable, reserved.held) == (S.REJECTED, True, ZERO)
    assert (submitting.state, submitting.held) == (S.AMBIGUOUS, PRICE)
    assert ledger.ambiguous(simulated=False, due=True)
    assert ledger.settle_orphans(simulated=True) == []
    assert {job.shot for job in ledger.settle_orphans(simulated=False)} == {"submitted", "generated"}
    assert ledger.job(held.id) == held


def test_what_goes_away_first_is_collected_first(ledger: Ledger, other: Ledger) -> None:
    for name, generated, expires in (("a", 0, 9), ("b", 0, 2), ("c", 0, None), ("d", -23, None)):
        purchase = bought(other, request_for(name, name), now=NOON - timedelta(days=2))
        at = NOON + timedelta(hours=generated)
        job = other.mark_accepted(purchase.job.id, purchase.attempt_id, f"p-{name}", None, now=at)
        until = None if expires is None else NOON + timedelta(hours=expires)
        other.mark_generated(job.id, "https://x/v", expires_at=until, now=at)
    gone(other)
    assert [job.shot for job in ledger.settle_orphans(simulated=False)] == ["d", "b", "a", "c"]
