"""Collection: a finished video is streamed into the bucket, checked, and published with its poster and manifest.

The bytes go to the bucket's writer and to a spool on this machine at once; the spool is hashed and probed, and only what
can be played is published under its final name, in one step. A process that dies in between leaves nothing, or all; what
it published and could not tell the ledger is found by its manifest. What does not belong here: asking whether it is
finished, and when a failed collection is tried again (completion.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import tempfile
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, cast

import httpx

from wan_pipeline.bucket import Bucket, BucketWriter, ObjectNotFoundError
from wan_pipeline.generation.deadlines import is_enough, is_over, urgency
from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.events import CheckResult
from wan_pipeline.generation.manifest import bill_at_storing, kept_manifest, manifest
from wan_pipeline.generation.turns import Turns
from wan_pipeline.media.info import UnreadableMediaError, VideoInfo
from wan_pipeline.providers.download import Downloader
from wan_pipeline.providers.words import shown
from wan_pipeline.spend.records import Job, StoredVideo

_CHUNK = 1 << 20
_SPOOL_IN_MEMORY_BYTES = 4 << 20
_LARGEST_VIDEO_BYTES = 1 << 30
_AT_ONCE = 12
_TRIES = 3
_RETRY_WAIT_S = 1.5
_DOWNLOAD_S = 1800.0  # a host that sends a byte now and then breaks no other limit
_STOP_GRACE_S = 15.0  # a video that has nearly arrived is let in
_PAGE_BYTES = 512  # a page is known by its beginning
_SEEN = re.compile(r"sha256 ([0-9a-f]{64}), in (\d+) batch")


class DownloadError(RuntimeError):
    """The result could not be had this time. `expired`: its URL is refused, the job must be asked for a new one.
    `stopped`: for no other reason than that the batch was."""

    def __init__(self, reason: str, *, expired: bool = False, stopped: bool = False) -> None:
        super().__init__(reason)
        self.expired = expired
        self.stopped = stopped


class UselessError(DownloadError):
    """It came, and is no video that can be played, or too large. `final`: nothing else will ever come; then `kept_key`
    says where it lies for inspection, where it was kept."""

    def __init__(self, reason: str, sha256: str, *, is_page: bool = False, is_whole: bool = True) -> None:
        super().__init__(reason)
        self.sha256 = sha256  # of what was read of it
        self.is_whole = is_whole
        self.is_page = is_page  # a page in place of the video ("back soon") says nothing about what comes later
        self.final = False
        self.kept_key: str | None = None


@dataclass(frozen=True, slots=True)
class Collected:
    video: StoredVideo
    checks: tuple[CheckResult, ...]


def video_key(shot: str, take: int) -> str:
    """Where the video of a take lies in the bucket."""
    return f"videos/{shot}/take-{take}.mp4"


def beside(key: str, ending: str) -> str:
    """The key of a video's companion: its poster or manifest."""
    return key.removesuffix(".mp4") + ending


