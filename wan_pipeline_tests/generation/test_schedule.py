"""When to ask: few questions, little lateness, whatever the times are like, and times that are learned as they are."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from random import Random
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.generation.pace import Pace, UsualTimes
from wan_pipeline.generation.schedule import Distribution, schedule
from wan_pipeline.generation.seen_times import SeenTimes, differ


def asked(pace: Pace, took_s: float) -> tuple[int, float, float]:
    """Questions, when it was found, and when it had been asked before that."""
    waited = before = 0.0
    questions = 0
    while waited < took_s:
        before, waited = waited, waited + pace.next_wait_s(waited)
        questions += 1
    return questions, waited, before


@given(
    steps=st.lists(st.tuples(st.floats(0.1, 100), st.floats(0, 1)), min_size=1, max_size=30),
    tail=st.floats(0, 1),
)
@settings(deadline=None)
def test_a_schedule_ends_where_the_times_end_and_foretells_its_questions_and_lateness(
    steps: list[tuple[float, float]], tail: float
) -> None:
    knots, left = [1.0], [sum(mass for _, mass in steps) + tail + 1e-3]
    for gap, mass in steps:
        knots.append(knots[-1] + gap)
        left.append(left[-1] - mass)
    times = Distribution(tuple(knots), tuple(share / left[0] for share in left))
    found = schedule(times)
    assert found.moments[-1] == knots[-1]
    assert all(earlier < later for earlier, later in pairwise(found.moments))
    assert found.questions == pytest.approx(
        sum(times.left_at(moment) for moment in (0.0, *found.moments[:-1])), rel=1e-6
    )
    assert found.late_share >= 0


@pytest.mark.parametrize(("share", "questions"), [(0.1, 3.3), (0.3, 6.5)])
def test_a_result_is_found_within_three_hundredths_of_its_time_with_about_as_many_questions_as_that_takes(
    share: float, questions: float
) -> None:
    source = Random(3)
    pace = Pace(source.uniform(60 * (1 - share), 60 * (1 + share)) for _ in range(300))
    times = [source.uniform(60 * (1 - share), 60 * (1 + share)) for _ in range(1000)]
    found = [asked(pace, took_s) for took_s in times]
    assert mean(count for count, _, _ in found) < questions
    assert mean((at_s - took_s) / took_s for (_, at_s, _), took_s in zip(found, times, strict=True)) < 0.032


def test_what_is_learned_by_asking_does_not_drift_away_from_the_truth() -> None:
    """Every time is seen late; learned as seen, each batch would ask a little later than the one before."""
    source = Random(4)
    pace = Pace(source.uniform(14, 26) for _ in range(300))
    late: list[float] = []
    for _ in range(6000):
        took_s = source.uniform(14, 26)
        _, at_s, before_s = asked(pace, took_s)
        pace.learn(at_s, before_s)
        late.append((at_s - took_s) / took_s)
    assert mean(late[-1000:]) < 0.04
    assert pace.questions < 7


def test_the_quickest_of_a_batch_come_first_and_are_not_taken_for_all_of_them() -> None:
    source = Random(5)
    times = sorted(source.uniform(14, 26) for _ in range(200))
    seen = SeenTimes()
    for number, took_s in enumerate(times):
        seen.runs(str(number), 14.9)
        if took_s <= 15:
            seen.learn(took_s, took_s - 0.1)
            seen.over(str(number))
    found = seen.distribution()
    assert found is not None
    assert found.left[-1] > 0.85, "most of them run still"


def test_one_model_with_two_kinds_of_times_has_two_paces_and_with_one_kind_one() -> None:
    source = Random(6)
    apart, alike = UsualTimes(), UsualTimes()
    for _ in range(100):
        apart.learn("720p", source.uniform(18, 22))
        apart.learn("1080p", source.uniform(50, 60))
        alike.learn("720p", source.uniform(18, 22))
        alike.learn("1080p", source.uniform(18, 22))
    assert apart.pace("720p").next_wait_s(0) < 22
    assert apart.pace("1080p").next_wait_s(0) > 40
    assert alike.pace("720p") is alike.pace("1080p")
    assert apart.pace("never seen").next_wait_s(0) < 22, "it may be any of them"


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30)
def test_samples_of_one_distribution_hardly_ever_differ_and_of_two_they_do(seed: int) -> None:
    source = Random(seed)
    some, others = ([source.gauss(20, 2) for _ in range(60)] for _ in range(2))
    assert not differ(some, [value + 0.1 for value in some])
    assert differ(some, [value + 8 for value in others])


def test_a_watched_job_is_asked_about_seldom_and_yet_asked_about() -> None:
    source = Random(7)
    times = sorted(source.uniform(14, 26) for _ in range(300))
    pace = Pace(times)
    waited, moments = 0.0, list[float]()
    while waited < 60:
        waited += pace.next_wait_s(waited, watched=True)
        moments.append(waited)
    asked_before_the_longest = bisect_left(moments, 26)
    assert 1 <= asked_before_the_longest <= 3
    assert len(moments) <= 6
