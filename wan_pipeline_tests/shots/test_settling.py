"""Nothing is taken up before its files were quiet, and nothing waits longer for a clock that is wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from wan_pipeline.shots.discovery import settled
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
