"""A provider's limits across one batch: how many jobs in flight, how many submissions in a minute, and when to pause.

First come, first served. A refusal (429) pauses the provider for as long as it says and lowers the number in flight,
which grows again by one with every accepted submission. A denial (no key, no credit) closes the gate for the batch.
"""

from __future__ import annotations

import asyncio
from collections import deque

from wan_pipeline.providers.base import ProviderLimits

_WINDOW_S = 60.0


class GateClosedError(RuntimeError):
    """The provider takes nothing more in this batch; the message is its own words, or that the batch was stopped."""


class Place:
    """A place in flight that is given back once, however often it is left."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._left = False

    def leave(self, *, unused: bool = False) -> None:
        """Gives the place back; `unused`: nothing was submitted."""
        if not self._left:
            self._left = True
            self._gate.leave(unused=unused)


class Gate:
    """Belongs to one event loop. Every `enter` or `occupy` is paired with one `leave`."""

    def __init__(self, limits: ProviderLimits) -> None:
        self._ceiling = limits.max_in_flight
        self._limit = limits.max_in_flight
        self._per_minute = limits.submits_per_minute
        self._in_flight = 0
        self._submits: deque[float] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._paused_until = 0.0
        self._refusing_since: float | None = None
        self._closed: str | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def closed(self) -> str | None:
        """Why nothing more goes through, or None."""
        return self._closed

    @property
    def limit(self) -> int:
        """How many may be in flight at present."""
        return self._limit

    async def enter(self) -> None:
        """Waits for a place in flight and the right to submit once. Raises GateClosedError."""
        if self._closed is not None:
            raise GateClosedError(self._closed)
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._let_in()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.leave(unused=True)
            raise

    def occupy(self) -> None:
        """Counts a job that is in flight already (taken over from a run that is gone)."""
        self._in_flight += 1

    def leave(self, *, unused: bool = False) -> None:
        """Gives the place back; `unused`: nothing was submitted, so the minute's right comes back too."""
        self._in_flight -= 1
        if unused and self._submits:
            self._submits.pop()
        self._let_in()

    def accepted(self) -> None:
        """A submission was taken: what a refusal had lowered grows again."""
        self._limit = min(self._ceiling, self._limit + 1)
        self._refusing_since = None
        self._let_in()

    def refused(self, wait_s: float) -> float:
        """The provider said: too many. The caller still holds its place and leaves it now or after its wait.

        Gives for how many seconds it has refused everything.
        """
        now = asyncio.get_running_loop().time()
        self._limit = max(1, min(self._limit, self._in_flight) - 1)
        self._paused_until = max(self._paused_until, now + wait_s)
        self._refusing_since = now if self._refusing_since is None else self._refusing_since
        return now - self._refusing_since

    def close(self, reason: str) -> None:
        """Lets nobody in any more; those who wait get GateClosedError with the reason."""
        self._closed = self._closed or reason
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_exception(GateClosedError(self._closed))

    def _let_in(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._submits and self._submits[0] + _WINDOW_S <= now:
            self._submits.popleft()
        while self._waiting and self._in_flight < self._limit:
            wait_s = self._paused_until - now
            if len(self._submits) >= self._per_minute:
                wait_s = max(wait_s, self._submits[0] + _WINDOW_S - now)
            if wait_s > 0:
                self._again_in(wait_s)
                return
            place = self._waiting.popleft()
            if place.done():
                continue
            self._in_flight += 1
            self._submits.append(now)
            place.set_result(None)

    def _again_in(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._let_in)
