"""The gate: a provider's limits hold for the whole batch, in order, and a refusal is waited out."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.generation.gate import Gate, GateClosedError, Place
from wan_pipeline.providers.base import ProviderLimits
from wan_pipeline_tests.virtual_time import on_virtual_time


@settings(max_examples=60, deadline=None)
@given(
    jobs=st.lists(st.floats(0.1, 90), min_size=1, max_size=40),
    max_in_flight=st.integers(1, 7),
    per_minute=st.integers(1, 12),
)
def test_in_flight_and_submits_per_minute_are_never_passed_and_everyone_gets_in_in_order(
    jobs: list[float], max_in_flight: int, per_minute: int
) -> None:
    async def work() -> tuple[list[int], list[float], int]:
        gate = Gate(ProviderLimits(max_in_flight, per_minute))
        entered: list[int] = []
        moments: list[float] = []
        inside = most = 0

        async def one(number: int, seconds: float) -> None:
            nonlocal inside, most
            await gate.enter()
            entered.append(number)
            moments.append(asyncio.get_running_loop().time())
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(seconds)
            inside -= 1
            gate.leave()

        await asyncio.gather(*(one(number, seconds) for number, seconds in enumerate(jobs)))
        return entered, moments, most

    entered, moments, most = on_virtual_time(work)
    assert entered == list(range(len(jobs)))
    assert most <= max_in_flight
    for first, later in zip(moments, moments[per_minute:], strict=False):
        assert later - first >= 60 - 1e-6


def test_a_refusal_pauses_everyone_for_as_long_as_the_provider_says_and_lowers_the_number_in_flight() -> None:
    async def work() -> tuple[float, int, int]:
        gate = Gate(ProviderLimits(4, 1000))
        for _ in range(4):
            await gate.enter()
        gate.refused(30)
        lowered = gate.limit
        gate.leave()
        gate.leave()
        await gate.enter()
        when = asyncio.get_running_loop().time()
        for _ in range(9):
            gate.accepted()
        return when, lowered, gate.limit

    when, lowered, grown = on_virtual_time(work)
    assert when == pytest.approx(30)
    assert lowered == 3
    assert grown == 4, "what a refusal lowered grows again, and never beyond the tier"


def test_a_closed_gate_lets_nobody_in_and_tells_those_who_wait_why() -> None:
    async def work() -> list[str]:
        gate = Gate(ProviderLimits(1, 1000))
        await gate.enter()
        waiting = asyncio.create_task(gate.enter())
        await asyncio.sleep(0)
        gate.close("no credit left")
        told: list[str] = []
        for attempt in (waiting, asyncio.create_task(gate.enter())):
            with pytest.raises(GateClosedError) as error:
                await attempt
            told.append(str(error.value))
        return told

    assert on_virtual_time(work) == ["no credit left"] * 2


def test_an_unused_place_gives_the_minute_back_and_is_left_once_however_often_it_is_left() -> None:
    async def work() -> float:
        gate = Gate(ProviderLimits(1, 1))
        await gate.enter()
        place = Place(gate)
        place.leave(unused=True)
        place.leave()
        place.leave(unused=True)
        await gate.enter()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(gate.enter(), 1)
        return asyncio.get_running_loop().time()

    assert on_virtual_time(work) == pytest.approx(1)


def test_a_waiter_that_is_cancelled_just_as_it_gets_in_gives_its_place_to_the_next() -> None:
    async def work() -> bool:
        gate = Gate(ProviderLimits(1, 1000))
        await gate.enter()
        first, second = asyncio.create_task(gate.enter()), asyncio.create_task(gate.enter())
        await asyncio.sleep(0)
        gate.leave()
        first.cancel()
        await asyncio.wait_for(second, 5)
        return first.cancelled()

    assert on_virtual_time(work)


@pytest.mark.parametrize("alone", [False, True])
def test_a_batch_that_has_had_all_places_for_long_leaves_a_few_to_others_if_there_are_any_and_fills_the_rest_at_once(
    alone: bool,
) -> None:
    places, took_s, shots = 40, 8.0, 400

    async def work() -> tuple[float, list[int]]:
        gate = Gate(ProviderLimits(places, 100_000))
        gate.set_alone(alone=alone)
        loop = asyncio.get_running_loop()
        inside, seen = 0, list[int]()

        async def one() -> None:
            nonlocal inside
            place = Place(gate)
            await gate.enter()
            place.through()
            inside += 1
            await asyncio.sleep(took_s)
            inside -= 1
            place.leave()
            if loop.time() < took_s * (shots / places - 1):
                loop.call_later(0.1, lambda: seen.append(inside))

        await asyncio.gather(*(one() for _ in range(shots)))
        return loop.time(), seen

    ended_s, seen = on_virtual_time(work)
    assert min(seen) == (places if alone else places - 2)  # a twentieth, for whoever else tries
    assert seen.count(places) > len(seen) / 2
    assert ended_s <= took_s * (shots / places + 1)
