"""Stored videos as results: those just made, and those that were on the shelf already.

What belongs here: reading back what a finished job gave. What does not: downloading (collection.py).
"""

from __future__ import annotations

import json
from typing import Any

from wan_pipeline.bucket import Bucket, ObjectNotFoundError
from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.events import CheckResult, VideoResult
from wan_pipeline.generation.places import beside, video_key
from wan_pipeline.generation.publishing import copy_for_reuse
from wan_pipeline.money import ZERO
from wan_pipeline.shots.shot import Shot
from wan_pipeline.spend.records import Basis, Job, JobRequest, Reused, Take


def made(job: Job, checks: tuple[CheckResult, ...]) -> VideoResult:
    """The result of a job that this batch saw through."""
    return _result(job, job.take, job.video_uri or "", job.video_key or "", job.poster_uri, checks, reused=False)


def _result(
    job: Job, take: int, uri: str, key: str, poster_uri: str | None, checks: tuple[CheckResult, ...], *, reused: bool
) -> VideoResult:
    waited_s = (job.generated_at - job.submitted_at).total_seconds() if job.generated_at and job.submitted_at else None
    return VideoResult(
        job_id=job.id,
        provider_job_id=job.provider_job_id,
        provider=job.provider,
        model=job.model,
        take=take,
        resolution=job.resolution,
        duration_s=job.video_duration_s or 0.0,
        waited_s=waited_s,
        quoted=job.quoted_high,
        billed=ZERO if reused else job.billed,
        basis=Basis.QUOTED if reused and job.basis is None else job.basis,
        uri=uri,
        key=key,
        sha256=job.video_sha256 or "",
        size_bytes=job.video_bytes or 0,
        poster_uri=poster_uri,
        simulated=job.simulated,
        reused_from=job.shot if reused else None,
        submitted_at=job.submitted_at,
        checks=checks,
    )


class Shelf:
    """The stored videos that a batch meets."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def take_down(self, shot: Shot, reused: Reused, request: JobRequest) -> VideoResult | None:
        """The stored video as this shot's result, copied under its name where it came from another take.

        None: the file is gone from the bucket.
        """
        job, take = reused.job, reused.take
        if take.reused and not await self._desk.files(self._desk.bucket.exists, video_key(shot.key, take.take)):
            try:
                now = self._desk.parts.clock()
                copy = (job, shot.key, take.take, request.own_digest, now)
                await self._desk.files(copy_for_reuse, self._desk.bucket, *copy)
            except ObjectNotFoundError:
                return None
        return await self.as_it_stands(job, take)

    async def as_it_stands(self, job: Job, take: Take) -> VideoResult | None:
        """The shot's take, which costs nothing now. None: its file is gone from the bucket."""
        bucket, key = self._desk.bucket, video_key(take.shot, take.take)
        if not await self._desk.files(bucket.exists, key):
            return None
        checks = await self._desk.files(_checks, bucket, key)
        poster_uri = bucket.uri(beside(key, ".webp")) if job.poster_uri else None
        return _result(job, take.take, bucket.uri(key), key, poster_uri, checks, reused=True)


def _checks(bucket: Bucket, key: str) -> tuple[CheckResult, ...]:
    """What the checks said when the video was stored, from its manifest; none where that is gone."""
    try:
        text: dict[str, Any] = json.loads(bucket.read(beside(key, ".json")))
    except (ObjectNotFoundError, ValueError):
        return ()
    return tuple(CheckResult(item["name"], item["passed"], item["detail"]) for item in text.get("checks", ()))
