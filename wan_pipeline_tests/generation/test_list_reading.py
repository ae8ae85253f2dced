"""A list that tells of many jobs saves questions, and whatever it does or leaves undone, every result is found in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from statistics import mean
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest

from wan_pipeline.generation.list_reading import FEW, ListReader, is_worth_reading
from wan_pipeline.generation.pace import UsualTimes
from wan_pipeline.generation.waiting import GaveUp, Waiter
from wan_pipeline.generation.watch import Watch
from wan_pipeline.providers.base import (
    Failed,
    InProgress,
    ListedJob,
    ListedJobs,
    PollError,
    PollOutcome,
    Succeeded,
)
from wan_pipeline_tests.virtual_time import on_virtual_time

EPOCH = datetime(2026, 11, 20, tzinfo=UTC)
PAGE = 100


class Desk:
    """As much of a desk as waiting needs."""

    def __init__(self) -> None:
        self.stopped = asyncio.Event()
        self.parts = SimpleNamespace(clock=lambda: EPOCH)
        self.asides: list[asyncio.Task[None]] = []

    def aside(self, work: Coroutine[Any, Any, None]) -> None:
        self.asides.append(asyncio.create_task(work))

    async def sleep(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self.stopped.wait(), max(0.0, seconds))
        except TimeoutError:
            return False
        return True


@dataclass
class Provider:
    """Its jobs by id: when each was made and ends, by the loop's clock. `listed` changes what its list says."""

    jobs: dict[str, tuple[float, float]] = field(default_factory=dict)
    failing: frozenset[str] = frozenset()
    ahead: timedelta = timedelta(hours=3)
    listed: Callable[[Provider, ListedJobs | PollError], ListedJobs | PollError] = lambda provider, answer: answer
    lag_s: float = 0.0
    hangs: bool = False
    answers_late_s: float = 0.0  # to a submission, at most
    polls: int = 0
    readings: int = 0
    name: str = "a provider"

    def outcome(self, job_id: str, lag_s: float = 0.0) -> PollOutcome:
        if asyncio.get_running_loop().time() - lag_s < self.jobs[job_id][1]:
            return InProgress("processing")
        return Failed("no") if job_id in self.failing else Succeeded(f"https://video.test/{job_id}")

    async def poll(self, model: object, job_id: str) -> PollOutcome:
        self.polls += 1
        await asyncio.sleep(0.02)
        return self.outcome(job_id)

    async def list_jobs(
        self,
        ended: Literal["succeeded", "failed"] | None,
        made_after: datetime | None,
        page: int,
        about: Collection[str],
    ) -> ListedJobs | PollError:
        self.readings += 1
        await asyncio.sleep(1e9 if self.hangs else 0.02)
        wanted: dict[str | None, type[object]] = {"succeeded": Succeeded, "failed": Failed, None: object}
        rows = [
            ListedJob(job_id, EPOCH + timedelta(seconds=made_s) + self.ahead, self.outcome(job_id, self.lag_s))
            for job_id, (made_s, _) in sorted(self.jobs.items(), key=lambda item: -item[1][0])
            if isinstance(self.outcome(job_id, self.lag_s), wanted[ended])
        ]
        rows = [row for row in rows if made_after is None or (row.made_at is not None and row.made_at >= made_after)]
        rows = rows[(page - 1) * PAGE : page * PAGE]
        mine = tuple(row for row in rows if row.provider_job_id in about)
        oldest_at = min((row.made_at for row in rows if row.made_at), default=None)
        return self.listed(self, ListedJobs(mine, oldest_at, len(rows) < PAGE))


@dataclass(frozen=True)
class Batch:
    """How it went: what came of each job, and how late it was known, as a share of its time."""

    outcomes: list[Succeeded | Failed | GaveUp]
    late: list[float]
    requests: float  # for each job


