"""Who of a batch sets out when: a few ahead of the places, in their order, and at once what is paid for already."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from wan_pipeline.generation.events import Inspected, Progress, Verdict
from wan_pipeline.generation.runway import AHEAD, Turn, in_turn
from wan_pipeline.providers.base import ProviderLimits
from wan_pipeline.shots.discovery import discover
from wan_pipeline.shots.shot import Shot
from wan_pipeline.spend.tables import owners
from wan_pipeline_tests.generation.house import House, stop_once_out
from wan_pipeline_tests.virtual_time import on_virtual_time

ELSEWHERE = 'model: aimlapi/wan-2.6-i2v-flash\nprompt: "The cat looks up."\nduration: 5\n'


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, latency_s=0.05, limits=ProviderLimits(3, 6000))


def inspected_before_the_first_job(house: House) -> int:
    """How many shots had been looked at when the first of them was at its provider: no place has come free by then."""
    kinds = [type(event) for event in house.events]
    return kinds[: kinds.index(Progress)].count(Inspected)


def test_no_more_shots_are_looked_at_than_are_near_their_turn_and_all_are_made(house: House) -> None:
    keys = house.shots(AHEAD + 20)
    results = house.make()
    assert [results[key].verdict for key in keys] == [Verdict.MADE] * len(keys)
    assert list(results) == keys
    assert inspected_before_the_first_job(house) <= AHEAD + 3


def test_a_batch_that_is_stopped_by_its_operator_does_not_begin_what_had_not_set_out(house: House) -> None:
    keys = house.shots(AHEAD + 20)
    results = house.make(on_event=stop_once_out(house, hurried=True))
    never = [result for result in results.values() if "before its turn" in result.reason]
    assert len(never) >= len(keys) - AHEAD - 2 * 3
    assert {result.verdict for result in never} == {Verdict.STOPPED}
    assert sum(isinstance(event, Inspected) for event in house.events) == len(keys) - len(never)
    assert {result.verdict for result in house.make().values()} == {Verdict.MADE}
    assert len(house.books.charges()) == len(keys)


def test_a_batch_that_is_stopped_otherwise_tells_of_each_shot_what_is_known(house: House) -> None:
    keys = house.shots(AHEAD + 20)
    made, later = keys[-1], keys[-2]
    house.make(keys=[made])
    house.put(f"inbox/{later}.yaml", "not_before: 2999-01-01T00:00:00Z\n")
    results = house.make(on_event=stop_once_out(house))
    assert (results[made].verdict, results[later].verdict) == (Verdict.REUSED, Verdict.NOT_DUE)
    assert results[keys[-3]].verdict is Verdict.STOPPED


def test_what_a_shot_was_not_to_raise_is_raised_by_the_batch_as_it_is(house: House) -> None:
    class OddError(Exception):
        pass

    async def one(shot: Shot, turn: Turn) -> None:
        raise OddError

    with pytest.raises(OddError):
        asyncio.run(in_turn(shots_of(house, 3), (), one))


def shots_of(house: House, count: int) -> list[Shot]:
    house.shots(count)
    return discover(house.bucket, None)


def test_a_shot_with_a_job_of_its_own_waits_for_nobody(house: House) -> None:
    shots = shots_of(house, 5)
    order: list[str] = []

    async def one(shot: Shot, turn: Turn) -> str:
        order.append(shot.key)
        await asyncio.sleep(1)
        return shot.key

    async def work() -> list[str]:
        return await in_turn(shots, {"shot004"}, one, ahead=2)

    assert on_virtual_time(work) == [shot.key for shot in shots]
    assert order[0] == "shot004"
    assert set(order[:3]) == {"shot000", "shot001", "shot004"}


def test_the_next_sets_out_when_a_turn_is_over_and_not_only_when_the_shot_is_done(house: House) -> None:
    shots = shots_of(house, 6)
    began: dict[str, float] = {}

    async def one(shot: Shot, turn: Turn) -> None:
        loop = asyncio.get_running_loop()
        began[shot.key] = loop.time()
        await asyncio.sleep(1)
        turn.over()
        turn.over()  # said twice, it lets one set out
        await asyncio.sleep(100)

    async def work() -> Any:
        return await in_turn(shots, (), one, ahead=2)

    on_virtual_time(work)
    assert [round(began[shot.key]) for shot in shots] == [0, 0, 1, 1, 2, 2]


def test_a_provider_whose_places_are_taken_holds_up_no_other_providers_shots(house: House) -> None:
    house.shots(4)
    for number in (2, 3):
        house.put(f"inbox/shot{number:03d}.yaml", ELSEWHERE)
    shots = discover(house.bucket, None)
    ends: list[str] = []

    async def one(shot: Shot, turn: Turn) -> None:
        await asyncio.sleep(1000 if "wavespeed" in str(shot.model_id) else 1)
        ends.append(shot.key)

    async def work() -> Any:
        return await in_turn(shots, (), one, ahead=1)

    on_virtual_time(work)
    assert ends[:2] == ["shot002", "shot003"]


def test_a_batch_that_waits_for_a_place_is_heard_of_by_the_one_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the one that has all places leaves some."""
    monkeypatch.setattr("wan_pipeline.generation.engine.HEARTBEAT_EVERY_S", 0.05)
    monkeypatch.setattr("wan_pipeline.spend.limits._WAIT_FOR_A_PLACE_S", 0.1)
    monkeypatch.setattr("wan_pipeline.generation.gate._BUSY_SPREAD_S", 0.1)
    houses = [House(tmp_path, latency_s=2.0, limits=ProviderLimits(1, 6000)) for _ in range(2)]
    keys = houses[0].shots(2)
    results: dict[str, Verdict] = {}

    def make(house: House, key: str) -> None:
        results[key] = house.make(keys=[key])[key].verdict

    threads = [threading.Thread(target=make, args=pair) for pair in zip(houses, keys, strict=True)]
    heard = 0
    with houses[0].ledger() as ledger:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            with ledger.engine.connect() as connection:
                at_work = connection.execute(sa.select(sa.func.count()).where(owners.c.released_at.is_(None))).scalar()
            in_flight = len(houses[0].books.charges())
            heard += at_work == 2 and in_flight == 1
            time.sleep(0.01)
    assert heard, "the one that waited was not to be seen in the ledger while the other had the place"
    assert set(results.values()) == {Verdict.MADE}
