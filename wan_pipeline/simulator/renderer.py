"""When videos are rendered: two at a time, in threads, the awaited ones first, safely beside other processes.

The threads belong to no event loop (in demo mode several loops share one simulator), and they do not hold up the end of
the process: what they were rendering is rendered again by whoever asks for it next.
"""

from __future__ import annotations

import atexit
import heapq
import logging
import os
import threading
import uuid
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.simulator.render import StoppedError, VideoOrder, render

_AT_ONCE = 2
_WAIT_AT_EXIT_S = 5.0
_log = logging.getLogger(__name__)


@dataclass
class _Task:
    order: VideoOrder
    target: Path
    future: Future[Path]
    begun: bool = False


class Renderer:
    """Renders videos into files that appear in one step."""

    def __init__(self, path_of: Callable[[str], Path]) -> None:
        self._path_of = path_of
        self._lock = threading.Condition()
        self._tasks: dict[Path, _Task] = {}
        self._queue: list[tuple[int, int, Path]] = []
        self._asked = 0
        self._threads: list[threading.Thread] = []
        self._stopping = False
        _at_exit(self)

    def request(self, order: VideoOrder, target: Path, *, awaited: bool = False) -> Future[Path]:
        """The video's file, as soon as it is there. Asked again with `awaited`, it goes before those that are not."""
        if target.exists():
            done: Future[Path] = Future()
            done.set_result(target)
            return done
        with self._lock:
            task = self._tasks.get(target)
            if task is None:
                task = self._tasks[target] = _Task(order, target, Future())
                self._enqueue(target, awaited)
            elif awaited:
                self._enqueue(target, awaited)  # the earlier entry finds nothing left to do
            if len(self._threads) < _AT_ONCE and not self._stopping:
                thread = threading.Thread(target=self._work, name="simulator-render", daemon=True)
                self._threads.append(thread)
                thread.start()
            return task.future

    def stop(self) -> None:
        """Ends the threads within a frame's time. What is not rendered yet stays for a later asker."""
        with self._lock:
            self._stopping = True
            for task in self._tasks.values():
                if not task.begun:
                    task.begun = True
                    task.future.set_exception(StoppedError("the simulator is about to end"))
            self._lock.notify_all()
        for thread in self._threads:
            thread.join(_WAIT_AT_EXIT_S)

    def _enqueue(self, target: Path, awaited: bool) -> None:
        self._asked += 1
        heapq.heappush(self._queue, (0 if awaited else 1, self._asked, target))
        self._lock.notify()

    def _work(self) -> None:
        while True:
            with self._lock:
                while not self._queue and not self._stopping:
                    self._lock.wait()
                if self._stopping:
                    return
                _, _, target = heapq.heappop(self._queue)
                task = self._tasks.get(target)
                if task is None or task.begun:
                    continue
                task.begun = True
            self._make(task)
            with self._lock:
                self._tasks.pop(target, None)

    def _make(self, task: _Task) -> None:
        temporary = task.target.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            if not task.target.exists():  # another process may have been quicker
                task.target.parent.mkdir(parents=True, exist_ok=True)
                render(task.order, self._path_of, temporary, lambda: self._stopping)
                os.replace(temporary, task.target)  # noqa: PTH105 - atomic over another process's
            task.future.set_result(task.target)
        except StoppedError as stopped:
            task.future.set_exception(stopped)
        except Exception as error:  # noqa: BLE001 - whatever went wrong belongs to whoever awaits the file
            _log.warning("the simulator could not render %s: %s", task.target.name, error)
            task.future.set_exception(error)
        finally:
            temporary.unlink(missing_ok=True)


def _at_exit(renderer: Renderer) -> None:
    reference = weakref.ref(renderer)

    def stop() -> None:
        alive = reference()
        if alive is not None:
            alive.stop()

    atexit.register(stop)
