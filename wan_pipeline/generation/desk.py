"""What every step of a batch needs at hand: the ledger and the bucket without blocking the loop, and the stop signal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from wan_pipeline.generation.parts import EngineParts

P = ParamSpec("P")
T = TypeVar("T")

_LEDGER_THREADS = 4
_FILE_THREADS = 16
_INPUT_THREADS = 8  # apart from those: thousands of inputs to read must not stand before a video that has arrived


class Desk:
    """One for each batch; belongs to its event loop. Leave it through `close`."""

    def __init__(self, parts: EngineParts) -> None:
        self.parts = parts
        self.bucket = parts.bucket
        self.ledger = parts.ledger
        self.stopped = asyncio.Event()
        self.hurried = False  # stopped, and what had not set out is left alone
        self.posted: set[str] = set()  # attempts that this batch has sent, or was about to
        self.disowned: set[str] = set()  # attempts that were found unsent, and are not to be sent any more
        self._aside: set[asyncio.Task[None]] = set()
        self._ledger_threads = ThreadPoolExecutor(_LEDGER_THREADS, thread_name_prefix="wan-ledger")
        self.input_threads = ThreadPoolExecutor(_INPUT_THREADS, thread_name_prefix="wan-inputs")
        self._file_threads = ThreadPoolExecutor(_FILE_THREADS, thread_name_prefix="wan-files")

    async def record(self, call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Calls a method of the ledger in one of its threads. Once begun it is carried through, cancelled or not."""
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._ledger_threads, lambda: call(*arguments, **named)))

    def aside(self, work: Coroutine[Any, Any, None]) -> None:
        """Does this beside everything else, at most until the batch ends. It raises nothing."""
        task = asyncio.create_task(work)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def end_asides(self) -> None:
        """The batch ends: whatever is still done aside is let go of."""
        asides = list(self._aside)
        for task in asides:
            task.cancel()
        await asyncio.gather(*asides, return_exceptions=True)

    async def files(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Runs blocking work on files in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._file_threads, lambda: work(*arguments, **named))

    async def sleep(self, seconds: float) -> bool:
        """Sleeps, or wakes early where the batch is stopped. True: stopped."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return self.stopped.is_set()
        try:
            await asyncio.wait_for(self.stopped.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Waits for what the threads are doing."""
        self._ledger_threads.shutdown(wait=True)
        self.input_threads.shutdown(wait=True)
        self._file_threads.shutdown(wait=True)
