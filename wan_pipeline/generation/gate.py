"""A provider's limits across one batch: how many jobs in flight, how many submissions in a minute, and when to pause.

First come, first served. A refusal (429) pauses the provider for as long as it says and lowers the number in flight,
which grows again by one with every accepted submission. A denial (no key, no credit) closes the gate for the batch.

The limits of all processes together are counted in the ledger, by every claim. A claim that finds no room there pauses the
gate too, and then one at a time is let in to try, two once one got through, then four: a thousand shots that wait are no
thousand claims. Nobody is told of whom; so a batch that has had all places for a while, and is not alone, leaves a few that
come free, for some seconds, to whoever tries next.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from enum import StrEnum

from wan_pipeline.providers.base import ProviderLimits

_WINDOW_S = 60.5  # the ledger counts 60 from when the attempt began, which is a little later
_BUSY_WAIT_AT_MOST_S = 30.0
_BUSY_SPREAD_S = 1.0  # or processes that were told the same moment would all come at it
_SATURATED_S = 30.0
_YIELD_S = _BUSY_SPREAD_S + 2.5  # longer than another process waits between two tries
_YIELD_SHARE = 20  # one place in so many, and one at least


class Closed(StrEnum):
    """Why a gate is closed."""

    STOPPED = "stopped"  # the batch was told to stop
    DENIED = "denied"  # no key, no credit: a person has to do something
    UNREACHED = "unreached"  # nobody there, or it has refused everything for long: it may be tried again later


class GateClosedError(RuntimeError):
    """The provider takes nothing more in this batch; the message is its own words, or that the batch was stopped."""

    def __init__(self, reason: str, kind: Closed = Closed.DENIED) -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind


class Place:
    """A place in flight that was entered (or, `settled`, occupied), and is given back once, however often it is left."""

    def __init__(self, gate: Gate, *, settled: bool = False) -> None:
        self._gate = gate
        self._left = False
        self._settled = settled

    @property
    def held(self) -> bool:
        """Not left yet."""
        return not self._left

    def through(self) -> None:
        """The ledger had room: what is submitted now is counted there."""
        if not self._left and not self._settled:
            self._settled = True
            self._gate.through()

    def leave(self, *, unused: bool = False) -> None:
        """Gives the place back; `unused`: nothing was submitted, as far as it did not come through."""
        if not self._left:
            self._left = True
            self._gate.leave(unused=unused and not self._settled, tried=not self._settled)

    def busy(self, wait_s: float) -> None:
        """The ledger has no room for that long: gives the place back, and pauses the gate."""
        if not self._left:
            self._gate.busy(wait_s)
            self.leave(unused=True)

    async def again(self, *, first: bool = False) -> None:
        """Gives the place up where it is still held, and waits for another: at the end of the queue, or `first`. Raises
        GateClosedError, without a place."""
        self.leave()
        await self._gate.enter(first=first)
        self._left = self._settled = False


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
        self._unreached_since: float | None = None
        self._closed: GateClosedError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._trying = 0  # entered, and the ledger has not said yet whether there is room
        self._tries: int | None = None  # how many may try at once; None: the ledger had room when it was last asked
        self._saturated_since: float | None = None
        self._yielding_until = 0.0
        self._alone = False

    def set_alone(self, *, alone: bool) -> None:
        """Does no other batch want this provider's places? Until it is known, there may be others."""
        self._alone = alone

    @property
    def closed(self) -> str | None:
        """Why nothing more goes through, or None."""
        return None if self._closed is None else self._closed.reason

    @property
    def closed_kind(self) -> Closed | None:
        return None if self._closed is None else self._closed.kind

    def raise_if_closed(self) -> None:
        """Raises GateClosedError."""
        if self._closed is not None:
            raise GateClosedError(self._closed.reason, self._closed.kind)

    @property
    def is_busy(self) -> bool:
        """The ledger had no room for this provider when it was last asked."""
        return self._tries is not None

    @property
    def limit(self) -> int:
        """How many may be in flight at present."""
        return self._limit

    async def enter(self, *, first: bool = False) -> None:
        """Waits for a place in flight and the right to submit once. `first`: has waited its turn already. Raises
        GateClosedError."""
        self.raise_if_closed()
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if first:
            self._waiting.appendleft(place)
        else:
            self._waiting.append(place)
        self._let_in()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.leave(unused=True, tried=True)
            raise

    def occupy(self) -> None:
        """Counts a job that is in flight already (taken over from a run that is gone, or found)."""
        self._in_flight += 1

    def leave(self, *, unused: bool = False, tried: bool = False) -> None:
        """Gives the place back; `unused`: nothing was submitted, so the minute's right comes back too; `tried`: it never
        came to a submission that the ledger counted."""
        if self._in_flight >= self._limit and not unused:
            self._yield_now_and_then()
        self._in_flight -= 1
        if tried:
            self._trying = max(0, self._trying - 1)
        if unused and self._submits:
            self._submits.pop()
        self._let_in()

    def through(self) -> None:
        """The ledger had room for one that was let in."""
        self._trying = max(0, self._trying - 1)
        if self._tries is not None:
            self._tries = None if self._tries >= self._limit else 2 * self._tries
        self._let_in()

    def busy(self, wait_s: float) -> None:
        """The ledger has no room for the next `wait_s` seconds. The caller still holds its place and leaves it."""
        pause_s = min(wait_s, _BUSY_WAIT_AT_MOST_S) + random.uniform(0, _BUSY_SPREAD_S)
        self._paused_until = max(self._paused_until, asyncio.get_running_loop().time() + pause_s)
        self._tries = 1

    def accepted(self) -> None:
        """A submission was taken: what a refusal had lowered grows again."""
        self._limit = min(self._ceiling, self._limit + 1)
        self._refusing_since = self._unreached_since = None
        self._let_in()

    def refused(self, wait_s: float) -> float:
        """The provider said: too many. The caller still holds its place and leaves it now or after its wait.

        Gives for how many seconds it has refused everything.
        """
        now = asyncio.get_running_loop().time()
        self._limit = max(1, min(self._limit, self._in_flight) - 1)
        self._paused_until = max(self._paused_until, now + wait_s)
        self._unreached_since = None
        self._refusing_since = now if self._refusing_since is None else self._refusing_since
        return now - self._refusing_since

    def unreached(self) -> float:
        """Nobody was there to take it. Gives for how many seconds nobody has been."""
        now = asyncio.get_running_loop().time()
        self._unreached_since = now if self._unreached_since is None else self._unreached_since
        return now - self._unreached_since

    def close(self, reason: str, kind: Closed = Closed.DENIED) -> None:
        """Lets nobody in any more; those who wait get GateClosedError with the reason."""
        self._closed = self._closed or GateClosedError(reason, kind)
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_exception(GateClosedError(self._closed.reason, self._closed.kind))

    def _let_in(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._submits and self._submits[0] + _WINDOW_S <= now:
            self._submits.popleft()
        limit = self._limit
        if self._yielding_until > now:
            limit = max(0, limit - max(1, limit // _YIELD_SHARE))
            self._again_in(self._yielding_until - now)
        while self._waiting and self._in_flight < limit:
            if self._tries is not None and self._trying >= self._tries:
                return
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
            self._trying += 1
            self._submits.append(now)
            place.set_result(None)
        if self._in_flight < self._limit:
            self._saturated_since = None
        elif self._saturated_since is None:
            self._saturated_since = now

    def _yield_now_and_then(self) -> None:
        """Shots of this batch wait, and it has had all places for long: others may be waiting too."""
        if self._alone:
            return
        now = asyncio.get_running_loop().time()
        if self._waiting and self._saturated_since is not None and now - self._saturated_since > _SATURATED_S:
            self._saturated_since = None
            self._yielding_until = now + _YIELD_S

    def _again_in(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._let_in)
