"""Turns: so many at once, and of those who wait the most urgent next. Belongs to one event loop."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import count


class Turns:
    """`async with turns.turn(urgency)`: at most `at_once` are inside; the earliest `urgency` goes first, then who came
    first."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._number = count()

    @asynccontextmanager
    async def turn(self, urgency: datetime) -> AsyncGenerator[None]:
        await self._enter(urgency)
        try:
            yield
        finally:
            self._free += 1
            self._next()

    async def _enter(self, urgency: datetime) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (urgency, next(self._number), mine))
        self._next()
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # it was given just as its owner went away
                self._free += 1
                self._next()
            raise

    def _next(self) -> None:
        while self._free and self._waiting:
            _, _, mine = heapq.heappop(self._waiting)
            if not mine.done():
                self._free -= 1
                mine.set_result(None)
