"""A provider's limits hold over all engines together: counted in the ledger, shared, and without a storm of claims."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from wan_pipeline.generation.events import Verdict
from wan_pipeline.generation.gate import Gate, GateClosedError, Place
from wan_pipeline.providers.base import ProviderLimits
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import ProviderBusy, SubmitLimits
from wan_pipeline_tests.generation.house import House
from wan_pipeline_tests.virtual_time import on_virtual_time


def test_two_engines_at_once_keep_one_provider_limit_and_both_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.generation.gate._BUSY_SPREAD_S", 0.1)
    monkeypatch.setattr("wan_pipeline.spend.limits._WAIT_FOR_A_PLACE_S", 0.1)
    monkeypatch.setattr("wan_pipeline.spend.limits._LEAST_WAIT_S", 0.1)
    houses = [House(tmp_path, latency_s=0.3, simulator_in_flight=3, limits=ProviderLimits(3, 6000)) for _ in range(2)]
    keys = houses[0].shots(12)
    results: dict[str, Verdict] = {}

    def make(house: House, own: list[str]) -> None:
        results.update({key: result.verdict for key, result in house.make(keys=own).items()})

    threads = [
        threading.Thread(target=make, args=(house, own))
        for house, own in zip(houses, (keys[:6], keys[6:]), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(keys, Verdict.MADE)
    assert len(houses[0].books.charges()) == 12
    assert sum(len(house.faults.posts) for house in houses) == 12, "a submission too many was refused with a 429"


def test_a_shot_whose_attempt_has_to_be_repeated_waits_for_room_in_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was refused is sent again as a new attempt, and that one counts too."""
    monkeypatch.setattr("wan_pipeline.generation.submission._REFUSED_WAIT_S", 0.01)
    monkeypatch.setattr("wan_pipeline.generation.gate._BUSY_SPREAD_S", 0.01)
    house = House(tmp_path)
    house.shots(1)
    begin_attempt = Ledger.begin_attempt
    asked: list[SubmitLimits | None] = []

    def busy_at_first(self: Ledger, job_id: str, limits: SubmitLimits | None = None, *more: Any) -> Any:
        asked.append(limits)
        return ProviderBusy("full", 0.05) if len(asked) < 3 else begin_attempt(self, job_id, limits, *more)

    monkeypatch.setattr(Ledger, "begin_attempt", busy_at_first)
    refusals = 1

    async def grumble(request: Any, go_on: Any) -> Any:
        import httpx

        nonlocal refusals
        if request.method == "POST" and refusals:
            refusals -= 1
            return httpx.Response(429)
        return await go_on()

    house.faults.fault = grumble
    assert house.make()["shot000"].verdict is Verdict.MADE
    assert asked == [SubmitLimits(20, 6000)] * 3


def test_an_attempt_of_another_day_that_no_budget_has_room_for_is_put_off_until_the_next(tmp_path: Path) -> None:
    from wan_pipeline.money import Money
    from wan_pipeline.spend.records import Budgets

    house = House(tmp_path, budgets=Budgets(Money.usd("0.07"), Money.usd(10), Money.usd(10)))
    house.shots(2)
    refused = False

    async def over_midnight(request: Any, go_on: Any) -> Any:
        """The provider refuses, and while that is waited out another day has come, whose budget is spent."""
        import httpx

        nonlocal refused
        if request.method == "POST" and not refused:
            refused = True
            house.later(days=1)
            other = House(tmp_path, budgets=house.budgets, ahead=house.ahead)
            assert (await asyncio.to_thread(other.make, keys=["shot001"]))["shot001"].verdict is Verdict.MADE
            return httpx.Response(429, headers={"Retry-After": "0"})
        return await go_on()

    house.faults.fault = over_midnight
    result = house.make(keys=["shot000"])["shot000"]
    assert result.verdict is Verdict.DEFERRED
    assert result.deferred is not None
    assert result.deferred.limit == "WAN_DAILY_BUDGET_USD"
    assert result.deferred.until is not None
    with house.ledger() as ledger:
        assert not any(job.held.nanos for job in ledger.jobs())
    house.later(days=1)
    assert house.make(keys=["shot000"])["shot000"].verdict is Verdict.MADE
    assert len(house.books.charges()) == 2


# --- the gate's part in it ---


