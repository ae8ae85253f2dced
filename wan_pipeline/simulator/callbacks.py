"""Calling back whoever wants to be told of a job's end: ShortAPI's `callback_url`, WaveSpeed's `?webhook=`.

A call waits in the books until the job ends, so it outlives the process that took the order. It is sent at least once:
tried again a few times unless it was answered with 2xx, and by another process where one died over it. Nothing that
goes wrong with it touches the job. What a call says is in the providers' modules.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx

from wan_pipeline.simulator.books import Books
from wan_pipeline.simulator.orders import only_host
from wan_pipeline.simulator.records import Job

_TIMEOUT_S = 10.0
_TAKEN_FOR_S = 30.0  # a call that nobody has reported on after this is anybody's again
_AT_ONCE = 50
_LOOK_EVERY_S = 0.1  # the clock may be one that jumps


@dataclass(frozen=True)
class Message:
    """The body of a call, and its headers."""

    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class _Due:
    id: int
    job: Job
    url: str
    base_url: str
    tries: int


Compose = Callable[[Job, str], Message]


class Callbacks:
    """Makes the calls that are due. `compose` says by provider what to tell of a job, with URLs below a base."""

    def __init__(
        self,
        books: Books,
        compose: Mapping[str, Compose],
        retries_s: tuple[float, ...],
        client: httpx.AsyncClient | None,
        *,
        automatic: bool,
    ) -> None:
        self._books = books
        self._compose = compose
        self._retries_s = retries_s
        self._client = client
        self._automatic = automatic
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def wake(self) -> None:
        """Sees to it that a thread makes the calls that wait in the books, as they get due. It ends with the last one."""
        if not self._automatic or self._stopping.is_set():
            return
        with self._lock:
            if self._thread is None and self._pending():
                self._thread = threading.Thread(target=self._work, name="simulator-callbacks", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Ends the thread. What was not sent yet is sent by a later process."""
        self._stopping.set()
        thread = self._thread
        if thread is not None:
            thread.join(_TIMEOUT_S + 1)

    async def deliver_due(self) -> int:
        """Makes the calls that are due by now; gives how many there were."""
        due = self._take()
        if not due:
            return 0
        if self._client is not None:
            await asyncio.gather(*[self._deliver(self._client, each) for each in due])
            return len(due)
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
            await asyncio.gather(*[self._deliver(client, each) for each in due])
        return len(due)

    async def _deliver(self, client: httpx.AsyncClient, due: _Due) -> None:
        status, trouble = None, None
        try:
            message = self._compose[due.job.provider](due.job, due.base_url)
            async with asyncio.timeout(_TIMEOUT_S):
                answer = await client.post(due.url, content=message.body, headers=dict(message.headers))
            status = answer.status_code
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the receiver's trouble, and written down
            trouble = type(error).__name__  # its text may hold the URL, whose path may be a secret
        self._report(due, status, trouble)

    def _work(self) -> None:
        while not self._stopping.is_set():
            if self._is_due(round(self._books.now_s() * 1_000_000)):
                asyncio.run(self.deliver_due())
            with self._lock:
                if not self._pending():
                    self._thread = None
                    self._books.close()
                    return
            self._stopping.wait(_LOOK_EVERY_S)
        self._books.close()

    def _pending(self) -> bool:
        return bool(self._books.select("SELECT 1 FROM callbacks WHERE next_us IS NOT NULL LIMIT 1"))

    def _is_due(self, now_us: int) -> bool:
        return bool(self._books.select("SELECT 1 FROM callbacks WHERE next_us <= ? LIMIT 1", now_us))

    def _take(self) -> list[_Due]:
        """Takes what is due, for so long that two processes do not make the same call at once."""
        now_us = round(self._books.now_s() * 1_000_000)
        if not self._is_due(now_us):
            return []
        with self._books.transaction() as database:
            rows = database.execute(
                "UPDATE callbacks SET tries = tries + 1, next_us = ? WHERE id IN"
                " (SELECT id FROM callbacks WHERE next_us <= ? ORDER BY next_us LIMIT ?)"
                " RETURNING id, job_id, url, base_url, tries",
                (now_us + round(_TAKEN_FOR_S * 1_000_000), now_us, _AT_ONCE),
            ).fetchall()
        jobs = {row[1]: self._books.job(row[1]) for row in rows}
        return [_Due(row[0], job, row[2], row[3], row[4]) for row in rows if (job := jobs[row[1]]) is not None]

    def _report(self, due: _Due, status: int | None, trouble: str | None) -> None:
        host = only_host(due.url)
        done = status is not None and 200 <= status < 300
        with self._books.transaction() as database:
            now_us = round(self._books.now_s() * 1_000_000)
            database.execute(
                "INSERT INTO deliveries (job_id, provider, host, at_us, status, error) VALUES (?, ?, ?, ?, ?, ?)",
                (due.job.id, due.job.provider, host, now_us, status, trouble),
            )
            if done or due.tries > len(self._retries_s):
                database.execute("UPDATE callbacks SET next_us = NULL, url = ? WHERE id = ?", (host, due.id))
            else:
                next_us = now_us + round(self._retries_s[due.tries - 1] * 1_000_000)
                database.execute("UPDATE callbacks SET next_us = ? WHERE id = ?", (next_us, due.id))
