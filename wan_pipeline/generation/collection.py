"""Collection: a finished job's result is downloaded, so many at once and what nears its expiry first, and published.

The bytes go to the bucket's writer as they come and are hashed on the way; what has landed is proved to play, and only then
published under its final name. What does not belong here: asking whether the job is finished, and when a failed collection
is tried again (completion.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx

from wan_pipeline.generation.deadlines import urgency
from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.places import video_key
from wan_pipeline.generation.publishing import Collected, Proof, Sink, proven, publish, published
from wan_pipeline.generation.turns import Turns
from wan_pipeline.generation.useless import DownloadError, UselessError, judge
from wan_pipeline.providers.download import Downloader
from wan_pipeline.spend.records import Job

_CHUNK = 1 << 20
_LARGEST_VIDEO_BYTES = 1 << 30
_AT_ONCE = 12
_TRIES = 3
_RETRY_WAIT_S = 1.5
_DOWNLOAD_S = 1800.0  # a host that sends a byte now and then breaks no other limit
_STOP_GRACE_S = 15.0  # a video that has nearly arrived is let in

Proved = Callable[[], Awaitable[Job]]  # gives the job as the ledger has it then


class Collector:
    """Collects results for one batch: so many at once, and what nears its expiry first."""

    def __init__(self, desk: Desk, downloader: Downloader) -> None:
        self._desk = desk
        self._downloader = downloader
        self._turns = Turns(_AT_ONCE)

    async def published(self, job: Job) -> Collected | None:
        """What lies in the bucket already as this very job's video, by a process that died before the ledger knew."""
        return await self._desk.files(published, self._desk.bucket, job)

    async def collect(self, job: Job, url: str, proved: Proved | None = None) -> Collected:
        """Downloads, checks and publishes. Raises DownloadError after some tries.

        The ledger is told by `proved` alone, which is called when a video has come and before it is published: for a job
        of which nobody knows better that it is done. What comes in place of its video is not judged then.
        """
        seen: set[str] = set()
        for tried in range(1, _TRIES + 1):
            try:
                async with self._turn(job):
                    return await self._within_time(self._once(job, url, seen, proved, last=tried == _TRIES))
            except DownloadError as error:
                if error.expired or error.stopped or tried == _TRIES:
                    raise
            if await self._desk.sleep(_RETRY_WAIT_S * tried):
                break
        raise _stopped()

    @asynccontextmanager
    async def _turn(self, job: Job) -> AsyncGenerator[None]:
        """Raises DownloadError where the batch is stopped before it is this job's turn."""
        async with AsyncExitStack() as stack:
            mine = asyncio.create_task(stack.enter_async_context(self._turns.turn(urgency(job))))
            stopped = asyncio.create_task(self._desk.stopped.wait())
            try:
                await asyncio.wait({mine, stopped}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stopped.cancel()
                mine.cancel()
                await asyncio.wait({mine})
            if mine.cancelled() or self._desk.stopped.is_set():
                raise _stopped()
            yield

    async def _within_time(self, work: Coroutine[Any, Any, Collected]) -> Collected:
        """Ends the work when its time is up, or soon after the batch was stopped."""
        task = asyncio.create_task(work)
        stopped = asyncio.create_task(self._desk.stopped.wait())
        try:
            await asyncio.wait({task, stopped}, timeout=_DOWNLOAD_S, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and stopped.done():
                await asyncio.wait({task}, timeout=_STOP_GRACE_S)
        finally:
            in_time = task.done()
            stopped.cancel()
            task.cancel()
            await asyncio.wait({task})
        if not in_time:
            raise _stopped() if self._desk.stopped.is_set() else DownloadError("the download took too long")
        return task.result()

    async def _once(self, job: Job, url: str, seen: set[str], proved: Proved | None, *, last: bool) -> Collected:
        """`seen`: the hashes of what came in this batch and was useless."""
        key = video_key(job.shot, job.take)
        bucket = self._desk.bucket
        opened = await self._desk.files(Sink.open, bucket, key)
        proof: Proof | None = None
        try:
            try:
                await self._stream(url, opened)
                if proved is not None:
                    proof = await self._desk.files(proven, opened)
                    job = await proved()
            except BaseException as error:
                await asyncio.shield(self._desk.files(opened.discard, error))
                raise
            now = self._desk.parts.clock()
            if proof is None:
                return await self._desk.files(publish, bucket, job, key, opened, now)
            return await self._desk.files(publish, bucket, job, key, opened, now, proof)
        except UselessError as error:
            seen.add(error.sha256)
            if last and proved is None:
                await self._desk.files(judge, bucket, job, error, opened.spool, seen, self._desk.parts.clock())
            raise
        finally:
            opened.close()

    async def _stream(self, url: str, sink: Sink) -> None:
        try:
            async with self._downloader.stream(url) as response:
                if response.status_code in (401, 403, 404, 410):
                    raise DownloadError(f"the result's URL answers {response.status_code}", expired=True)
                if response.status_code != 200:
                    raise DownloadError(f"the result's URL answers {response.status_code}")
                promised = response.headers.get("content-length")
                if promised and promised.isdigit() and int(promised) > _LARGEST_VIDEO_BYTES:
                    said = f"the result says that it is {int(promised):,} bytes large"
                    raise UselessError(said, sink.size_bytes, sink.sha256, is_whole=False)
                writing: asyncio.Task[None] | None = None  # while it is written, what comes next is gathered
                async for pieces in _gathered(response):
                    if writing is not None:
                        await writing
                    writing = asyncio.create_task(self._desk.files(sink.write, pieces))
                    if sink.size_bytes > _LARGEST_VIDEO_BYTES:
                        said = f"the result is larger than {_LARGEST_VIDEO_BYTES:,} bytes"
                        raise UselessError(said, sink.size_bytes, sink.sha256, is_whole=False)
                if writing is not None:
                    await writing
                encoded = "content-encoding" in response.headers
                if promised and not encoded and promised.isdigit() and int(promised) != sink.size_bytes:
                    raise DownloadError(f"the download was cut: {sink.size_bytes:,} of {int(promised):,} bytes")
        except httpx.HTTPError as error:
            raise DownloadError(f"the download broke off: {type(error).__name__}") from None


async def _gathered(response: httpx.Response) -> AsyncGenerator[list[bytes]]:
    """The body in lists of about so many bytes: a thread writes each, and many small ones would cost more than the bytes."""
    pieces: list[bytes] = []
    size = 0
    async for piece in response.aiter_bytes():
        pieces.append(piece)
        size += len(piece)
        if size >= _CHUNK:
            yield pieces
            pieces, size = [], 0
    if pieces:
        yield pieces


def _stopped() -> DownloadError:
    return DownloadError("stopped while downloading; the next run collects it", stopped=True)
