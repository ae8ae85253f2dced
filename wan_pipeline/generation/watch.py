"""The jobs of one lane that are waited for: each sleeps until it is asked about, is told that it has ended, or is stopped.

What belongs here: sleeping and waking. What does not: when to ask (pace.py), and reading the list (list_reading.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from enum import Enum
from typing import Any, TypeVar

from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.pace import Pace, UsualTimes
from wan_pipeline.providers.base import Succeeded
from wan_pipeline.spend.records import Job

T = TypeVar("T")
_STOP_GRACE_S = 5.0  # an answer that has nearly arrived is let in


class Woken(Enum):
    """Why a sleep has ended."""

    STOPPED = "the batch is stopped"
    DUE = "it is time to ask"
    ENDED = "a list shows it as ended"
    AGAIN = "what was relied on is no more: the wait is to be computed anew"


class Watched:
    """One job that is waited for. Belongs to one event loop.

    `began_s`: when it was submitted, by the loop's clock; `age_s` counts from then. `covered`: a list is read in which its
    end would show. `told`: what the list has said of its end, where a row was all that is needed; `hinted`: the list shows
    it as ended, and it is to be asked about. `listable`: not while it has to be asked about first.
    """

    def __init__(self, desk: Desk, job: Job, provider_job_id: str, times: UsualTimes, out_s: float) -> None:
        self.provider_job_id = provider_job_id
        self.told: Succeeded | None = None
        self.hinted = False
        self.covered = False
        self.listable = True
        self.known_to_run_s = 0.0
        self._desk = desk
        self._times = times
        self._kind = (job.duration_s, job.resolution, job.has_audio)
        self.began_s = asyncio.get_running_loop().time() - out_s
        self._signal: asyncio.Future[None] | None = None
        self.runs(0.0)

    @property
    def age_s(self) -> float:
        return asyncio.get_running_loop().time() - self.began_s

    @property
    def pace(self) -> Pace:
        """Of its model and settings, as known at present."""
        return self._times.pace(self._kind)

    def runs(self, age_s: float) -> None:
        """It was not at its end when it was so old."""
        self.known_to_run_s = max(self.known_to_run_s, age_s)
        self._times.runs(self._kind, self.provider_job_id, self.known_to_run_s)

    def took(self) -> None:
        """It is known to be done now: its time is learned."""
        self._times.learn(self._kind, self.age_s, min(self.known_to_run_s, self.age_s))

    def over(self) -> None:
        """It is not waited for any more."""
        self._times.over(self._kind, self.provider_job_id)

    def tell(self, outcome: Succeeded | None) -> None:
        """The list shows that it has ended, and how, where the row is all that is needed."""
        self.told, self.hinted = outcome, outcome is None
        self.wake()

    def uncover(self) -> None:
        """No list is read for it any more."""
        if self.covered:
            self.covered = False
            self.wake()

    def wake(self) -> None:
        if self._signal is not None and not self._signal.done():
            self._signal.set_result(None)

    async def sleep(self, seconds: float) -> Woken:
        """Until it is time, or something wakes it."""
        if not self._woken():
            self._signal = asyncio.get_running_loop().create_future()
            timer = asyncio.get_running_loop().call_later(max(0.0, seconds), self.wake)
            until_s = self.age_s + seconds
            try:
                await self._signal
            finally:
                timer.cancel()
                self._signal = None
            if not self._woken():
                return Woken.DUE if self.age_s >= until_s - 0.001 else Woken.AGAIN
        return Woken.STOPPED if self._desk.stopped.is_set() else Woken.ENDED

    async def unless_told(self, asking: Coroutine[Any, Any, T]) -> T | None:
        """The answer. None: meanwhile the list has told it, or the batch was stopped; it only asked, so it is let go of."""
        task = asyncio.ensure_future(asking)
        try:
            while not task.done():
                self._signal = asyncio.get_running_loop().create_future()
                await asyncio.wait({task, self._signal}, return_when=asyncio.FIRST_COMPLETED)
                if not task.done() and self._desk.stopped.is_set():
                    await asyncio.wait({task}, timeout=_STOP_GRACE_S)
                    break
                if self.told is not None:
                    break
        finally:
            self._signal = None
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        return None if task.cancelled() else task.result()

    def _woken(self) -> bool:
        return self._desk.stopped.is_set() or self.told is not None or self.hinted


class Watch:
    """All of a lane."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._jobs: dict[str, Watched] = {}
        self._accepted_s: dict[str, float] = {}
        self._stopping = False
        self._until: tuple[int, asyncio.Future[None]] | None = None

    @property
    def jobs(self) -> dict[str, Watched]:
        """By the provider's id."""
        return self._jobs

    @contextmanager
    def over(self, job: Job, provider_job_id: str, times: UsualTimes, out_s: float) -> Generator[Watched]:
        """Watches the job, which was submitted `out_s` ago, for as long as the block lasts."""
        if not self._stopping:
            self._stopping = True
            self._desk.aside(self._wake_all_when_stopped())
        accepted_s = self._accepted_s.pop(provider_job_id, None)
        if accepted_s is not None:  # to write it down may have taken seconds, where hundreds are submitted at once
            out_s = max(out_s, asyncio.get_running_loop().time() - accepted_s)
        watched = self._jobs[provider_job_id] = Watched(self._desk, job, provider_job_id, times, out_s)
        if self._until is not None and len(self._jobs) >= self._until[0] and not self._until[1].done():
            self._until[1].set_result(None)
        try:
            yield watched
        finally:
            if self._jobs.get(provider_job_id) is watched:
                del self._jobs[provider_job_id]
            watched.over()

    async def until_there_are(self, count: int) -> None:
        """Waits until so many jobs are watched. One waits at a time."""
        if len(self._jobs) < count:
            self._until = (count, asyncio.get_running_loop().create_future())
            await self._until[1]

    def accepted(self, provider_job_id: str) -> None:
        """The provider has taken this job now."""
        self._accepted_s[provider_job_id] = asyncio.get_running_loop().time()

    async def _wake_all_when_stopped(self) -> None:
        await self._desk.stopped.wait()
        for watched in list(self._jobs.values()):
            watched.wake()
