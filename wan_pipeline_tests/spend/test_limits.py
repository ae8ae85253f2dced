"""A provider's limits are counted in the ledger: whoever finds no room waits, and has written nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from wan_pipeline.money import ZERO
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import (
    Bought,
    Budgets,
    ClaimOutcome,
    JobState,
    NotBought,
    OverBudget,
    ProviderBusy,
    Reused,
    SubmitLimits,
)
from wan_pipeline_tests.spend.samples import (
    COLLECT,
    NO_LIMIT,
    NOON,
    bought,
    expect,
    finish,
    gone,
    job_in,
    joined,
    request_for,
)

S = JobState
SECOND = timedelta(seconds=1)
NOTHING = SubmitLimits(0, 0)
TWO_AT_ONCE = SubmitLimits(2, 1000)
TWO_A_MINUTE = SubmitLimits(1000, 2)


def wish(
    ledger: Ledger, name: str, limits: SubmitLimits, now: datetime | None = None, **changes: object
) -> ClaimOutcome:
    return ledger.claim(request_for(name, f"{name} {changes}", **changes), NO_LIMIT, limits=limits, now=now)


def test_no_more_are_in_flight_than_may_be(ledger: Ledger, other: Ledger) -> None:
    first = expect(Bought, wish(ledger, "a", TWO_AT_ONCE))
    expect(Bought, wish(other, "b", TWO_AT_ONCE))
    busy = expect(ProviderBusy, wish(ledger, "c", TWO_AT_ONCE))
    assert (busy.reason, busy.wait_s) == ("2 jobs are in flight at wavespeed, 2 may be", 2.0)
    job = ledger.mark_accepted(first.job.id, first.attempt_id, "p", None)
    expect(ProviderBusy, wish(other, "c", TWO_AT_ONCE))
    finish(ledger, job, S.GENERATED)  # the provider has done its part
    expect(Bought, wish(other, "c", TWO_AT_ONCE))


def test_one_that_was_waited_for_in_vain_and_put_off_keeps_nobody_from_the_provider(ledger: Ledger) -> None:
    one = SubmitLimits(1, 1000)
    first = expect(Bought, wish(ledger, "a", one))
    job = ledger.mark_accepted(first.job.id, first.attempt_id, "p", None)
    expect(ProviderBusy, wish(ledger, "b", one))
    ledger.mark_fetch_failed(job.id, "wavespeed does not know job p", NOON)
    expect(Bought, wish(ledger, "b", one))


@pytest.mark.parametrize("state", [state for state in S if state not in (S.SUBMITTING, S.SUBMITTED)])
def test_what_is_not_at_the_provider_is_not_in_flight_there(ledger: Ledger, state: JobState) -> None:
    job_in(ledger, state, request_for("a", "a"))
    expect(Bought, wish(ledger, "b", SubmitLimits(1, 1000)))


def test_another_provider_and_simulated_jobs_take_no_room(ledger: Ledger) -> None:
    one = SubmitLimits(1, 1)
    expect(Bought, wish(ledger, "a", one))
    expect(Bought, wish(ledger, "b", one, simulated=True))
    expect(Bought, wish(ledger, "c", one, provider="shortapi"))
    expect(ProviderBusy, wish(ledger, "d", one))


def test_no_more_submissions_begin_in_a_minute_than_may(ledger: Ledger) -> None:
    for number in range(2):
        job = expect(Bought, wish(ledger, f"a{number}", TWO_A_MINUTE, NOON + number * 10 * SECOND))
        ledger.mark_rejected(job.job.id, job.attempt_id, "bad", now=NOON)  # it began all the same
    busy = expect(ProviderBusy, wish(ledger, "b", TWO_A_MINUTE, NOON + 20 * SECOND))
    assert busy.wait_s == 40.0, "the oldest one is a minute old then"
    assert "2 submissions to wavespeed began in the last minute, 2 may" in busy.reason
    almost = NOON + 60 * SECOND - timedelta(microseconds=1)
    assert expect(ProviderBusy, wish(ledger, "b", TWO_A_MINUTE, almost)).wait_s == 0.5
    expect(Bought, wish(ledger, "b", TWO_A_MINUTE, NOON + 60 * SECOND))
    assert expect(ProviderBusy, wish(ledger, "c", TWO_A_MINUTE, NOON + 61 * SECOND)).wait_s == 9.0


def test_a_limit_that_was_lowered_waits_until_enough_are_old(ledger: Ledger) -> None:
    for number in range(4):
        bought(ledger, request_for(f"a{number}", f"a{number}"), now=NOON + number * 10 * SECOND)
    assert expect(ProviderBusy, wish(ledger, "b", TWO_A_MINUTE, NOON + 30 * SECOND)).wait_s == 50.0


def test_what_is_sent_again_counts_in_its_minute_and_in_flight(ledger: Ledger) -> None:
    first = expect(Bought, wish(ledger, "a", TWO_A_MINUTE, NOON))
    ledger.mark_refused(first.job.id, first.attempt_id, "429", now=NOON)
    again = ledger.begin_attempt(first.job.id, TWO_A_MINUTE, now=NOON + SECOND)
    assert isinstance(again, str)
    expect(ProviderBusy, wish(ledger, "b", TWO_A_MINUTE, NOON + 2 * SECOND))
    expect(ProviderBusy, wish(ledger, "b", SubmitLimits(1, 9), NOON + 2 * SECOND))


def test_what_is_to_be_sent_again_waits_for_room_like_everybody(ledger: Ledger) -> None:
    job = job_in(ledger, S.RESERVED, request_for("a", "a"))
    in_its_place = bought(ledger, request_for("b", "b"))
    before = ledger.job(job.id)
    busy = expect_busy(ledger.begin_attempt(job.id, SubmitLimits(1, 1000)))
    assert busy.wait_s == 2.0
    assert ledger.job(job.id) == before
    assert len(ledger.attempts(job.id)) == 1
    ledger.mark_rejected(in_its_place.job.id, in_its_place.attempt_id, "bad")
    assert isinstance(ledger.begin_attempt(job.id, SubmitLimits(1, 1000)), str)


def expect_busy(answer: object) -> ProviderBusy:
    assert isinstance(answer, ProviderBusy), answer
    return answer


def test_a_busy_provider_leaves_the_ledger_as_it_was(ledger: Ledger, other: Ledger) -> None:
    never_sent = job_in(other, S.RESERVED, request_for("never sent", "never sent"))
    refused = bought(ledger, request_for("no credit", "no credit"))
    ledger.mark_rejected(refused.job.id, refused.attempt_id, "402", retryable=True)
    gone(other)
    before = (ledger.jobs(), ledger.entries(), ledger.takes("new"))
    for name in ("new", "never sent", "no credit"):
        answer = ledger.claim(request_for(name, name), NO_LIMIT, limits=NOTHING)
        assert expect(ProviderBusy, answer).wait_s <= 60.0
    assert (ledger.jobs(), ledger.entries(), ledger.takes("new")) == before
    assert ledger.job(never_sent.id).state is S.RESERVED


def test_a_busy_provider_keeps_nobody_from_what_is_there_or_under_way(ledger: Ledger, other: Ledger) -> None:
    job_in(ledger, S.STORED)
    job_in(other, S.SUBMITTED, request_for("dog", "a dog"))
    expect(Reused, ledger.claim(request_for(), NO_LIMIT, limits=NOTHING))
    joined(ledger.claim(request_for("dog", "a dog"), NO_LIMIT, limits=NOTHING), mine=False)
    expect(NotBought, ledger.claim(request_for("new", "new"), NO_LIMIT, COLLECT, NOTHING))


def test_whoever_has_no_money_is_told_so_and_does_not_wait_for_the_provider(ledger: Ledger) -> None:
    expect(OverBudget, ledger.claim(request_for(), Budgets(ZERO, None, None), limits=NOTHING))


def test_a_clock_that_was_set_back_does_not_close_a_provider_for_hours(ledger: Ledger) -> None:
    for number in range(2):
        bought(ledger, request_for(f"a{number}", f"a{number}"), now=NOON + timedelta(hours=3))
    expect(Bought, wish(ledger, "b", TWO_A_MINUTE, NOON))
