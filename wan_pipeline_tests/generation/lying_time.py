"""Time that costs nothing: an event loop whose clock jumps to the next thing to happen as soon as nothing is left to do.

Hours of waiting, a client's whole patience and a provider's generation pass in no time, and a history that is played
again goes the same way. What threads would do is done in the loop, after a moment (of its time) that a seed decides, so
that two engines in one loop meet each other in ever new orders. What does not belong here: who dies, and who lies.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import selectors
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from unittest import mock

T = TypeVar("T")
EPOCH = datetime(2026, 11, 20, 11, 0, tzinfo=UTC)
_A_THREAD_TAKES_S = 0.002
_NOBODY_MOVES = "everybody waits, and nothing will ever happen"


class StandstillError(RuntimeError):
    """The program hangs: no timer is set, nothing is ready."""


class TooLongError(RuntimeError):
    """More than the allowed time (of the loop's clock) has passed."""


class _Selector(selectors.SelectSelector):
    """Looks at no socket: where the loop would sleep, it moves the clock on."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            self.loop.stand_still()
        elif timeout > 0:
            self.loop.pass_time(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """See above. `on_task` hears of each new task; `refuses` says whether the caller's process may do nothing more."""

    def __init__(self, seed: int = 0) -> None:
        self._now_s = 0.0
        self._latest_s = float("inf")
        self._random = random.Random(seed)
        self.on_task: Callable[[asyncio.Task[Any], contextvars.Context], None] = lambda task, context: None
        self.is_gone: Callable[[BaseException | None], bool] = lambda error: False
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)
        self.set_task_factory(self._task)  # pyright: ignore[reportArgumentType]
        self.complaints: list[str] = []
        self.set_exception_handler(lambda loop, context: self.complaints.append(str(context.get("message"))))

    def time(self) -> float:
        return self._now_s

    def pass_time(self, seconds: float) -> None:
        self._now_s += seconds
        if self._now_s > self._latest_s:
            self._latest_s = float("inf")
            raise TooLongError(f"{self._now_s:,.0f} s have passed")

    def stand_still(self) -> None:
        raise StandstillError(_NOBODY_MOVES)

    def run(self, work: Coroutine[Any, Any, T], at_most_s: float) -> T:
        """Until `work` is done; raises StandstillError and TooLongError for what would hang or drag on for ever."""
        self._latest_s = self._now_s + at_most_s
        asyncio.set_event_loop(self)
        try:
            return self.run_until_complete(work)
        finally:
            self._latest_s = float("inf")
            asyncio.set_event_loop(None)

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """In the loop, a moment later. A process that has died in it never hears how it went."""
        future: asyncio.Future[T] = self.create_future()
        if self.is_gone(None):
            future.cancel()
            return future

        def work() -> None:
            if future.cancelled() or self.is_gone(None):
                return
            try:
                result = func(*args)
            except BaseException as error:  # noqa: BLE001 - as an executor does
                if not self.is_gone(error) and not future.cancelled():
                    future.set_exception(error)
            else:
                if not future.cancelled():
                    future.set_result(result)

        self.call_later(self._random.random() * _A_THREAD_TAKES_S, work)
        return future

    def _task(
        self, loop: asyncio.AbstractEventLoop, work: Any, context: contextvars.Context | None = None, **named: Any
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context, **named)
        self.on_task(task, context or contextvars.copy_context())
        return task


@contextmanager
def threadless() -> Generator[None]:
    """anyio's threads (Starlette serves files by them) go the way of the loop's own."""

    async def run_sync(func: Callable[..., T], *args: Any, **named: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, func, *args)

    with mock.patch("anyio.to_thread.run_sync", run_sync):
        yield


class Clocks:
    """The world's time, and that of three machines whose clocks are set wrong now and then."""

    NAMES = ("ledger", "engine", "simulator")

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._slept = timedelta(0)
        self.skew: dict[str, timedelta] = dict.fromkeys(self.NAMES, timedelta(0))

    def world(self) -> datetime:
        return EPOCH + self._slept + timedelta(seconds=self._loop.time())

    def read(self, name: str) -> datetime:
        return self.world() + self.skew[name]

    def sleep(self, seconds: float) -> None:
        """Nobody is at work meanwhile."""
        self._slept += timedelta(seconds=seconds)

    def engine(self) -> datetime:
        return self.read("engine")

    def ledger(self) -> datetime:
        return self.read("ledger")

    def simulator_s(self) -> float:
        return self.read("simulator").timestamp()
