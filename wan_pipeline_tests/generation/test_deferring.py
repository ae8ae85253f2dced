"""What passes by itself is no failure: the shot is put off, says until when, holds nothing, and is made later."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from wan_pipeline.bucket import BucketError
from wan_pipeline.generation import path
from wan_pipeline.generation.events import Finished, Verdict
from wan_pipeline.money import Money
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Bought, Budgets, ClaimOutcome, Deferral, JobRequest, JobState
from wan_pipeline_tests.generation.house import House, is_purchase

GoOn = Callable[[], Awaitable[httpx.Response]]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def put_off(house: House, result: Finished) -> None:
    """As the Dagster layer does."""
    assert result.deferred
    with house.ledger() as ledger:
        ledger.deferrals.defer(
            [
                Deferral(
                    shot=result.shot.key,
                    simulated=True,
                    limit=result.deferred.limit,
                    reason=result.reason,
                    needed=result.deferred.needed,
                    provider=result.deferred.provider,
                    campaign=None,
                    since=house.clock(),
                    until=result.deferred.until,
                    times=1,
                )
            ]
        )


def out_of_reach() -> OperationalError:
    return OperationalError("SELECT", {"secret": "parameters"}, Exception("the server has gone away"))


def test_over_a_days_budget_it_waits_for_the_next_day_and_over_what_never_fits_for_a_person(tmp_path: Path) -> None:
    house = House(tmp_path, budgets=Budgets(Money.usd("0.07"), Money.usd(1), Money.usd(1)))
    house.shots(2)
    waiting = next(result for result in house.make().values() if result.verdict is Verdict.DEFERRED)
    assert waiting.deferred
    assert (waiting.deferred.limit, waiting.deferred.needed) == ("WAN_DAILY_BUDGET_USD", Money.usd("0.05"))
    assert waiting.deferred.until
    midnight = waiting.deferred.until
    assert (midnight.hour, midnight.minute) == (0, 0)
    house.later(seconds=(midnight - house.clock()).total_seconds() + 1)
    assert {result.verdict for result in house.make().values()} == {Verdict.MADE, Verdict.REUSED}
    small = House(tmp_path / "small", budgets=Budgets(Money.usd("0.01"), None, None))
    small.shots(1)
    never = small.make()["shot000"]
    assert never.verdict is Verdict.DEFERRED
    assert never.deferred
    assert never.deferred.until is None


@pytest.mark.parametrize(
    "budgets", [{"campaigns": {"spring": Money.usd("0.07")}}, {"providers": {"wavespeed": Money(1)}}]
)
def test_a_campaigns_or_providers_budget_defers_too_and_is_named(tmp_path: Path, budgets: dict[str, Any]) -> None:
    house = House(tmp_path, budgets=Budgets(None, None, None, **budgets))
    house.shots(2)
    house.put("inbox/_defaults.yaml", "model: wavespeed/wan-2.6-i2v-flash\nprompt: a\nduration: 2\ncampaign: spring\n")
    deferred = [result for result in house.make().values() if result.verdict is Verdict.DEFERRED]
    assert deferred
    assert all(result.deferred and result.deferred.limit in result.reason for result in deferred)
    assert deferred[0].deferred
    assert "spring" in deferred[0].deferred.limit or "WAVESPEED" in deferred[0].deferred.limit


def test_a_provider_that_cannot_be_reached_puts_a_shot_off_longer_each_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.generation.submission._NOT_SENT_WAITS_S", ())

    async def nobody(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        raise httpx.ConnectError("nobody there")

    house.shots(1)
    house.faults.fault = nobody
    waits: list[timedelta] = []
    for _ in range(3):
        result = house.make()["shot000"]
        assert result.verdict is Verdict.DEFERRED
        assert result.deferred and result.deferred.until
        assert (result.deferred.limit, result.deferred.provider) == ("", "wavespeed")
        waits.append(result.deferred.until - house.clock())
        put_off(house, result)
    assert [round(wait.total_seconds() / 60) for wait in waits] == [1, 2, 4]
    with house.ledger() as ledger:
        assert not any(job.held.nanos for job in ledger.jobs())


def test_once_nobody_has_been_there_for_long_the_others_need_not_find_out_one_by_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.generation.submission._NOT_SENT_WAITS_S", (0.05, 0.05))
    monkeypatch.setattr("wan_pipeline.generation.submission._UNREACHED_FOR_S", 0.04)
    house.limits = type(house.limits)(1, 6000)
    house.shots(20)
    tries = 0

    async def nobody(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        nonlocal tries
        tries += request.method == "POST"
        raise httpx.ConnectError("nobody there")

    house.faults.fault = nobody
    assert {result.verdict for result in house.make().values()} == {Verdict.DEFERRED}
    assert tries < 10


def test_an_input_that_the_provider_could_not_fetch_is_tried_again_later_a_few_times_and_then_stands(
    house: House,
) -> None:
    house.shots(1)
    away = True

    async def bucket_away(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        if is_purchase(request) and away:
            return httpx.Response(400, json={"code": 400, "message": "image: the URL cannot be fetched (ConnectError)"})
        return await go_on()

    house.faults.fault = bucket_away
    for _ in range(3):
        result = house.make()["shot000"]
        assert result.verdict is Verdict.DEFERRED, result.reason
        put_off(house, result)
    stands = house.make()["shot000"]
    assert stands.verdict is Verdict.FAILED
    assert "cannot be fetched" in stands.reason
    away = False
    assert house.make()["shot000"].verdict is Verdict.MADE
    assert len(house.books.charges()) == 1


def test_a_rejection_of_the_request_itself_is_not_put_off(house: House) -> None:
    house.shots(1)
    house.put("inbox/shot000.yaml", 'prompt: "[refuse]"\n')
    assert house.make()["shot000"].verdict is Verdict.FAILED


def test_a_bucket_that_does_not_answer_puts_its_shots_off_and_calls_no_file_bad(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.shots(2)
    read = house.bucket.read

    def away(key: str, *more: Any) -> bytes:
        if key.endswith("shot001.png"):
            raise BucketError("the bucket: 503")
        return read(key, *more)

    monkeypatch.setattr(house.bucket, "read", away)
    results = house.make()
    assert [results[key].verdict for key in ("shot000", "shot001")] == [Verdict.MADE, Verdict.DEFERRED]
    assert "503" in results["shot001"].reason


def test_a_ledger_that_is_out_of_reach_puts_shots_off_and_shows_no_parameters(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.shots(2)
    claim = Ledger.claim

    def gone(self: Ledger, request: Any, *more: Any) -> Any:
        if request.shot == "shot001":
            raise out_of_reach()
        return claim(self, request, *more)

    monkeypatch.setattr(Ledger, "claim", gone)
    results = house.make()
    assert [results[key].verdict for key in ("shot000", "shot001")] == [Verdict.MADE, Verdict.DEFERRED]
    assert "gone away" in results["shot001"].reason
    assert "secret" not in results["shot001"].reason


def test_a_claim_whose_answer_was_lost_gives_its_place_back_since_nothing_was_sent(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the other shots of the batch would wait for that place for ever."""
    monkeypatch.setattr("wan_pipeline.generation.path._TIDY_AGAIN_S", 0.05)
    monkeypatch.setattr("wan_pipeline.generation.gate._BUSY_SPREAD_S", 0.05)
    house.limits = type(house.limits)(1, 6000)
    house.shots(2)
    claim = Ledger.claim
    lost: list[str] = []

    def commit_and_lose_the_answer(self: Ledger, request: Any, budgets: Any, options: Any, *limits: Any) -> Any:
        outcome = claim(self, request, budgets, options, *limits)
        if not options.collect_only and not lost:
            lost.append(request.shot)
            raise out_of_reach()
        return outcome

    monkeypatch.setattr(Ledger, "claim", commit_and_lose_the_answer)
    results = house.make()
    assert results[lost[0]].verdict is Verdict.DEFERRED
    assert sorted(result.verdict for result in results.values()) == [Verdict.DEFERRED, Verdict.MADE]
    with house.ledger() as ledger:
        assert {job.state for job in ledger.jobs()} == {JobState.STORED, JobState.REJECTED}
    assert {result.verdict for result in house.make().values()} == {Verdict.MADE, Verdict.REUSED}
    assert len(house.books.charges()) == 2


