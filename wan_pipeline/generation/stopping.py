"""Stops the batches of this process, from any thread: Ctrl-C reaches the main thread, batches run in others.

What belongs here: who is to be told. What stopping means is the engine's own matter (`Engine.stop`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

Stop = Callable[[], None]

_lock = threading.Lock()
_stops: list[Stop] = []
_asked = False


@contextmanager
def stoppable(stop: Stop) -> Generator[None]:
    """Within this block `stop_all` calls `stop`; at once where it was called before. `stop` must be quick."""
    with _lock:
        _stops.append(stop)
        asked = _asked
    if asked:
        stop()
    try:
        yield
    finally:
        with _lock:
            _stops.remove(stop)


def stop_all() -> None:
    """Every batch of this process, those that begin later included, buys nothing more and ends as soon as all that it
    has sent is written down."""
    global _asked
    with _lock:
        _asked = True
        told = list(_stops)
    for stop in told:
        stop()
