"""The manifest beside each video (`take-1.json`): everything the ledger knows of the job, so that the manifests alone
suffice to rebuild it. Money as decimal strings, moments in ISO 8601 UTC, no URL with a signed part, no key.

What was paid for and cannot be used has one too (`take-1.unplayable.json`): for a person, not for rebuilding.

Version 2 has the moments and counts of sending, looking and fetching in `job`; whoever reads version 1 can read it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from enum import Enum
from typing import Any

from wan_pipeline.generation.events import CheckResult
from wan_pipeline.media.info import VideoInfo
from wan_pipeline.money import Money
from wan_pipeline.spend.records import Basis, Job, StoredVideo

MANIFEST_VERSION = 2
# about who holds the job at the moment and what is to be done next, not about the job
_OF_THE_PROCESS = frozenset({"owner", "retryable", "next_look_at", "next_fetch_at"})


def manifest(
    job: Job,
    *,
    shot: str,
    take: int,
    own_digest: str,
    video: StoredVideo,
    probed: VideoInfo,
    checks: Sequence[CheckResult],
    now: datetime,
) -> bytes:
    """The manifest of a take of `shot`, about to be recorded as stored. `job.shot` differs where the video is reused."""
    billed, basis = bill_at_storing(job)
    row = _row(job) | {
        "state": "stored",
        "held": "0.00",
        "billed": _plain(billed),
        "basis": _plain(basis),
        "error": None,
    }
    row |= {"stored_at": _plain(job.stored_at or now)}  # the ledger's own moment comes right behind
    row |= {"video_uri": video.uri, "video_key": video.key, "video_sha256": video.sha256}
    row |= {"video_bytes": video.size_bytes, "video_duration_s": video.duration_s, "poster_uri": video.poster_uri}
    text = {
        "manifest_version": MANIFEST_VERSION,
        "shot": shot,
        "take": take,
        "own_digest": own_digest,
        "simulated": job.simulated,
        "reused_from": None if job.shot == shot else {"shot": job.shot, "take": job.take, "job": job.id},
        "video": {
            "key": video.key,
            "sha256": video.sha256,
            "size_bytes": video.size_bytes,
            "duration_s": video.duration_s,
            "width": probed.width,
            "height": probed.height,
            "fps": probed.fps,
            "codec": probed.codec,
            "has_audio": probed.has_audio,
        },
        "checks": [{"name": check.name, "passed": check.passed, "detail": check.detail} for check in checks],
        "job": row,
    }
    return _written(text)


def kept_manifest(job: Job, *, key: str | None, size_bytes: int, sha256: str, reason: str, now: datetime) -> bytes:
    """The manifest of what came in place of a take's video, about to be recorded as lost. `key`: where the bytes lie;
    None: they were too many, and `size_bytes` and `sha256` are of what was read of them."""
    text = {
        "manifest_version": MANIFEST_VERSION,
        "shot": job.shot,
        "take": job.take,
        "simulated": job.simulated,
        "lost": {"reason": reason, "at": _plain(now)},
        "kept": {"key": key, "size_bytes": size_bytes, "sha256": sha256},
        "job": _row(job) | {"state": "lost"},
    }
    return _written(text)


def _row(job: Job) -> dict[str, Any]:
    return {item.name: _plain(getattr(job, item.name)) for item in fields(job) if item.name not in _OF_THE_PROCESS}


def _written(text: dict[str, Any]) -> bytes:
    return (json.dumps(text, indent=2, ensure_ascii=False, sort_keys=False) + "\n").encode()


def bill_at_storing(job: Job) -> tuple[Money, Basis]:
    """What the job costs once it is stored: what was reported, otherwise the quote's upper bound."""
    if job.billed is not None:
        return job.billed, job.basis or Basis.QUOTED
    return job.quoted_high, Basis.QUOTED


def _plain(value: object) -> Any:
    if isinstance(value, Money):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return list(value)  # pyright: ignore[reportUnknownVariableType]
    return value
