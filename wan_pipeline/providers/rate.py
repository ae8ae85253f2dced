"""How often one process asks a provider: never more than so many questions in any minute, the most overdue first.

All who ask the same account share one rate: several batches of a process, each with an event loop in a thread of its own. A
question that is asked late is served before one that came due after it, so nobody starves and all are late alike. A refusal
(429) slows everybody down, and answers make it quicker again. (Of the libraries on PyPI, aiolimiter lets twice its rate
through in a minute and serves one event loop; pyrate-limiter knows no order among those who wait.) What does not belong:
submissions, whose limits the ledger counts (generation/gate.py).
"""

from __future__ import annotations

import asyncio
import heapq
import threading
from dataclasses import dataclass, field
from itertools import count

_MINUTE_S = 60.0
_AT_ONCE_SHARE = 10  # a tenth of a minute's questions may be asked at once
_SLOWER, _SLOWEST, _QUICKER = 2.0, 32.0, 0.95
_REFUSALS_ARE_ONE_S = 2.0  # what was under way when the first refusal came may be refused too
_PAUSE_AT_MOST_S = 10.0  # a longer one is the business of whoever asks: he gives up or asks again later


@dataclass(order=True, slots=True)
class _Waiting:
    due_s: float
    number: int
    loop: asyncio.AbstractEventLoop = field(compare=False)
    turn: asyncio.Future[None] = field(compare=False)


class AskingRate:
    """Of one account at one provider. May be used from several threads, in each on its event loop."""

    def __init__(self, per_minute: int) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._timers: dict[asyncio.AbstractEventLoop, asyncio.TimerHandle] = {}
        self._number = count()
        self._forget()
        self.set(per_minute)

    def set(self, per_minute: int) -> None:
        """The rate from now on, in questions a minute."""
        at_once = max(1, per_minute // _AT_ONCE_SHARE)
        self._every_s = _MINUTE_S / max(1, per_minute - at_once)
        self._slack_s = (at_once - 1) * self._every_s

    async def turn(self, ahead_s: float = 0.0) -> None:
        """Waits until it is this question's turn. `ahead_s`: it is as urgent as one that came due so much earlier."""
        loop = asyncio.get_running_loop()
        with self._lock:
            now_s = self._now_s()
            if not self._waiting and self._take(now_s):
                return
            waiting = _Waiting(now_s - ahead_s, next(self._number), loop, loop.create_future())
            heapq.heappush(self._waiting, waiting)
        self._serve(loop)
        await waiting.turn  # where it is cancelled, its place in the queue is passed over

    def refused(self, wait_s: float | None) -> None:
        """The provider said: too many. `wait_s`: it said for how long."""
        with self._lock:
            now_s = self._now_s()
            if wait_s:
                self._paused_until_s = max(self._paused_until_s, now_s + min(wait_s, _PAUSE_AT_MOST_S))
            if now_s - self._refused_at_s > _REFUSALS_ARE_ONE_S:
                self._slowness = min(_SLOWEST, self._slowness * _SLOWER)
                self._refused_at_s = now_s

    def answered(self) -> None:
        """The provider has answered: what refusals had slowed down gets quicker again."""
        if self._slowness > 1:
            with self._lock:
                self._slowness = max(1.0, self._slowness * _QUICKER)

    def _forget(self) -> None:
        self._latest_s = self._full_at_s = self._paused_until_s = self._refused_at_s = float("-inf")
        self._slowness = 1.0

    def _now_s(self) -> float:
        """By the loop's clock: one for all loops of a process, but for tests in which each begins anew."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._latest_s:
            self._forget()
        self._latest_s = now_s
        return now_s

    def _take(self, now_s: float) -> bool:
        if self._wait_s(now_s) > 0:
            return False
        self._full_at_s = max(self._full_at_s, now_s) + self._every_s * self._slowness
        return True

    def _wait_s(self, now_s: float) -> float:
        """Until the next question may be asked."""
        slack_s = self._slack_s if self._slowness == 1 else 0.0
        return max(self._full_at_s - slack_s, self._paused_until_s) - now_s

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """Lets in whose turn it is, on whatever loop; and looks again on this one while any of its own wait."""
        with self._lock:
            now_s = self._now_s()
            while self._waiting:
                if self._waiting[0].turn.cancelled() or self._waiting[0].loop.is_closed():
                    heapq.heappop(self._waiting)
                elif self._take(now_s):
                    self._let_in(heapq.heappop(self._waiting), loop)
                else:
                    break
            timer = self._timers.pop(loop, None)
            if timer is not None:
                timer.cancel()
            for ended in [each for each in self._timers if each.is_closed()]:
                del self._timers[ended]
            if any(each.loop is loop for each in self._waiting):
                self._timers[loop] = loop.call_later(max(0.001, self._wait_s(now_s)), self._serve, loop)

    @staticmethod
    def _let_in(waiting: _Waiting, loop: asyncio.AbstractEventLoop) -> None:
        def go() -> None:
            if not waiting.turn.done():
                waiting.turn.set_result(None)

        if waiting.loop is loop:
            go()
        else:
            try:
                waiting.loop.call_soon_threadsafe(go)
            except RuntimeError:  # its batch has ended this moment
                return


_rates: dict[tuple[str, ...], AskingRate] = {}
_rates_lock = threading.Lock()


def shared_rate(per_minute: int, *whose: str) -> AskingRate:
    """The rate that all in this process share who ask for the same account (`whose`: provider, address, account)."""
    with _rates_lock:
        rate = _rates.get(whose)
        if rate is None:
            rate = _rates[whose] = AskingRate(per_minute)
        else:
            rate.set(per_minute)
        return rate
