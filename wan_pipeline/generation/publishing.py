"""Publishing: the bytes of a result go into the bucket, are checked, and become a take, with poster and manifest.

A process that dies in between leaves nothing, or a whole video; what it published and could not tell the ledger is found
by its manifest. What does not belong here: where the bytes come from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wan_pipeline.bucket import Bucket, BucketWriter, ObjectNotFoundError
from wan_pipeline.generation.events import CheckResult
from wan_pipeline.generation.manifest import bill_at_storing, manifest
from wan_pipeline.generation.places import beside, video_key
from wan_pipeline.generation.useless import UselessError, is_page
from wan_pipeline.media.info import UnreadableMediaError, VideoInfo
from wan_pipeline.providers.words import shown
from wan_pipeline.spend.records import Job, StoredVideo

_CHUNK = 1 << 20

Proof = tuple[VideoInfo, bytes]  # what is in the video, and its poster


@dataclass(frozen=True, slots=True)
class Collected:
    video: StoredVideo
    checks: tuple[CheckResult, ...]


class Sink:
    """Takes a result's bytes as they come, into the bucket's writer, and can read them back before they are published."""

    def __init__(self, manager: AbstractContextManager[BucketWriter], writer: BucketWriter) -> None:
        self._manager = manager
        self._writer = writer
        self._digest = hashlib.sha256()
        self.spool = writer.landed()
        self.size_bytes = 0

    @classmethod
    def open(cls, bucket: Bucket, key: str) -> Sink:
        manager = bucket.writer(key, "video/mp4")
        writer = manager.__enter__()
        try:
            return cls(manager, writer)
        except BaseException as error:
            manager.__exit__(type(error), error, error.__traceback__)
            raise

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self._writer.write(piece)
            self._digest.update(piece)
            self.size_bytes += len(piece)

    def publish(self) -> None:
        self._manager.__exit__(None, None, None)

    def discard(self, error: BaseException) -> None:
        """Nothing of it is published. What came can still be read, until `close`."""
        self._manager.__exit__(type(error), error, error.__traceback__)

    def close(self) -> None:
        self.spool.close()


def proven(sink: Sink) -> Proof:
    """What came can be played. Runs in a thread. Raises UselessError."""
    from wan_pipeline.media.proof import prove

    try:
        return prove(sink.spool, sink.size_bytes)
    except UnreadableMediaError as error:
        said = f"the result is no video that can be played: {shown(str(error))}"
        raise UselessError(said, sink.size_bytes, sink.sha256, is_page=is_page(sink.spool)) from None


def publish(bucket: Bucket, job: Job, key: str, sink: Sink, now: datetime, proof: Proof | None = None) -> Collected:
    """Proves that what came can be played, unless that has been done, then publishes video, poster and manifest. Runs in a
    thread."""
    try:
        probed, poster = proof or proven(sink)
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


def published(bucket: Bucket, job: Job) -> Collected | None:
    """What lies there as this very job's video, whole: published by a process that died before the ledger knew."""
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
