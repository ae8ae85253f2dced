"""The claim's decisions: what is bought, joined, reused, and what stands."""

from __future__ import annotations

import pytest

from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import (
    Bought,
    ClaimOptions,
    JobState,
    NotBought,
    Outdated,
    OverBudget,
    Reused,
    SentWith,
    Standing,
)
from wan_pipeline.spend.tables import attempts
from wan_pipeline_tests.spend.samples import (
    COLLECT,
    NEW_TAKE,
    NO_LIMIT,
    OUTDATED,
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
OPEN = [S.RESERVED, S.SUBMITTING, S.SUBMITTED, S.GENERATED]
EVERY_OPTION = [
    ClaimOptions(retry_failed=r, new_take=n, outdated=o, collect_only=c)
    for r in (False, True)
    for n in (False, True)
    for o in (False, True)
    for c in (False, True)
]


def test_a_first_claim_writes_hold_intent_and_take_before_anything_is_sent(ledger: Ledger, other: Ledger) -> None:
    answer = bought(ledger)
    job = other.job(answer.job.id)  # as another process sees it: committed
    assert (job.state, job.held, job.billed, job.take, job.repeat) == (S.SUBMITTING, PRICE, None, 1, 1)
    assert job.attempt_id == answer.attempt_id
    assert job.owner == ledger.owner_id
    assert job.arguments == request_for().arguments
    assert job.inputs == request_for().inputs
    assert [(entry.kind, entry.amount) for entry in other.entries(job.id)] == [("hold", PRICE)]
    assert [(attempt.id, attempt.outcome) for attempt in other.attempts(job.id)] == [(answer.attempt_id, None)]
    take = other.current_take("cat")
    assert take is not None
    assert (take.job_id, take.reused, take.video_uri) == (job.id, False, None)


def test_an_attempt_id_is_what_a_request_id_header_may_hold(ledger: Ledger) -> None:
    assert set(bought(ledger).attempt_id) <= set("0123456789abcdef")
    assert len(bought(ledger, request_for("dog", "a dog")).attempt_id) == 32


def test_collect_only_never_buys(ledger: Ledger) -> None:
    expect(NotBought, ledger.claim(request_for(), NO_LIMIT, COLLECT))
    assert ledger.jobs() == []
    assert ledger.takes("cat") == []


@pytest.mark.parametrize("state", OPEN)
def test_a_job_that_a_living_holder_has_is_joined_and_never_bought(
    ledger: Ledger, other: Ledger, state: JobState
) -> None:
    job = job_in(other, state)
    for options in EVERY_OPTION:
        assert joined(ledger.claim(request_for(), NO_LIMIT, options), mine=False).id == job.id
        assert joined(ledger.claim(request_for("its twin"), NO_LIMIT, options), mine=False).id == job.id
    assert len(ledger.jobs()) == 1
    assert ledger.job(job.id) == job


@pytest.mark.parametrize("state", OPEN)
def test_two_shots_of_one_batch_with_the_same_request_buy_it_once(ledger: Ledger, state: JobState) -> None:
    job = job_in(ledger, state)
    assert joined(ledger.claim(request_for("its twin"), NO_LIMIT), mine=False).id == job.id


@pytest.mark.parametrize("state", [S.SUBMITTED, S.GENERATED])
@pytest.mark.parametrize("options", [ClaimOptions(), COLLECT, NEW_TAKE])
def test_a_job_at_the_provider_is_adopted_from_a_dead_holder(
    ledger: Ledger, other: Ledger, state: JobState, options: ClaimOptions
) -> None:
    job = job_in(other, state)
    gone(other)
    assert joined(ledger.claim(request_for(), NO_LIMIT, options), mine=True).id == job.id
    assert ledger.job(job.id).owner == ledger.owner_id
    finish(ledger, ledger.job(job.id), S.STORED)


def test_a_job_found_submitting_after_its_holder_died_is_ambiguous_and_stands(ledger: Ledger, other: Ledger) -> None:
    purchase = bought(other)
    gone(other)
    standing = expect(Standing, ledger.claim(request_for(), NO_LIMIT))
    job = ledger.job(purchase.job.id)
    assert job.state is standing.job.state is S.AMBIGUOUS
    assert job.held == PRICE
    assert [attempt.outcome for attempt in ledger.attempts(job.id)] == ["ambiguous"]
    assert f"wan-pipeline resolve {job.id}" in standing.remedy


def test_an_ambiguous_job_is_never_bought_again_whatever_the_options(ledger: Ledger) -> None:
    job = job_in(ledger, S.AMBIGUOUS)
    for options in EVERY_OPTION:
        for shot in ("cat", "its twin"):
            assert expect(Standing, ledger.claim(request_for(shot), NO_LIMIT, options)).job.id == job.id
    assert len(ledger.jobs()) == 1


def test_a_reserved_job_of_a_dead_holder_is_sent_by_the_next_one_as_a_new_attempt(
    ledger: Ledger, other: Ledger
) -> None:
    job = job_in(other, S.RESERVED)
    gone(other)
    expect(NotBought, ledger.claim(request_for(), NO_LIMIT, COLLECT))
    answer = bought(ledger)
    assert answer.job.id == job.id
    assert answer.attempt_id != job.attempt_id
    assert answer.job.held == PRICE
    assert [(a.id, a.n) for a in ledger.attempts(job.id)] == [(job.attempt_id, 1), (answer.attempt_id, 2)]


def test_a_holder_that_released_its_jobs_is_not_waited_for(ledger: Ledger, other: Ledger) -> None:
    job = job_in(other, S.SUBMITTED)
    other.release_owner()
    assert joined(ledger.claim(request_for(), NO_LIMIT), mine=True).id == job.id
    ledger.release_owner()  # and the next batch of this very process is another holder
    assert joined(ledger.claim(request_for(), NO_LIMIT), mine=True).id == job.id


def test_a_stored_video_is_reused_by_its_shot_and_by_others_and_costs_nothing(ledger: Ledger) -> None:
    job = job_in(ledger, S.STORED)
    own = expect(Reused, ledger.claim(request_for(), NO_LIMIT))
    assert (own.take.take, own.take.reused, own.take.video_uri) == (1, False, video().uri)
    twin = expect(Reused, ledger.claim(request_for("its twin"), NO_LIMIT))
    assert (twin.take.shot, twin.take.take, twin.take.reused, twin.take.job_id) == ("its twin", 1, True, job.id)
    again = expect(Reused, ledger.claim(request_for("its twin"), NO_LIMIT))
    assert again.take == twin.take
    assert len(ledger.takes("its twin")) == 1
    assert len(ledger.entries()) == 3  # hold, charge, release


def test_going_back_to_an_earlier_request_reuses_the_earlier_video(ledger: Ledger) -> None:
    first = job_in(ledger, S.STORED, request_for(own="own-1"))
    job_in(ledger, S.STORED, request_for(prompt="a dog", own="own-2"))
    back = expect(Reused, ledger.claim(request_for(own="own-1"), NO_LIMIT))
    assert back.job.id == first.id
    assert [(take.take, take.reused) for take in ledger.takes("cat")] == [(1, False), (2, False), (3, True)]


def test_a_new_take_buys_the_same_request_once_more(ledger: Ledger) -> None:
    first = job_in(ledger, S.STORED)
    second = bought(ledger, options=NEW_TAKE).job
    assert (second.take, second.repeat) == (2, 2)
    assert second.fingerprint != first.fingerprint
    # and asked again while that one is under way, it is joined: an impatient click buys nothing
    joined(ledger.claim(request_for(), NO_LIMIT, NEW_TAKE), mine=False)


def test_a_change_of_the_shots_own_files_is_bought(ledger: Ledger) -> None:
    job_in(ledger, S.STORED)
    assert bought(ledger, request_for(prompt="a dog", own="own-2")).job.take == 2


@pytest.mark.parametrize("options", [ClaimOptions(), RETRY, COLLECT])
def test_a_change_by_defaults_alone_buys_nothing_until_asked(ledger: Ledger, options: ClaimOptions) -> None:
    job_in(ledger, S.STORED)
    answer = expect(Outdated, ledger.claim(request_for(prompt="a dog"), NO_LIMIT, options))
    assert (answer.job.take, answer.take.take) == (1, 1)
    assert len(ledger.jobs()) == 1


@pytest.mark.parametrize("options", [OUTDATED, NEW_TAKE])
def test_an_outdated_shot_is_made_anew_when_asked(ledger: Ledger, options: ClaimOptions) -> None:
    job_in(ledger, S.STORED)
    assert bought(ledger, request_for(prompt="a dog"), options).job.take == 2


@pytest.mark.parametrize("state", [S.SUBMITTED, S.GENERATED])
def test_a_change_by_defaults_collects_what_is_in_flight_instead_of_buying_beside_it(
    ledger: Ledger, other: Ledger, state: JobState
) -> None:
    job = job_in(other, state)
    assert joined(ledger.claim(request_for(prompt="a dog"), NO_LIMIT), mine=False).id == job.id
    gone(other)
    assert joined(ledger.claim(request_for(prompt="a dog"), NO_LIMIT), mine=True).id == job.id


@pytest.mark.parametrize("state", [S.AMBIGUOUS, S.LOST])
def test_a_change_by_defaults_does_not_buy_anew_what_is_or_may_be_paid(ledger: Ledger, state: JobState) -> None:
    job_in(ledger, state)
    expect(Standing, ledger.claim(request_for(prompt="a dog"), NO_LIMIT, RETRY))
    bought(ledger, request_for(prompt="a dog"), OUTDATED)


def test_a_change_by_defaults_of_a_take_that_cost_nothing_is_made(ledger: Ledger) -> None:
    job_in(ledger, S.REJECTED)
    assert bought(ledger, request_for(prompt="a dog")).job.take == 2
    ledger.mark_rejected(bought(ledger, request_for("x", "1")).job.id, ledger.jobs(shot="x")[0].attempt_id, "bad")
    job_in(ledger, S.FAILED, request_for("y", "2"), billed=ZERO)
    bought(ledger, request_for("y", "3"))


def test_a_change_by_defaults_is_measured_from_the_files_as_they_were_last_seen(ledger: Ledger) -> None:
    """A yaml that says the same request in other words is no purchase, nor makes the next change of defaults one."""
    job_in(ledger, S.STORED, request_for(own="own-1"))
    expect(Reused, ledger.claim(request_for(own="own-2"), NO_LIMIT))
    expect(Outdated, ledger.claim(request_for(prompt="a dog", own="own-2"), NO_LIMIT))


def test_a_changed_shot_gives_up_what_its_dead_holder_never_sent(ledger: Ledger, other: Ledger) -> None:
    old = job_in(other, S.RESERVED)
    gone(other)
    bought(ledger, request_for(prompt="a dog", own="own-2"))
    assert (ledger.job(old.id).state, ledger.job(old.id).held) == (S.REJECTED, ZERO)


@pytest.mark.parametrize(
    ("state", "billed", "retried"),
    [
        (S.FAILED, ZERO, True),
        (S.FAILED, Money.usd("0.10"), False),
        (S.FAILED, None, False),  # unknown is not zero
        (S.REJECTED, None, True),
        (S.LOST, None, False),
    ],
)
def test_what_ended_badly_stands_until_asked_by_name_or_as_a_new_take(
    ledger: Ledger, state: JobState, billed: Money | None, retried: bool
) -> None:
    job_in(ledger, state, billed=billed)
    for options in (ClaimOptions(), OUTDATED, COLLECT):
        standing = expect(Standing, ledger.claim(request_for(), NO_LIMIT, options))
        assert ("--new-take" in standing.remedy) is not retried
    assert isinstance(ledger.claim(request_for("its twin"), NO_LIMIT), Standing)
    asked = ledger.claim(request_for(), NO_LIMIT, RETRY)
    if retried:
        assert (expect(Bought, asked).job.take, expect(Bought, asked).job.repeat) == (2, 2)
    else:
        expect(Standing, asked)
        assert bought(ledger, options=NEW_TAKE).job.take == 2


def test_a_retry_by_name_does_not_buy_what_another_shot_has_meanwhile(ledger: Ledger) -> None:
    job_in(ledger, S.FAILED, billed=ZERO)
    twin = bought(ledger, request_for("its twin"), RETRY)
    assert joined(ledger.claim(request_for(), NO_LIMIT, RETRY), mine=False).id == twin.job.id
    finish(ledger, ledger.mark_accepted(twin.job.id, twin.attempt_id, "p", None), S.STORED)
    assert expect(Reused, ledger.claim(request_for(), NO_LIMIT, RETRY)).job.id == twin.job.id


def test_a_retryable_rejection_is_opened_again_by_anyone_as_the_same_job(ledger: Ledger, other: Ledger) -> None:
    first = bought(ledger)
    ledger.mark_rejected(first.job.id, first.attempt_id, "no credit", retryable=True)
    expect(NotBought, other.claim(request_for(), NO_LIMIT, COLLECT))
    again = bought(other)
    assert again.job.id == first.job.id
    assert again.attempt_id != first.attempt_id
    job = other.job(first.job.id)
    assert (job.state, job.take, job.repeat, job.held, job.retryable) == (S.SUBMITTING, 1, 1, PRICE, False)
    assert job.owner == other.owner_id


def test_a_simulated_video_is_never_taken_for_a_real_one(ledger: Ledger) -> None:
    job_in(ledger, S.STORED, request_for(simulated=True))
    real = bought(ledger, request_for(simulated=False)).job
    assert (real.take, real.simulated) == (2, False)
    assert expect(Reused, ledger.claim(request_for(simulated=True), NO_LIMIT)).take.take == 1
    joined(ledger.claim(request_for(simulated=False), NO_LIMIT), mine=False)


def test_another_shot_with_the_same_request_reuses_the_video_once_it_is_stored_as_one_take_however_often(
    ledger: Ledger,
) -> None:
    job = job_in(ledger, S.SUBMITTED)
    joined(ledger.claim(request_for("dog"), NO_LIMIT), mine=False)
    assert set(ledger.current_takes()) == {"cat"}, "nothing is reused before it is there"
    finish(ledger, job, S.STORED)
    take = expect(Reused, ledger.claim(request_for("dog"), NO_LIMIT)).take
    assert (take.shot, take.take, take.job_id, take.reused) == ("dog", 1, job.id, True)
    assert expect(Reused, ledger.claim(request_for("dog"), NO_LIMIT)).take == take
    assert ledger.current_takes() == {"cat": ledger.takes("cat")[0], "dog": take}


def test_a_job_that_no_shot_leads_to_any_more_can_be_taken_over(ledger: Ledger, other: Ledger) -> None:
    jobs = {state: job_in(other, state, request_for(state, state)) for state in OPEN}
    assert joined(ledger.take_over(jobs[S.SUBMITTED].id), mine=False).id == jobs[S.SUBMITTED].id
    gone(other)
    for state in (S.SUBMITTED, S.GENERATED):
        joined(ledger.take_over(jobs[state].id), mine=True)
        joined(ledger.take_over(jobs[state].id), mine=False)  # one part of a batch collects it, not two
    assert ledger.take_over(jobs[S.SUBMITTING].id).job.state is S.AMBIGUOUS
    assert ledger.take_over(jobs[S.RESERVED].id).job.state is S.REJECTED


def test_a_claim_begun_again_after_its_commit_was_lost_buys_once(
    ledger: Ledger, other: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks after the commit and before its answer: the transaction is begun again by itself."""
    job = job_in(other, S.SUBMITTED, request_for("dog", "a dog"))
    gone(other)
    database = ledger._database
    once = database.write

    def twice(work: object, **options: object) -> object:
        once(work, **options)  # type: ignore[arg-type]
        return once(work, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(database, "write", twice)
    answer = bought(ledger)
    assert [j.id for j in ledger.jobs(shot="cat")] == [answer.job.id]
    assert len(ledger.entries(answer.job.id)) == len(ledger.attempts(answer.job.id)) == 1
    assert joined(ledger.claim(request_for("dog", "a dog"), NO_LIMIT), mine=True).id == job.id
    # and so does every step after it
    accepted = ledger.mark_accepted(answer.job.id, answer.attempt_id, "p", Money.usd("0.10"))
    ledger.mark_stored(ledger.mark_generated(accepted.id, "https://x/v").id, video())
    assert [entry.kind for entry in ledger.entries(accepted.id)] == ["hold", "charge", "release"]
    refused = bought(ledger, request_for("e", "e"))
    ledger.mark_refused(refused.job.id, refused.attempt_id, "429")
    assert ledger.begin_attempt(refused.job.id) == ledger.job(refused.job.id).attempt_id
    assert len(ledger.attempts(refused.job.id)) == 2


def test_over_budget_writes_nothing(ledger: Ledger) -> None:
    expect(OverBudget, ledger.claim(request_for(), NO_LIMIT.__class__(ZERO, None, None)))
    assert ledger.jobs() == []
    assert ledger.entries() == []


# --- with which key ---


def test_each_attempt_keeps_the_key_that_it_was_sent_with_and_those_out_are_counted_by_it(
    ledger: Ledger, other: Ledger
) -> None:
    """Bought, sent again after a refusal, opened again after a rejection, sent again for a dead holder."""
    first = bought(ledger, account="a")
    ledger.mark_refused(first.job.id, first.attempt_id, "429")
    again = ledger.begin_attempt(first.job.id, account="b")
    assert isinstance(again, str)
    ledger.mark_rejected(first.job.id, again, "no credit", retryable=True)
    reopened = bought(ledger, account="c")
    ledger.mark_refused(first.job.id, reopened.attempt_id, "429")
    ledger.release_owner()
    last = bought(other, account="d")
    assert [attempt.account for attempt in other.attempts(first.job.id)] == ["a", "b", "c", "d"]
    asked = (first.attempt_id, last.attempt_id, "nobody's", None)
    assert [other.sent_with(each) for each in asked] == ["a", "d", None, None]
    assert other.senders(simulated=False) == [SentWith("wavespeed", "d", 1)]


def test_only_jobs_that_a_provider_may_have_are_counted_by_their_keys(ledger: Ledger) -> None:
    for state in JobState:
        job_in(ledger, state, request_for(state, state))
    assert ledger.senders(simulated=False) == []
    with ledger.engine.begin() as connection:
        connection.execute(attempts.update().values(account="a"))
    assert ledger.senders(simulated=True) == []
    there = {S.SUBMITTING, S.SUBMITTED, S.GENERATED, S.AMBIGUOUS}
    assert ledger.senders(simulated=False) == [SentWith("wavespeed", "a", len(there))]
