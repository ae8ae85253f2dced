"""Who of a batch sets out when: in their order, and only so many at once on their way to a place at their provider.

All at once, a thousand shots that will wait for minutes would be read, hashed, quoted and looked up before the first is
submitted, and their memory would be the batch's. What has a job already sets out at once: it is paid for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeVar

from wan_pipeline.shots.shot import Shot

AHEAD = 32  # of each provider: what takes milliseconds each, while a place comes free every tenth of a second at best
T = TypeVar("T")


class Turn:
    """A shot's own. Its way to a place is over once it has one, or needs none; then the next sets out."""

    def __init__(self, ahead: asyncio.Semaphore | None = None) -> None:
        self._ahead = ahead

    def over(self) -> None:
        """However often it is said."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.release()


async def in_turn(
    shots: Sequence[Shot], at_once: Collection[str], one: Callable[[Shot, Turn], Awaitable[T]], ahead: int = AHEAD
) -> list[T]:
    """What `one` gives for each shot, in their order. `at_once`: the keys of those that wait for nobody. A provider's shots
    wait for no other provider's."""
    ends: dict[int, T] = {}

    async def set_out(number: int, turn: Turn) -> None:
        try:
            ends[number] = await one(shots[number], turn)
        finally:
            turn.over()

    async def along(line: Sequence[int]) -> None:
        places = asyncio.Semaphore(ahead)
        for number in line:
            await places.acquire()
            group.create_task(set_out(number, Turn(places)))

    lines: dict[str, list[int]] = {}
    try:
        async with asyncio.TaskGroup() as group:
            for number, shot in enumerate(shots):
                if shot.key in at_once:
                    group.create_task(set_out(number, Turn()))
                else:
                    lines.setdefault((shot.model_id or "").partition("/")[0], []).append(number)
            for line in lines.values():
                group.create_task(along(line))
    except ExceptionGroup as several:  # `one` foresees what a shot may come to: what it raises is the batch's own end
        raise several.exceptions[0] from None
    if len(ends) < len(shots):  # a task group passes over a task of its own that was cancelled from elsewhere
        raise asyncio.CancelledError
    return [ends[number] for number in range(len(shots))]
