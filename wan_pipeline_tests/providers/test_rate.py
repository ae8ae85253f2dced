"""The rate of questions: never passed in any minute, the most overdue first, and nobody starves."""

from __future__ import annotations

import asyncio
import threading
import time

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from wan_pipeline.providers.base import PollError, ProviderLimits
from wan_pipeline.providers.http import ProviderHttp
from wan_pipeline.providers.rate import AskingRate
from wan_pipeline_tests.virtual_time import on_virtual_time


def asked(per_minute: int, questions: list[tuple[float, float]], refusals: frozenset[int]) -> list[tuple[float, int]]:
    """When each question (when it comes due, how much more urgent than that) had its turn, in the order of the turns."""

    async def work() -> list[tuple[float, int]]:
        clock = asyncio.get_running_loop().time
        rate = AskingRate(per_minute)
        turns: list[tuple[float, int]] = []

        async def one(number: int, due_s: float, ahead_s: float) -> None:
            await asyncio.sleep(due_s)
            await rate.turn(ahead_s)
            turns.append((clock(), number))
            rate.refused(1.0) if number in refusals else rate.answered()

        await asyncio.gather(*(one(number, *question) for number, question in enumerate(questions)))
        return turns

    return on_virtual_time(work)


@settings(max_examples=80, deadline=None)
@given(
    per_minute=st.integers(1, 300),
    questions=st.lists(st.tuples(st.floats(0, 100), st.sampled_from([0.0, 0.0, 5.0, -10.0])), min_size=1, max_size=120),
    refusals=st.frozensets(st.integers(0, 120), max_size=5),
)
@example(per_minute=40, questions=[(0.0, 0.0)] * 120, refusals=frozenset())
def test_no_minute_has_more_questions_than_the_rate_and_every_question_is_asked(
    per_minute: int, questions: list[tuple[float, float]], refusals: frozenset[int]
) -> None:
    turns = asked(per_minute, questions, refusals)
    assert sorted(number for _, number in turns) == list(range(len(questions)))
    moments = [at for at, _ in turns]
    for first, later in zip(moments, moments[per_minute:], strict=False):
        assert later - first >= 60 - 1e-6


@settings(max_examples=40, deadline=None)
@given(dues=st.lists(st.floats(0, 20), min_size=30, max_size=80, unique=True))
def test_where_the_rate_is_too_small_for_all_the_most_overdue_question_is_next(dues: list[float]) -> None:
    turns = asked(60, [(due, 0.0) for due in dues], frozenset())
    for at, number in turns:
        others = [dues[other] for later, other in turns if later > at + 1e-6 and dues[other] < at - 0.01]
        assert all(dues[number] <= other + 1e-6 for other in others)


def test_a_small_rate_makes_all_late_alike() -> None:
    """3,000 jobs that are asked about again and again, at a rate that allows each of them one question in ten minutes."""

    async def work() -> list[int]:
        rate = AskingRate(300)
        counts = [0] * 3000

        async def one(number: int) -> None:
            while asyncio.get_running_loop().time() < 3600:
                await rate.turn()
                counts[number] += 1
                await asyncio.sleep(20)

        await asyncio.gather(*(one(number) for number in range(3000)))
        return counts

    counts = on_virtual_time(work)
    assert max(counts) - min(counts) <= 1
    assert min(counts) >= 5


def test_refusals_slow_everybody_down_and_answers_make_it_quicker_again() -> None:
    async def work() -> tuple[float, float, float]:
        rate = AskingRate(600)

        clock = asyncio.get_running_loop().time

        async def lasts_s(count: int) -> float:
            began = clock()
            for _ in range(count):
                await rate.turn()
            return clock() - began

        await lasts_s(100)
        steady = await lasts_s(100)
        for _ in range(3):
            rate.refused(None)
            await asyncio.sleep(5)
        slow = await lasts_s(100)
        for _ in range(100):
            rate.answered()
        return steady, slow, await lasts_s(100)

    steady, slow, again = on_virtual_time(work)
    assert slow == pytest.approx(8 * steady, rel=0.1)
    assert again == pytest.approx(steady, rel=0.7)


def test_batches_in_several_threads_share_one_rate_and_each_is_served() -> None:
    rate = AskingRate(3000)  # 300 at once, then 45 a second
    turns: list[tuple[float, int]] = []

    def batch(number: int) -> None:
        async def work() -> None:
            async def one() -> None:
                await rate.turn()
                turns.append((time.monotonic(), number))

            await asyncio.gather(*(one() for _ in range(90)))

        asyncio.run(work())

    threads = [threading.Thread(target=batch, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(turns) == 360
    moments = sorted(at for at, _ in turns)
    assert moments[-1] - moments[0] >= (360 - 300) / 45 * 0.9


def test_a_batch_that_ends_while_its_question_waits_takes_nobodys_turn() -> None:
    rate = AskingRate(60)

    async def gives_up() -> None:
        for _ in range(6):
            await rate.turn()
        waiting = [asyncio.create_task(rate.turn()) for _ in range(20)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()

    async def next_one() -> float:
        began = time.monotonic()
        await rate.turn()
        return time.monotonic() - began

    asyncio.run(gives_up())
    assert asyncio.run(next_one()) < 5


def test_polls_lists_and_their_repetitions_are_all_questions_of_one_rate() -> None:
    arrived: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        arrived.append(time.monotonic())
        return httpx.Response(503 if len(arrived) <= 30 else 200, json={"code": 200})

    async def work() -> None:
        limits = ProviderLimits(20, 1000, polls_per_minute=600)  # 60 at once, then 9 a second
        transport = httpx.MockTransport(answer)
        async with (
            ProviderHttp("wavespeed", "http://rate.test", SecretStr("k"), limits, transport) as one,
            ProviderHttp("wavespeed", "http://rate.test", SecretStr("k"), limits, transport) as other,
        ):
            asks = [one.get("/api/v3/predictions/x/result", {}) for _ in range(25)]
            asks += [other.ask("/api/v3/predictions", {}) for _ in range(25)]
            answers = await asyncio.gather(*asks)
            assert not any(isinstance(each, PollError) for each in answers)

    asyncio.run(work())
    assert len(arrived) > 60
    for first, later in zip(arrived, arrived[60 + 9 :], strict=False):
        assert later - first >= 0.9