class Collector:
    """Collects results for one batch: so many at once, and what nears its expiry first."""

    def __init__(self, desk: Desk, downloader: Downloader) -> None:
        self._desk = desk
        self._downloader = downloader
        self._turns = Turns(_AT_ONCE)

    async def published(self, job: Job) -> Collected | None:
        """What lies in the bucket already as this very job's video, by a process that died before the ledger knew."""
        return await self._desk.files(_published, self._desk.bucket, job)

    async def collect(self, job: Job, url: str) -> Collected:
        """Downloads, checks and publishes; the ledger is not told here. Raises DownloadError after some tries."""
        seen: set[str] = set()
        for tried in range(1, _TRIES + 1):
            try:
                async with self._turn(job):
                    return await self._within_time(self._once(job, url, seen, last=tried == _TRIES))
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

    async def _once(self, job: Job, url: str, seen: set[str], *, last: bool) -> Collected:
        """`seen`: the hashes of what came in this batch and was useless."""
        key = video_key(job.shot, job.take)
        bucket = self._desk.bucket
        with ExitStack() as cleanup:
            spool = cast(BinaryIO, cleanup.enter_context(tempfile.SpooledTemporaryFile(_SPOOL_IN_MEMORY_BYTES)))
            opened = await self._desk.files(_Sink.open, bucket, key, spool)
            try:
                try:
                    await self._stream(url, opened)
                except BaseException as error:
                    await asyncio.shield(self._desk.files(opened.discard, error))
                    raise
                return await self._desk.files(_finish, bucket, job, key, opened, self._desk.parts.clock())
            except UselessError as error:
                seen.add(error.sha256)
                if last:
                    await self._judge(job, error, opened, seen)
                raise

    async def _judge(self, job: Job, error: UselessError, sink: _Sink, seen: set[str]) -> None:
        """Whether what came is all that will ever come: then it is kept for inspection."""
        before = _SEEN.search(job.error or "")
        times = 1
        if before is not None and before[1] == error.sha256 and seen == {error.sha256}:
            times += int(before[2])
        now = self._desk.parts.clock()
        error.final = is_over(job, now) or (is_enough(times) and not error.is_page)
        read = "" if error.is_whole else "first "
        said = f"{error} ({read}{sink.size_bytes:,} bytes: sha256 {error.sha256}, in {times} batch{'es' * (times > 1)})"
        error.args = (said,)
        if error.final:
            error.kept_key = await self._desk.files(_keep, self._desk.bucket, job, sink, error, now)

    async def _stream(self, url: str, sink: _Sink) -> None:
        try:
            async with self._downloader.stream(url) as response:
                if response.status_code in (401, 403, 404, 410):
                    raise DownloadError(f"the result's URL answers {response.status_code}", expired=True)
                if response.status_code != 200:
                    raise DownloadError(f"the result's URL answers {response.status_code}")
                promised = response.headers.get("content-length")
                if promised and promised.isdigit() and int(promised) > _LARGEST_VIDEO_BYTES:
                    raise UselessError(
                        f"the result says that it is {int(promised):,} bytes large", sink.sha256, is_whole=False
                    )
                async for chunk in response.aiter_bytes(_CHUNK):
                    await self._desk.files(sink.write, chunk)
                    if sink.size_bytes > _LARGEST_VIDEO_BYTES:
                        raise UselessError(
                            f"the result is larger than {_LARGEST_VIDEO_BYTES:,} bytes", sink.sha256, is_whole=False
                        )
                encoded = "content-encoding" in response.headers
                if promised and not encoded and promised.isdigit() and int(promised) != sink.size_bytes:
                    raise DownloadError(f"the download was cut: {sink.size_bytes:,} of {int(promised):,} bytes")
        except httpx.HTTPError as error:
            raise DownloadError(f"the download broke off: {type(error).__name__}") from None


class _Sink:
    """The bucket's writer and the local spool, fed together."""

    def __init__(self, manager: AbstractContextManager[BucketWriter], writer: BucketWriter, spool: BinaryIO) -> None:
        self._manager = manager
        self._writer = writer
        self._digest = hashlib.sha256()
        self.spool = spool
        self.size_bytes = 0

    @classmethod
    def open(cls, bucket: Bucket, key: str, spool: BinaryIO) -> _Sink:
        manager = bucket.writer(key, "video/mp4")
        return cls(manager, manager.__enter__(), spool)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, chunk: bytes) -> None:
        self._writer.write(chunk)
        self.spool.write(chunk)
        self._digest.update(chunk)
        self.size_bytes += len(chunk)

    def publish(self) -> None:
        self._manager.__exit__(None, None, None)

    def discard(self, error: BaseException) -> None:
        self._manager.__exit__(type(error), error, error.__traceback__)


def _stopped() -> DownloadError:
    return DownloadError("stopped while downloading; the next run collects it", stopped=True)


def _published(bucket: Bucket, job: Job) -> Collected | None:
    key = video_key(job.shot, job.take)
    try:
        text: dict[str, Any] = json.loads(bucket.read(beside(key, ".json")))
        row: dict[str, Any] = text["job"]
        if row["id"] != job.id or text["reused_from"] is not None or bucket.stat(key).size_bytes != row["video_bytes"]:
            return None
        digest = hashlib.sha256()
        with bucket.open(key) as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
        if digest.hexdigest() != row["video_sha256"]:
            return None
        video = StoredVideo(
            row["video_uri"], key, row["video_sha256"], row["video_bytes"], row["video_duration_s"], row["poster_uri"]
        )
        return Collected(
            video, tuple(CheckResult(each["name"], each["passed"], each["detail"]) for each in text["checks"])
        )
    except (ObjectNotFoundError, ValueError, KeyError, TypeError):  # none there, or not one of this program's
        return None


