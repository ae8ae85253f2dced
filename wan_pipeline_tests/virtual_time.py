"""An event loop whose clock jumps to the next timer, so that minutes of waiting are tested in no time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


def on_virtual_time(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Runs on a loop whose clock jumps to the next timer instead of waiting."""
    loop = asyncio.new_event_loop()
    now = [0.0]
    loop.time = lambda: now[0]  # type: ignore[method-assign]
    select = loop._selector.select  # type: ignore[attr-defined]

    def jump(timeout: float | None) -> Any:
        if timeout:
            now[0] += timeout
        return select(0)

    loop._selector.select = jump  # type: ignore[attr-defined]
    try:
        return loop.run_until_complete(work())
    finally:
        loop.close()
