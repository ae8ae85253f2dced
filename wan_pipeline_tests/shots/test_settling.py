"""Nothing is taken up before its files were quiet, and nothing waits longer for a clock that is wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from wan_pipeline.shots.discovery import settled
from wan_pipeline.shots.settling import left_to_settle
from wan_pipeline_tests.shots.inboxes import NOON, READY, shots_of

SHOT = shots_of({"_defaults.yaml": READY, "cat.png": ""})["cat"]


def _after(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def test_the_seconds_left_are_counted_from_the_last_change() -> None:
    assert settled(SHOT, NOON, 5) == 5
    assert settled(SHOT, NOON + _after(2), 5) == 3
    assert settled(SHOT, NOON + _after(5), 5) == 0
    assert settled(SHOT, NOON + _after(500), 5) == 0
    assert settled(SHOT, NOON, 0) == 0


def test_a_time_in_the_future_counts_from_the_first_sight() -> None:
    shot = replace(SHOT, key="future", last_modified=NOON + timedelta(days=1))
    assert settled(shot, NOON, 5) == 5
    assert settled(shot, NOON + _after(3), 5) == 2
    assert settled(shot, NOON + _after(5), 5) == 0
    changed = replace(shot, last_modified=shot.last_modified + _after(1))
    assert settled(changed, NOON + _after(5), 5) == 5


def test_who_remembers_the_first_sight_may_say_so() -> None:
    shot = replace(SHOT, key="remembered", last_modified=NOON + timedelta(days=1))
    assert settled(shot, NOON, 5, seen_at=NOON - _after(4)) == 1
    assert settled(shot, NOON, 5, seen_at=NOON + _after(60)) == 5
    assert settled(SHOT, NOON + _after(1), 5, seen_at=NOON - _after(60)) == 4


def test_what_came_after_the_moment_of_which_the_bucket_is_known_is_not_quiet() -> None:
    def left(modified_s: float, settle_s: float, seen_s: float = 0) -> float:
        return left_to_settle(NOON + _after(modified_s), NOON + _after(60), settle_s, NOON + _after(seen_s), NOON)

    assert left(-5, settle_s=5) == 0
    assert left(-3, settle_s=5) == 2
    assert left(1, settle_s=5) == 6
    assert left(1, settle_s=0) == 1
    assert left(86_400, settle_s=5, seen_s=50) == 55, (
        "a clock that is ahead: seen first by the tick that has just listed"
    )
    assert left(86_400, settle_s=5, seen_s=-30) == 0
