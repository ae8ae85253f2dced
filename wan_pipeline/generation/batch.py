"""A batch in a thread of its own: the engine's loop is never in the way of the caller, nor the caller in the loop's.

Dagster's op logs events (milliseconds each, in its own thread) while the engine here goes on polling and downloading.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType

from wan_pipeline.generation.engine import Engine
from wan_pipeline.generation.events import Event, Finished, Stage
from wan_pipeline.generation.parts import EngineParts
from wan_pipeline.generation.stopping import stoppable
from wan_pipeline.shots.shot import Shot
from wan_pipeline.spend.records import ClaimOptions

_GATHER_S = 1.0  # told meanwhile, stored in one transaction; the first places are filled before that begins
_LOOK_AGAIN_S = 0.5  # so that a signal is served while nothing happens


class Batch:
    """`with Batch(...) as batch: for event in batch.events(): ...`, then `batch.results`.

    Leaving the block by an exception (an interruption included) stops the engine: it buys nothing more, and the block
    is left once all that was sent is written down.
    """

    def __init__(
        self, parts: EngineParts, shots: Sequence[Shot], stage: Stage, options: ClaimOptions, run_id: str | None = None
    ) -> None:
        self._engine = Engine(parts)
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._group: list[Event] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._work, args=(list(shots), stage, options, run_id), name="wan-engine", daemon=False
        )
        self._stoppable = ExitStack()
        self.results: list[Finished] = []

    def __enter__(self) -> Batch:
        self._stoppable.enter_context(stoppable(lambda: self._engine.stop(hurried=True)))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._engine.stop()
        self._thread.join()
        self._stoppable.close()

    def events(self) -> Iterator[Event]:
        """The engine's events as they come; ends when every shot is finished. Raises what the engine died of."""
        while True:
            try:
                event = self._events.get(timeout=_LOOK_AGAIN_S)
            except queue.Empty:
                continue
            if event is None:
                break
            yield event
        if self._error is not None:
            raise self._error

    def groups(self, at_most: int) -> Iterator[list[Event]]:
        """As `events`, with what is told within a moment in one list. Whoever iterates takes out of the list what is seen
        to; what is still in it when an error leaves the block is part of the `rest`."""
        for first in self.events():
            self._group.append(first)
            until = time.monotonic() + _GATHER_S
            while len(self._group) < at_most:
                try:
                    event = self._events.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    break
                if event is None:
                    self._events.put(None)  # for `events`, which ends by it
                    break
                self._group.append(event)
            yield self._group

    def rest(self) -> list[Event]:
        """What was told and not taken: for after the block, when an error has left it and nothing more is told."""
        found = self._group
        while True:
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                return found
            if event is not None:
                found.append(event)

    def _work(self, shots: list[Shot], stage: Stage, options: ClaimOptions, run_id: str | None) -> None:
        try:
            self.results = asyncio.run(self._engine.run(shots, stage, options, self._events.put, run_id))
        except BaseException as error:  # noqa: BLE001 - handed to the thread that called, which raises it
            self._error = error
        finally:
            self._events.put(None)
