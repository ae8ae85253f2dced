"""Looking for a submission whose answer was lost: what the three providers have in common.

A look asks one or more witnesses (a provider's logs, list or billing) and says what each of them said. The rule of all of
it: what proves something is read strictly, and whatever is missing, odd or cut short proves nothing. "Not there" is only
ever said of a listing that was read to its end, and whether that counts yet is for the caller to judge: what is in flight
may not be listed. What does not belong here: any provider's paths and field names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from wan_pipeline.money import Money
from wan_pipeline.providers.base import (
    LostSubmission,
    PollError,
    PollOutcome,
    SearchResult,
    Sighting,
    Testimony,
)

# How far our clock and a provider's may be apart, either way: wrong by minutes is common, by a time zone or two it has been
# seen. A wider window costs a page or two, and one too narrow calls absent what was paid for.
CLOCK_SKEW = timedelta(hours=4)
MAX_PAGES = 100  # of a listing: beyond that it is not read to its end, and says so
NOT_URGENT_S = -10.0  # a look's questions give way to polls that came due so much later
_KNOWN_AT_ONCE = 500
_SHOWN_IDS = 5
_LEAST_NAME = 8  # letters of a model's name that are enough to be no part of many

Poll = Callable[[str], Awaitable[PollOutcome]]


class UnreadError(Exception):
    """A witness could not be asked, or its listing could not be read to the end. The message is fit to be shown."""


@dataclass(frozen=True, slots=True)
class Window:
    """The time in which the submission must be listed, in whole seconds, UTC."""

    start: datetime
    end: datetime

    @classmethod
    def around(cls, lost: LostSubmission, at_most: timedelta) -> Window:
        """From CLOCK_SKEW before it was sent, by our clock, until as much after now, or `at_most` after it was sent. An end
        in the future is right: by a clock that is ahead of ours, it was made then."""
        start = lost.sent_at - CLOCK_SKEW
        end = min(max(lost.now, lost.sent_at) + CLOCK_SKEW, lost.sent_at + at_most) + timedelta(seconds=1)
        return cls(start.astimezone(UTC).replace(microsecond=0), end.astimezone(UTC).replace(microsecond=0))

    def excludes(self, moment: datetime | None) -> bool:
        """Whether this is certainly outside."""
        return moment is not None and not self.start <= moment <= self.end

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with a Z, as the providers' documents write it."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


class Pace:
    """How fast listings are asked for: some at once, then evenly, below the 200 a minute of AI/ML API's logs. A look is
    never urgent, and other processes look too."""

    def __init__(self, per_minute: float = 120.0, burst: int = 30) -> None:
        self._every_s = 60.0 / per_minute
        self._slack_s = (burst - 1) * self._every_s
        self._next_s = float("-inf")

    async def wait(self) -> None:
        now_s = asyncio.get_running_loop().time()
        self._next_s = max(self._next_s, now_s - self._slack_s) + self._every_s
        await asyncio.sleep(max(0.0, self._next_s - self._every_s - now_s))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job at the provider that may be the lost one. `what`: a few words for a person."""

    id: str
    what: str


async def known_of(lost: LostSubmission, ids: Iterable[str]) -> frozenset[str]:
    """Which of these ids the ledger has as another job's."""
    unique = list(dict.fromkeys(ids))
    known: frozenset[str] = frozenset()
    for begin in range(0, len(unique), _KNOWN_AT_ONCE):
        known |= await lost.is_known(unique[begin : begin + _KNOWN_AT_ONCE])
    return known


async def verified(poll: Poll, provider_job_id: str) -> Testimony:
    """What the provider says when it is asked for this very job: FOUND, ABSENT (it knows none such) or UNREACHABLE."""
    outcome = await poll(provider_job_id)
    if isinstance(outcome, PollError):
        sighting = Sighting.ABSENT if outcome.gone else Sighting.UNREACHABLE
        return Testimony("poll", sighting, f"asked for {provider_job_id}: {outcome.reason}")
    return Testimony("poll", Sighting.FOUND, f"the provider knows {provider_job_id}: {_state(outcome)}")


def found(
    testimonies: Sequence[Testimony], provider_job_id: str, reported: Money | None = None, others: Iterable[str] = ()
) -> SearchResult:
    return SearchResult(Sighting.FOUND, tuple(testimonies), provider_job_id, reported, tuple(others))


def together(testimonies: Sequence[Testimony], candidates: Iterable[Candidate] = ()) -> SearchResult:
    """What the witnesses come to where none has found it. ABSENT only where there are some and all of them say so; one
    that could not be asked comes first, since the next look may settle it."""
    sightings = {testimony.sighting for testimony in testimonies}
    ids = tuple(dict.fromkeys(candidate.id for candidate in candidates))
    if Sighting.UNREACHABLE in sightings:
        sighting = Sighting.UNREACHABLE
    elif sightings == {Sighting.ABSENT} and not ids:
        sighting = Sighting.ABSENT
    else:
        sighting = Sighting.UNSURE
    return SearchResult(sighting, tuple(testimonies), candidates=ids)


def listed(candidates: Sequence[Candidate]) -> str:
    """The candidates, for a person: `inf-1 (0.7875 USD), inf-2 (…) and 3 more`."""
    shown = ", ".join(f"{each.id} ({each.what})" if each.what else each.id for each in candidates[:_SHOWN_IDS])
    return shown if len(candidates) <= _SHOWN_IDS else f"{shown} and {len(candidates) - _SHOWN_IDS} more"


def same_model(theirs: object, ours: str) -> bool:
    """Whether a row's model may be ours (`alibaba/wan-2-6-i2v`). Not being told, it may; in other punctuation, under another
    source or without one, too (`wan2.6-i2v`)."""
    if not isinstance(theirs, str) or not _letters(theirs):
        return True
    there, here, alias = _letters(theirs), _letters(ours), _letters(ours.partition("/")[2])
    return alias in there or (len(there) >= _LEAST_NAME and there in here)


def _letters(name: str) -> str:
    return "".join(char for char in name.lower() if char.isalnum())


def _state(outcome: PollOutcome) -> str:
    status = getattr(outcome, "status", None)
    return str(status) if status else type(outcome).__name__.lower()
