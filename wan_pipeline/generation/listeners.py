"""Who watches the batches of this process: callbacks that are told every event of every engine.

The engine's caller tells: Dagster's op calls `notify(event)` for each event that its batch yields. The command line
subscribes, to draw its progress over runs that Dagster executes in its process. Nobody has to listen.

What does not belong here: what an event means, and anything that could change what is bought.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from wan_pipeline.generation.events import Event

Listener = Callable[[Event], None]

_lock = threading.Lock()
_listeners: tuple[Listener, ...] = ()


@contextmanager
def subscribe(listener: Listener) -> Generator[None]:
    """Within this block `listener` is called with every event, from the threads of the ops that notify.

    It must be quick and may be called from several threads at once. An error of it comes out of `notify`: whoever
    listens badly stops the batch, which loses nothing.
    """
    global _listeners
    with _lock:
        _listeners = (*_listeners, listener)
    try:
        yield
    finally:
        with _lock:
            _listeners = tuple(other for other in _listeners if other is not listener)


def notify(event: Event) -> None:
    """Tell every listener. Costs nothing where there is none."""
    for listener in _listeners:
        listener(event)
