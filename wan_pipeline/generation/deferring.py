"""Deferring: a shot that cannot be bought now is made later, by itself; here is until when, and in which words.

What belongs here: the two reasons (no room in a budget; its provider, or something of ours, cannot be reached). What does
not: remembering it and taking it up again (the Dagster layer).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from wan_pipeline.bucket import BucketError
from wan_pipeline.generation.events import Deferred
from wan_pipeline.money import Money
from wan_pipeline.providers.words import shown
from wan_pipeline.spend.records import OverBudget

# What passes by itself: a database that restarts, a bucket that does not answer, a disk that is full.
PASSING = (OperationalError, InterfaceError, PoolTimeoutError, BucketError, OSError)

_FIRST = timedelta(minutes=1)  # doubled with each time that the shot was put off before
_AT_MOST = timedelta(hours=1)


def over_budget(outcome: OverBudget, provider: str) -> tuple[str, Deferred]:
    """The reason in words, and the same for a program. What never fits waits for nothing but a person."""
    until = outcome.until if outcome.needed <= outcome.allowed else None
    later = f"there is room again from {until:%Y-%m-%d %H:%M} UTC" if until else "raise it"
    used = f"{outcome.used} are held or spent, {outcome.needed} are needed"
    reason = f"{outcome.limit} is {outcome.allowed} USD, {used}; {later}"
    return reason, Deferred(outcome.limit, outcome.needed, provider, until)


def unreached(reason: str, needed: Money, provider: str, now: datetime, times: int) -> tuple[str, Deferred]:
    """`times`: how often it was put off before."""
    until = now + min(_AT_MOST, _FIRST * 2 ** min(times, 10))
    return f"{reason}; tried again from {until:%H:%M:%S} UTC", Deferred("", needed, provider, until)


def told(error: BaseException) -> str:
    """What has gone wrong, fit to be shown: never a statement's parameters."""
    original = getattr(error, "orig", None)
    return shown(f"{type(error).__name__}: {original if original is not None else error}")