def test_what_was_found_unsent_after_trouble_is_not_sent_by_another_shot_with_the_same_request(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin opens the first one's job again just as the first one, whose claim met an outage, tidies up behind itself."""
    house.shots(1)
    house.put("inbox/twin.png", (house.folder / "bucket/inbox/shot000.png").read_bytes())
    house.keys["wavespeed"] = "sk-nobody-knows-this-key"
    assert house.make(keys=["shot000"])["shot000"].verdict is Verdict.FAILED, "denied: opened again by whoever comes"
    house.keys.clear()
    monkeypatch.setattr(path, "_TIDY_AGAIN_S", 0.2)
    claim = Ledger.claim

    def troubled(ledger: Ledger, request: JobRequest, *arguments: Any, **named: Any) -> ClaimOutcome:
        outcome = None if request.shot == "shot000" else claim(ledger, request, *arguments, **named)
        if outcome is None:
            raise out_of_reach()
        end = time.monotonic() + 10
        while isinstance(outcome, Bought) and time.monotonic() < end:
            if ledger.job(outcome.job.id).state is JobState.REJECTED:
                break
            time.sleep(0.05)
        return outcome

    monkeypatch.setattr(Ledger, "claim", troubled)
    sent_before = len(house.faults.posts)
    results = house.make()
    assert {each.verdict for each in results.values()} == {Verdict.DEFERRED}, [r.reason for r in results.values()]
    assert len(house.faults.posts) == sent_before
    monkeypatch.setattr(Ledger, "claim", claim)
    assert {each.verdict for each in house.make().values()} == {Verdict.MADE, Verdict.REUSED}
    assert len(house.books.charges()) == 1