def batch(
    provider: Provider,
    count: int = 600,
    in_flight: int = 100,
    *,
    known: bool = True,
    stop_at_s: float | None = None,
    asks_per_minute: int = 60_000,
) -> Batch:
    """So many jobs of 20 s +- 30 %, so many at once, waited for by an engine's waiter; in no time."""
    source = Random(1)

    async def work() -> Batch:
        loop = asyncio.get_running_loop()
        desk = cast("Any", Desk())
        watch = Watch(desk)
        reader = ListReader(desk, provider, watch, asks_per_minute)
        desk.aside(reader.read())
        times = UsualTimes()
        for _ in range(300 if known else 0):
            times.learn((5, "720p", False), source.uniform(14, 26))

        async def usual_times() -> UsualTimes:
            return times

        waiter = Waiter(desk, cast("Any", provider), cast("Any", None), usual_times, watch, reader)
        places = asyncio.Semaphore(in_flight)
        late: list[float] = []

        async def one(number: int) -> Succeeded | Failed | GaveUp:
            async with places:
                await asyncio.sleep(source.uniform(0, 1))
                job_id, now_s, took_s = f"job{number}", loop.time(), source.uniform(14, 26)
                provider.jobs[job_id] = (now_s, now_s + took_s)
                await asyncio.sleep(source.uniform(0, provider.answers_late_s))
                submitted_at = EPOCH + timedelta(seconds=now_s)
                job = SimpleNamespace(
                    id=job_id,
                    shot=job_id,
                    provider="a provider",
                    provider_job_id=job_id,
                    duration_s=5,
                    resolution="720p",
                    has_audio=False,
                    submitted_at=submitted_at,
                    claimed_at=submitted_at,
                )
                outcome = await waiter.wait(cast("Any", job))
                if isinstance(outcome, Succeeded):
                    assert loop.time() >= provider.jobs[job_id][1], "a result before its job has ended"
                    late.append((loop.time() - provider.jobs[job_id][1]) / took_s)
                return outcome

        if stop_at_s is not None:
            loop.call_later(stop_at_s, desk.stopped.set)
        outcomes = await asyncio.gather(*(one(number) for number in range(count)))
        for aside in desk.asides:
            aside.cancel()
        await asyncio.gather(*desk.asides, return_exceptions=True)
        return Batch(list(outcomes), late, (provider.polls + provider.readings) / count)

    return on_virtual_time(work)


def test_a_list_finds_results_early_with_less_than_a_question_for_each() -> None:
    found = batch(Provider(), in_flight=200, count=1000)
    assert {type(outcome) for outcome in found.outcomes} == {Succeeded}
    assert found.requests < 0.85
    assert mean(found.late) < 0.015


def test_a_list_is_as_good_where_nothing_is_known_of_the_times_but_for_the_first_jobs() -> None:
    found = batch(Provider(), in_flight=200, count=2000, known=False)
    assert mean(found.late) < 0.02
    assert found.requests < 1.3


def test_submissions_that_are_answered_seconds_late_are_found_in_the_list_all_the_same() -> None:
    found = batch(Provider(answers_late_s=9.0), in_flight=200, count=600)
    assert mean(found.late) < 0.02
    assert found.requests < 0.9


def test_a_list_that_shows_other_jobs_at_first_is_looked_at_again_soon() -> None:
    """As where hundreds are submitted at once, and their answers wait to be heard."""
    shown_from_s = 3.0

    def listed(provider: Provider, answer: ListedJobs | PollError) -> ListedJobs | PollError:
        early = asyncio.get_running_loop().time() < shown_from_s
        return replace(answer, rows=()) if early and isinstance(answer, ListedJobs) else answer

    found = batch(Provider(listed=listed), in_flight=200, count=1000, known=False)
    assert mean(found.late) < 0.02
    assert found.requests < 4  # 8 where it is left alone for half a minute


def test_many_pages_are_read_to_where_the_eldest_job_is() -> None:
    provider = Provider()
    found = batch(provider, in_flight=700, count=1400)
    assert mean(found.late) < 0.02
    assert found.requests < 1.0