class Provider:
    """A limit that several gates share, as the ledger counts it: so many in flight."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = self.most = self.claims = 0

    def claim(self) -> bool:
        self.claims += 1
        if self.in_flight >= self.limit:
            return False
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        return True


async def one(gate: Gate, provider: Provider, took_s: float) -> float:
    """A shot's way through gate, claim and job; gives when it was submitted."""
    await gate.enter()
    place = Place(gate)
    while True:
        await asyncio.sleep(0.01)  # the claim
        if provider.claim():
            break
        place.busy(2.0)
        await place.again(first=True)
    place.through()
    submitted_s = asyncio.get_running_loop().time()
    await asyncio.sleep(took_s)
    provider.in_flight -= 1
    place.leave()
    return submitted_s


def test_a_thousand_shots_that_wait_for_another_process_make_no_thousand_claims() -> None:
    async def work() -> tuple[int, int]:
        provider = Provider(4)
        provider.in_flight = 4  # somebody else's
        gate = Gate(ProviderLimits(1000, 100_000))
        tasks = [asyncio.create_task(one(gate, provider, 1.0)) for _ in range(1000)]
        await asyncio.sleep(60)
        at_the_start = provider.claims
        await asyncio.sleep(600)
        later = provider.claims - at_the_start
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return at_the_start, later

    at_the_start, later = on_virtual_time(work)
    assert at_the_start <= 1000 + 60
    assert later <= 600, "while there is no room, one at a time tries"


def test_once_there_is_room_again_all_get_through_quickly() -> None:
    async def work() -> float:
        provider = Provider(50)
        provider.in_flight = 50
        gate = Gate(ProviderLimits(50, 100_000))
        tasks = [asyncio.create_task(one(gate, provider, 1000.0)) for _ in range(50)]
        await asyncio.sleep(30)
        provider.in_flight = 0
        began_s = asyncio.get_running_loop().time()
        while provider.in_flight < 50:
            await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return asyncio.get_running_loop().time() - began_s

    assert on_virtual_time(work) < 10


def test_a_small_batch_is_not_starved_by_a_large_one_that_had_every_place() -> None:
    async def work() -> tuple[float, Counter[str]]:
        provider = Provider(4)
        large, small = Gate(ProviderLimits(4, 100_000)), Gate(ProviderLimits(4, 100_000))
        loop = asyncio.get_running_loop()
        big = [asyncio.create_task(one(large, provider, 20.0)) for _ in range(1000)]
        await asyncio.sleep(300)
        began_s = loop.time()
        submitted = await asyncio.gather(*(one(small, provider, 20.0) for _ in range(8)))
        first_s = min(submitted) - began_s
        made = Counter(big="".join(str(task.done())[0] for task in big).count("T"))
        for task in big:
            task.cancel()
        await asyncio.gather(*big, return_exceptions=True)
        assert provider.most <= 4
        return first_s, made

    first_s, made = on_virtual_time(work)
    assert first_s < 120, "it waited for minutes"
    assert made["big"] > 40, "and the large one goes on meanwhile"


def test_a_place_that_was_busy_and_then_finds_the_gate_closed_is_given_back() -> None:
    async def work() -> int:
        gate = Gate(ProviderLimits(1, 1000))
        await gate.enter()
        place = Place(gate)
        place.busy(5)
        waiting = asyncio.create_task(place.again(first=True))
        await asyncio.sleep(0)
        gate.close("no credit")
        with pytest.raises(GateClosedError):
            await waiting
        place.leave(unused=True)
        assert not place.held
        return gate._in_flight  # pyright: ignore[reportPrivateUsage]

    assert on_virtual_time(work) == 0


def test_a_shot_that_waits_for_room_and_is_over_budget_by_then_lets_the_next_one_try(tmp_path: Path) -> None:
    async def work() -> list[int]:
        gate = Gate(ProviderLimits(10, 1000))
        order: list[int] = []

        async def neutral(number: int) -> None:
            await gate.enter()
            place = Place(gate)
            order.append(number)
            await asyncio.sleep(0.01)
            if number == 0:
                place.busy(3)
                await place.again(first=True)
                order.append(100)
            place.leave(unused=True)

        await asyncio.gather(*(neutral(number) for number in range(30)))
        return order

    order = on_virtual_time(work)
    assert sorted(order) == [*range(30), 100]


def test_what_cannot_be_reached_is_deferred_a_little_longer_each_time(tmp_path: Path) -> None:
    from wan_pipeline.generation.deferring import unreached
    from wan_pipeline.money import Money

    house = House(tmp_path)
    now = house.clock()
    waits = [(unreached("x", Money(1), "wavespeed", now, times)[1].until or now) - now for times in range(9)]
    assert waits[:4] == [timedelta(minutes=minutes) for minutes in (1, 2, 4, 8)]
    assert waits[-1] == timedelta(hours=1)