def _keep(bucket: Bucket, job: Job, sink: _Sink, error: UselessError, now: datetime) -> str:
    """Puts what cannot be used beside where the video would lie, with a manifest that says whose it is. What is too large
    was cut, so it is not kept itself."""
    key = beside(video_key(job.shot, job.take), ".unplayable")
    if error.is_whole:
        sink.spool.seek(0)
        with bucket.writer(key, "application/octet-stream") as writer:
            while chunk := sink.spool.read(_CHUNK):
                writer.write(chunk)
    kept = key if error.is_whole else None
    text = kept_manifest(job, key=kept, size_bytes=sink.size_bytes, sha256=error.sha256, reason=str(error), now=now)
    bucket.write(f"{key}.json", text, "application/json")
    return kept or f"{key}.json"


def _is_page(sink: _Sink) -> bool:
    """Text, or nothing: no file of a video begins like that."""
    sink.spool.seek(0)
    beginning = sink.spool.read(_PAGE_BYTES)
    return all(byte in b"\t\n\r" or 32 <= byte < 127 or byte >= 128 for byte in beginning)


def _finish(bucket: Bucket, job: Job, key: str, sink: _Sink, now: datetime) -> Collected:
    """Checks the spooled bytes, then publishes video, poster and manifest. Runs in a thread."""
    from wan_pipeline.media.poster import make_poster
    from wan_pipeline.media.probe import probe_video

    try:
        sink.spool.seek(0)
        probed = probe_video(sink.spool, sink.size_bytes)
        sink.spool.seek(0)
        poster = make_poster(sink.spool)
    except UnreadableMediaError as error:
        sink.discard(error)
        said = f"the result is no video that can be played: {shown(str(error))}"
        raise UselessError(said, sink.sha256, is_page=_is_page(sink)) from None
    except BaseException as error:
        sink.discard(error)
        raise
    sink.publish()
    poster_key = beside(key, ".webp")
    bucket.write(poster_key, poster, "image/webp")
    video = StoredVideo(
        uri=bucket.uri(key),
        key=key,
        sha256=sink.sha256,
        size_bytes=sink.size_bytes,
        duration_s=probed.duration_s,
        poster_uri=bucket.uri(poster_key),
    )
    checks = video_checks(job, probed)
    text = manifest(
        job, shot=job.shot, take=job.take, own_digest=job.own_digest, video=video, probed=probed, checks=checks, now=now
    )
    bucket.write(beside(key, ".json"), text, "application/json")
    return Collected(video, checks)


def video_checks(job: Job, probed: VideoInfo) -> tuple[CheckResult, ...]:
    """The three checks of a finished video: it plays, it is as ordered, it is billed as quoted."""
    from wan_pipeline.media.verify import verify_video

    items = verify_video(probed, duration_s=job.duration_s, resolution=job.resolution, has_audio=job.has_audio)
    playable = [item for item in items if item.name == "playable"]
    ordered = [item for item in items if item.name != "playable"]
    billed, basis = bill_at_storing(job)
    as_quoted = job.quoted_low <= billed <= job.quoted_high
    return (
        CheckResult("playable", all(item.passed for item in playable), "; ".join(item.detail for item in playable)),
        CheckResult("as_ordered", all(item.passed for item in ordered), "; ".join(item.detail for item in ordered)),
        CheckResult(
            "billed_as_quoted",
            as_quoted,
            f"billed {billed} USD ({basis}), quoted {job.quoted_low} to {job.quoted_high} USD",
        ),
    )


def copy_for_reuse(bucket: Bucket, job: Job, shot: str, take: int, own_digest: str, now: datetime) -> None:
    """Another shot's stored video, copied under this shot's name, with poster and a manifest that says whose it is.

    Raises ObjectNotFoundError where it is gone from the bucket.
    """
    from wan_pipeline.media.probe import probe_video

    if job.video_key is None:
        raise ValueError(f"job {job.id} has no stored video to reuse")
    key = video_key(shot, take)
    bucket.copy(job.video_key, key)
    poster = beside(job.video_key, ".webp")
    has_poster = bucket.exists(poster)
    if has_poster:
        bucket.copy(poster, beside(key, ".webp"))
    size_bytes = bucket.stat(key).size_bytes
    with bucket.open(key) as stream:
        probed = probe_video(stream, size_bytes)
    video = StoredVideo(
        uri=bucket.uri(key),
        key=key,
        sha256=job.video_sha256 or "",
        size_bytes=size_bytes,
        duration_s=probed.duration_s,
        poster_uri=bucket.uri(beside(key, ".webp")) if has_poster else None,
    )
    checks = video_checks(job, probed)
    text = manifest(
        job, shot=shot, take=take, own_digest=own_digest, video=video, probed=probed, checks=checks, now=now
    )
    bucket.write(beside(key, ".json"), text, "application/json")
