"""Collection: a finished video is streamed into the bucket, checked, and published with its poster and manifest.

The bytes go to the bucket's writer and to a spool on this machine at once; the spool is hashed and probed, and only what
can be played is published under its final name, in one step. What does not belong here: asking whether it is finished.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Coroutine
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import httpx

from wan_pipeline.bucket import Bucket, BucketWriter
from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.events import CheckResult
from wan_pipeline.generation.manifest import bill_at_storing, manifest
from wan_pipeline.media.info import UnreadableMediaError, VideoInfo
from wan_pipeline.providers.download import Downloader
from wan_pipeline.spend.records import Job, StoredVideo

_CHUNK = 1 << 20
_SPOOL_IN_MEMORY_BYTES = 4 << 20
_LARGEST_VIDEO_BYTES = 1 << 30
_TRIES = 3
_RETRY_WAIT_S = 1.5
_DOWNLOAD_S = 1800.0  # a host that sends a byte now and then breaks no other limit
_STOP_GRACE_S = 15.0  # a video that has nearly arrived is let in


class DownloadError(RuntimeError):
    """The result could not be had this time. `expired`: its URL is refused, the job must be asked for a new one.
    `no_video`: it came whole, and is no video that can be played."""

    def __init__(self, reason: str, *, expired: bool = False, no_video: bool = False) -> None:
        super().__init__(reason)
        self.expired = expired
        self.no_video = no_video


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
    """Collects results for one batch."""

    def __init__(self, desk: Desk, downloader: Downloader) -> None:
        self._desk = desk
        self._downloader = downloader

    async def collect(self, job: Job, url: str) -> Collected:
        """Downloads, checks and publishes; the ledger is not told here. Raises DownloadError after some tries."""
        tries = 0
        while True:
            tries += 1
            try:
                return await self._within_time(self._once(job, url))
            except DownloadError as error:
                if error.expired or tries == _TRIES:
                    raise
            if await self._desk.sleep(_RETRY_WAIT_S * tries):
                raise DownloadError("stopped while downloading; the next run collects it")

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
            raise DownloadError("the download took too long")
        return task.result()

    async def _once(self, job: Job, url: str) -> Collected:
        key = video_key(job.shot, job.take)
        with ExitStack() as cleanup:
            spool = cast(BinaryIO, cleanup.enter_context(tempfile.SpooledTemporaryFile(_SPOOL_IN_MEMORY_BYTES)))
            opened = await self._desk.files(_Sink.open, self._desk.bucket, key, spool)
            try:
                await self._stream(url, opened)
            except BaseException as error:
                await asyncio.shield(self._desk.files(opened.discard, error))
                raise
            return await self._desk.files(_finish, self._desk.bucket, job, key, opened)

    async def _stream(self, url: str, sink: _Sink) -> None:
        try:
            async with self._downloader.stream(url) as response:
                if response.status_code in (401, 403, 404, 410):
                    raise DownloadError(f"the result's URL answers {response.status_code}", expired=True)
                if response.status_code != 200:
                    raise DownloadError(f"the result's URL answers {response.status_code}")
                promised = response.headers.get("content-length")
                async for chunk in response.aiter_bytes(_CHUNK):
                    await self._desk.files(sink.write, chunk)
                    if sink.size_bytes > _LARGEST_VIDEO_BYTES:
                        raise DownloadError(f"the result is larger than {_LARGEST_VIDEO_BYTES:,} bytes")
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


def _finish(bucket: Bucket, job: Job, key: str, sink: _Sink) -> Collected:
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
        raise DownloadError(f"the result is no video that can be played: {error}", no_video=True) from None
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
        job, shot=job.shot, take=job.take, own_digest=job.own_digest, video=video, probed=probed, checks=checks
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


def copy_for_reuse(bucket: Bucket, job: Job, shot: str, take: int, own_digest: str) -> None:
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
    text = manifest(job, shot=shot, take=take, own_digest=own_digest, video=video, probed=probed, checks=checks)
    bucket.write(beside(key, ".json"), text, "application/json")
