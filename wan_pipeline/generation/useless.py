"""What came in place of a video: whether anything else will ever come, and if not, how it is kept for a person to look at.

What does not belong here: downloading, and finding out that it is no video.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import BinaryIO

from wan_pipeline.bucket import Bucket
from wan_pipeline.generation.deadlines import is_enough, is_over
from wan_pipeline.generation.manifest import kept_manifest
from wan_pipeline.generation.places import UNPLAYABLE, beside, video_key
from wan_pipeline.spend.records import Job

_CHUNK = 1 << 20
_PAGE_BYTES = 512  # a page is known by its beginning
_SEEN = re.compile(r"sha256 ([0-9a-f]{64}), in (\d+) batch")  # how the ledger's `error` tells of an earlier batch


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

    def __init__(
        self, reason: str, size_bytes: int, sha256: str, *, is_page: bool = False, is_whole: bool = True
    ) -> None:
        super().__init__(reason)
        self.size_bytes = size_bytes  # of what was read of it, as is the hash
        self.sha256 = sha256
        self.is_whole = is_whole
        self.is_page = is_page  # a page in place of the video ("back soon") says nothing about what comes later
        self.final = False
        self.kept_key: str | None = None


def judge(bucket: Bucket, job: Job, error: UselessError, spool: BinaryIO, seen: set[str], now: datetime) -> None:
    """After a batch's last try: whether this is all that will ever come; then it is kept. `seen`: the hashes of what came in
    this batch. Writes into the error what is to be told, and read again by the next batch."""
    before = _SEEN.search(job.error or "")
    times = 1
    if before is not None and before[1] == error.sha256 and seen == {error.sha256}:
        times += int(before[2])
    error.final = is_over(job, now) or (is_enough(times) and not error.is_page)
    read = "" if error.is_whole else "first "
    batches = f"in {times} batch{'es' * (times > 1)}"
    error.args = (f"{error} ({read}{error.size_bytes:,} bytes: sha256 {error.sha256}, {batches})",)
    if error.final:
        error.kept_key = _keep(bucket, job, error, spool, now)


def _keep(bucket: Bucket, job: Job, error: UselessError, spool: BinaryIO, now: datetime) -> str:
    """Puts what cannot be used beside where the video would lie, with a manifest that says whose it is. What is too large
    was cut, so it is not kept itself."""
    key = beside(video_key(job.shot, job.take), UNPLAYABLE)
    if error.is_whole:
        spool.seek(0)
        with bucket.writer(key, "application/octet-stream") as writer:
            while chunk := spool.read(_CHUNK):
                writer.write(chunk)
    kept = key if error.is_whole else None
    text = kept_manifest(job, key=kept, size_bytes=error.size_bytes, sha256=error.sha256, reason=str(error), now=now)
    bucket.write(f"{key}.json", text, "application/json")
    return kept or f"{key}.json"


def is_page(spool: BinaryIO) -> bool:
    """Text, or nothing: no file of a video begins like that."""
    spool.seek(0)
    beginning = spool.read(_PAGE_BYTES)
    return all(byte in b"\t\n\r" or 32 <= byte < 127 or byte >= 128 for byte in beginning)
