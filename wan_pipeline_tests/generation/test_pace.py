"""Polling pace: few questions, and none far behind the result."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.generation.pace import Pace


def polls_and_lateness(pace: Pace, took_s: float) -> tuple[int, float]:
    waited, polls = 0.0, 0
    while waited < took_s:
        waited += pace.next_wait_s(waited)
        polls += 1
    return polls, waited - took_s


@given(took_s=st.floats(0.01, 7200), seen=st.lists(st.floats(0.01, 7200), max_size=300))
def test_every_result_is_found_and_never_more_than_twenty_seconds_or_an_eighth_of_its_time_late(
    took_s: float, seen: list[float]
) -> None:
    _, late_s = polls_and_lateness(Pace(), took_s)
    assert late_s <= max(0.25, min(20.0, took_s * 0.08 + 1e-6)) + 1e-6
    learned = Pace(seen)
    waited = 0.0
    for _ in range(100_000):
        if waited >= took_s:
            break
        step = learned.next_wait_s(waited)
        assert step > 0
        waited += step
    assert waited >= took_s, "the questions never come to the result"


def test_with_known_times_a_result_is_found_with_few_questions() -> None:
    random = Random(7)
    seen = [random.uniform(70, 130) for _ in range(200)]
    pace = Pace(seen)
    polls = [polls_and_lateness(pace, took) for took in seen]
    assert sum(count for count, _ in polls) / len(polls) < 8
    assert max(late for _, late in polls) < 7


def test_times_that_mislead_do_not_put_off_the_question_for_long() -> None:
    """A batch that was collected a day late is in the ledger as so many jobs that took a day."""
    pace = Pace([86_400.0] * 50)
    _, late_s = polls_and_lateness(pace, 100.0)
    assert late_s <= 60