def test_a_list_takes_at_most_half_of_the_questions_that_may_be_asked() -> None:
    provider = Provider()
    found = batch(provider, in_flight=200, count=600, asks_per_minute=60)
    longest_s = max(ends_s for _, ends_s in provider.jobs.values())
    assert provider.readings <= longest_s / 60 * 30 + 2
    assert {type(outcome) for outcome in found.outcomes} == {Succeeded}


def test_few_jobs_are_asked_about_one_by_one() -> None:
    provider = Provider()
    batch(provider, in_flight=FEW - 1, count=30)
    assert provider.readings == 0


@pytest.mark.parametrize(
    "trouble",
    [
        Provider(listed=lambda provider, answer: PollError("no")),
        Provider(listed=lambda provider, answer: 1 / 0),  # type: ignore[arg-type,return-value]
        Provider(listed=lambda provider, answer: ListedJobs((), None, is_last=True)),
        Provider(listed=lambda provider, answer: PollError("no") if provider.readings % 3 else answer),
        Provider(lag_s=12.0),
        Provider(hangs=True),
        Provider(
            listed=lambda provider, answer: (
                PollError("")
                if isinstance(answer, PollError)
                else ListedJobs(
                    tuple(ListedJob(row.provider_job_id, row.made_at, PollError("no URL")) for row in answer.rows),
                    answer.oldest_at,
                    answer.is_last,
                )
            )
        ),
    ],
    ids=["fails", "breaks", "is empty", "fails now and then", "lags", "hangs", "shows no result"],
)
def test_a_list_that_is_no_good_makes_nobody_wait_longer_than_without_it(trouble: Provider) -> None:
    found = batch(trouble, count=400)
    assert {type(outcome) for outcome in found.outcomes} == {Succeeded}
    assert mean(found.late) < 0.045
    assert found.requests < 9


def test_a_list_that_stops_telling_when_it_was_relied_on_is_found_out_and_left_alone() -> None:
    def freezes(provider: Provider, answer: ListedJobs | PollError) -> ListedJobs | PollError:
        if asyncio.get_running_loop().time() > 60 and isinstance(answer, ListedJobs):
            return ListedJobs((), answer.oldest_at, answer.is_last)
        return answer

    found = batch(Provider(listed=freezes), count=1000)
    assert {type(outcome) for outcome in found.outcomes} == {Succeeded}
    assert max(found.late) < 1.0
    assert mean(found.late) < 0.05


def test_a_job_that_a_list_shows_as_ended_is_not_believed_to_be_before_a_poll_says_so() -> None:
    def lies(provider: Provider, answer: ListedJobs | PollError) -> ListedJobs | PollError:
        now = EPOCH + provider.ahead
        if isinstance(answer, PollError):
            return answer
        rows = tuple(ListedJob(job_id, now, Failed("so it says")) for job_id in provider.jobs)
        return ListedJobs((*answer.rows, *rows), answer.oldest_at, answer.is_last)

    found = batch(Provider(listed=lies), count=300)
    assert {type(outcome) for outcome in found.outcomes} == {Succeeded}


def test_failures_are_seen_in_the_list_too() -> None:
    provider = Provider(failing=frozenset(f"job{number}" for number in range(0, 400, 4)))
    found = batch(provider, count=400)
    assert sum(isinstance(outcome, Failed) for outcome in found.outcomes) == 100
    assert sum(isinstance(outcome, Succeeded) for outcome in found.outcomes) == 300
    assert found.requests < 1.5


def test_stopped_nobody_waits_any_longer() -> None:
    found = batch(Provider(), count=150, in_flight=150, stop_at_s=10)
    assert all(isinstance(outcome, GaveUp) and outcome.stopped for outcome in found.outcomes)


def test_a_list_is_read_where_it_takes_fewer_questions_than_asking_about_each() -> None:
    assert is_worth_reading(0.5, 5, 2, reading=False)
    assert not is_worth_reading(0.2, 4, 1, reading=False)
    assert is_worth_reading(0.2, 4, 1, reading=True), "it is not left off and on again"
    assert not is_worth_reading(0.0, 12, 1, reading=True), "nothing is about to end"
