"""A submission whose answer was lost is found out, never repeated: found, nowhere, or left to a person."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from wan_pipeline.generation.events import Progress, Verdict
from wan_pipeline.money import Money
from wan_pipeline.spend.records import JobState
from wan_pipeline_tests.generation.house import House, is_purchase, png, stop_once_out

GoOn = Callable[[], Awaitable[httpx.Response]]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def lose_the_answer(request: httpx.Request, go_on: GoOn) -> httpx.Response:
    """The provider takes it, and the answer does not arrive."""
    response = await go_on()
    if is_purchase(request):
        raise httpx.ReadTimeout("silence")
    return response


async def lose_the_request(request: httpx.Request, go_on: GoOn) -> httpx.Response:
    """It is lost on its way, which nobody can tell from here."""
    if is_purchase(request):
        raise httpx.ReadTimeout("silence")
    return await go_on()


def one_shot(house: House, model: str) -> None:
    house.put("inbox/shot000.png", png())
    house.put("inbox/shot000.yaml", f"model: {model}\nprompt: The cat looks up.\nduration: 5\n")


def states(house: House) -> list[JobState]:
    with house.ledger() as ledger:
        return [job.state for job in reversed(ledger.jobs())]


# --- found ---


def test_a_job_whose_answer_was_lost_is_found_and_collected_in_the_same_batch_and_charged_once(house: House) -> None:
    house.shots(5)
    house.faults.fault = lose_the_answer
    results = house.make()
    assert {result.verdict for result in results.values()} == {Verdict.MADE}, [r.reason for r in results.values()]
    assert len(house.books.charges()) == len(house.faults.posts) == 5
    with house.ledger() as ledger:
        assert {job.provider_job_id for job in ledger.jobs()} == {charge.job_id for charge in house.books.charges()}
        for job in ledger.jobs():
            assert [look.verdict for look in ledger.looks(job.id) if look.verdict == "found"]
            assert job.billed == Money.usd("0.05")
    assert any("found as" in event.note for event in house.events if isinstance(event, Progress))


def test_one_that_is_not_listed_while_it_is_under_way_is_found_by_a_later_run_with_its_amount(house: House) -> None:
    one_shot(house, "aimlapi/wan-2.6-i2v")
    house.faults.fault = lose_the_answer
    first = house.make()["shot000"]
    assert first.verdict is Verdict.AMBIGUOUS
    house.faults.fault = None
    assert house.make()["shot000"].verdict is Verdict.AMBIGUOUS, "its next look is not due yet"
    house.later(minutes=2)
    found = house.make()["shot000"]
    assert found.verdict is Verdict.MADE, found.reason
    assert found.job_id == first.job_id
    assert found.billed is not None
    assert found.billed.nanos == house.books.total_nanos()
    assert len(house.faults.posts) == 1


def test_a_callback_leads_to_the_job_of_a_provider_that_has_no_list(house: House) -> None:
    house.callback_base_url = "https://wan.example.com/hooks"
    one_shot(house, "shortapi/wan-2.7-i2v")
    house.faults.fault = lose_the_answer
    assert house.make()["shot000"].verdict is Verdict.AMBIGUOUS
    house.later(seconds=5)
    assert house.make()["shot000"].verdict is Verdict.AMBIGUOUS
    assert house.call_back() == 1
    found = house.make()["shot000"]
    assert found.verdict is Verdict.MADE, "the callback makes its look due at once"
    assert len(house.books.charges()) == len(house.faults.posts) == 1


def test_a_run_that_only_collects_looks_too(house: House) -> None:
    house.shots(1)

    async def silent(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        response = await go_on()
        if request.method == "POST":
            raise httpx.ReadTimeout("silence")
        return response

    house.faults.fault = silent
    assert house.make()["shot000"].verdict is Verdict.AMBIGUOUS
    house.faults.fault = None
    house.later(minutes=1)
    assert house.make(collect_only=True)["shot000"].verdict is Verdict.MADE
    assert len(house.faults.posts) == 1


def test_one_that_its_shot_does_not_ask_for_any_more_is_looked_for_and_collected_as_the_take_that_it_was(
    house: House,
) -> None:
    one_shot(house, "aimlapi/wan-2.6-i2v")
    house.faults.fault = lose_the_answer
    assert house.make()["shot000"].verdict is Verdict.AMBIGUOUS
    house.faults.fault = None
    house.put("inbox/shot000.yaml", "model: aimlapi/wan-2.6-i2v\nprompt: Something else.\nduration: 5\n")
    house.later(minutes=2)
    assert house.make()["shot000"].verdict is Verdict.MADE
    assert states(house) == [JobState.STORED] * 2
    assert house.bucket.exists("videos/shot000/take-1.mp4")
    assert house.bucket.exists("videos/shot000/take-2.mp4")
    assert len(house.books.charges()) == 2


def test_two_shots_that_want_the_same_ambiguous_request_look_once_and_both_have_its_video(house: House) -> None:
    house.put("inbox/_defaults.yaml", "model: wavespeed/wan-2.6-i2v-flash\nprompt: a\nduration: 2\n")
    for name in ("one", "two"):
        house.put(f"inbox/{name}.png", png())
    house.faults.fault = lose_the_answer
    results = house.make()
    assert sorted(result.verdict for result in results.values()) == [Verdict.MADE, Verdict.REUSED]
    assert len(house.books.charges()) == 1
    with house.ledger() as ledger:
        (job,) = ledger.jobs()
        assert job.looks == 1


def test_a_submission_of_the_same_request_that_the_ledger_has_as_another_job_is_not_taken_for_the_lost_one(
    house: House,
) -> None:
    house.shots(1)
    assert house.make()["shot000"].verdict is Verdict.MADE
    house.faults.fault = lose_the_request
    assert house.make(new_take=True)["shot000"].verdict is Verdict.AMBIGUOUS
    house.faults.fault = None
    house.later(minutes=10)
    assert house.make()["shot000"].verdict is Verdict.AMBIGUOUS
    assert states(house) == [JobState.STORED, JobState.AMBIGUOUS]


# --- nowhere ---


@pytest.mark.parametrize("model", ["wavespeed/wan-2.6-i2v-flash", "aimlapi/wan-2.6-i2v"])
def test_one_that_never_arrived_is_bought_anew_only_once_absence_counts_and_is_charged_once(
    house: House, model: str
) -> None:
    one_shot(house, model)
    house.faults.fault = lose_the_request
    assert house.make()["shot000"].verdict is Verdict.AMBIGUOUS
    house.faults.fault = None
    for _ in range(3):
        house.later(hours=1)
        again = house.make(retry_failed=True)["shot000"]
        assert again.verdict is Verdict.AMBIGUOUS
        assert "absent" in again.reason
    assert house.books.charges() == []
    house.later(hours=1, minutes=1)
    assert house.make()["shot000"].verdict is Verdict.MADE
    assert states(house) == [JobState.RELEASED, JobState.STORED]
    assert len(house.books.charges()) == 1


def test_a_run_that_only_collects_writes_absence_down_and_leaves_buying_to_others(house: House) -> None:
    house.shots(1)
    house.faults.fault = lose_the_request
    house.make()
    house.faults.fault = None
    house.later(hours=5)
    result = house.make(collect_only=True)["shot000"]
    assert result.verdict is Verdict.STOPPED
    assert "never taken" in result.reason
    assert (states(house), house.books.charges()) == ([JobState.RELEASED], [])
    assert house.make()["shot000"].verdict is Verdict.MADE


def test_absence_is_not_believed_on_the_word_of_one_clock_that_jumped(house: House) -> None:
    house.shots(1)
    house.faults.fault = lose_the_request
    house.make()
    house.faults.fault = None
    house.engine_ahead = timedelta(hours=5)
    assert house.make()["shot000"].verdict is Verdict.AMBIGUOUS
    assert states(house) == [JobState.AMBIGUOUS]


def test_where_every_submission_is_lost_a_batch_does_not_buy_without_end(house: House) -> None:
    house.absent_after = timedelta(0)
    house.shots(1)
    house.faults.fault = lose_the_request
    result = house.make()["shot000"]
    assert result.verdict is Verdict.DEFERRED
    assert result.deferred is not None
    assert result.deferred.limit == ""
    assert set(states(house)) == {JobState.RELEASED}
    assert len(states(house)) <= 2


# --- left to a person ---


def test_what_its_provider_cannot_tell_stands_for_a_person_however_long_it_takes(house: House) -> None:
    one_shot(house, "shortapi/wan-2.7-i2v")
    house.faults.fault = lose_the_request
    house.make()
    house.faults.fault = None
    for days in (1, 30):
        house.later(days=days)
        assert house.make(retry_failed=True)["shot000"].verdict is Verdict.AMBIGUOUS
    assert states(house) == [JobState.AMBIGUOUS]
    assert house.faults.posts == []


def test_a_witness_that_is_down_is_no_witness_for_absence(house: House) -> None:
    house.shots(1)
    house.faults.fault = lose_the_request
    house.make()

    async def down(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        return httpx.Response(503) if request.url.path == "/api/v3/billings/search" else await go_on()

    house.faults.fault = down
    house.later(hours=5)
    assert house.make()["shot000"].verdict is Verdict.AMBIGUOUS
    house.faults.fault = None
    house.later(minutes=20)
    assert house.make()["shot000"].verdict is Verdict.MADE


def test_what_stands_says_what_is_known_since_when_what_is_held_and_what_happens_next(house: House) -> None:
    house.shots(1)
    house.faults.fault = lose_the_request
    result = house.make()["shot000"]
    with house.ledger() as ledger:
        (job,) = ledger.jobs()
    assert job.sent_at and job.next_look_at
    assert "0.05 USD are held" in result.reason
    for moment in (job.sent_at, job.next_look_at):
        assert f"{moment:%Y-%m-%d %H:%M:%S}" in result.reason
    assert f"believed from {job.sent_at + house.absent_after:%Y-%m-%d %H:%M}" in result.reason
    assert "absent" in result.reason
    assert f"wan-pipeline resolve {job.id}" in result.reason


def test_looks_become_ever_more_seldom_and_the_first_after_the_settle_window_is_on_time(house: House) -> None:
    house.absent_after = timedelta(minutes=5)
    house.shots(1)
    house.faults.fault = lose_the_request
    house.make()
    house.faults.fault = None
    waits: list[float] = []
    with house.ledger() as ledger:
        while (job := ledger.jobs()[0]).state is JobState.AMBIGUOUS:
            assert job.next_look_at
            wait = (job.next_look_at - house.clock()).total_seconds()
            waits.append(wait)
            house.later(seconds=wait + 1)
            house.make(collect_only=True)
    assert job.sent_at
    assert waits[:3] == sorted(waits[:3])
    assert (house.clock() - job.sent_at).total_seconds() < 5 * 60 + 30


def test_a_batch_that_is_stopped_does_not_wait_to_look(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wan_pipeline.generation.finding._FIRST_LOOK_S", 60.0)
    house.shots(2)

    async def lose_one(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        is_first = is_purchase(request) and len(house.faults.posts) == 1
        response = await go_on()
        if is_first:
            raise httpx.ReadTimeout("silence")
        return response

    house.faults.fault = lose_one
    results = house.make(on_event=stop_once_out(house))
    assert sorted(result.verdict for result in results.values()) == [Verdict.AMBIGUOUS, Verdict.IN_FLIGHT]
