"""One process that collects results as a batch does: download, hash, proof, poster, manifest, the bucket. Used by bytes.py.

    python -m benchmarks.bytes_collect '{"bucket": …, "urls": […], "warm_up": URL, "proof": true}'

Prints one line of JSON: what the collecting took, from the first request to the last manifest. Python's start and imports
are over by then: one small video is collected before.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from unittest import mock

from wan_pipeline.bucket import Bucket, open_bucket
from wan_pipeline.generation.collection import Collector
from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.parts import EngineParts
from wan_pipeline.generation.publishing import Collected, Sink
from wan_pipeline.money import Money
from wan_pipeline.providers.download import Downloader
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Budgets, Job, JobState, StoredVideo

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def collect(bucket: Bucket, urls: Sequence[str], folder: str) -> None:
    """All of them in one batch, which has its own order and its own limit of how many are under way at once."""
    no_ledger = cast(Ledger, None)  # collecting asks it nothing
    budgets = Budgets(Money.usd(1), Money.usd(1), Money.usd(1))
    desk = Desk(EngineParts(no_ledger, bucket, budgets, cast(Any, None), None, simulated=True))
    try:
        async with Downloader() as downloader:
            collector = Collector(desk, downloader)
            await asyncio.gather(*(collector.collect(a_job(f"{folder}/{n}"), url) for n, url in enumerate(urls)))
    finally:
        desk.close()


def a_job(shot: str) -> Job:
    """A generated one, as the ledger would have it."""
    price = Money.usd(1)
    row: dict[str, Any] = dict.fromkeys(Job.__dataclass_fields__)
    row |= {"id": f"job-{shot}", "shot": shot, "take": 1, "provider": "wavespeed", "model": "wavespeed/benchmark"}
    row |= {"state": JobState.GENERATED, "arguments": {}, "inputs": (), "duration_s": 15, "resolution": "1080p"}
    row |= {"quoted_low": price, "quoted_high": price, "held": price, "claimed_at": _NOW, "updated_at": _NOW}
    row |= {"submitted_at": _NOW, "generated_at": _NOW, "own_digest": "", "request_hash": "", "fingerprint": ""}
    row |= {"repeat": 0, "retryable": False, "simulated": True, "looks": 0, "fetches": 0}
    return Job(**row)


def stored_only(bucket: Bucket, job: Job, key: str, sink: Sink, now: datetime) -> Collected:
    """In place of `publish`: the bytes alone, with no proof that they play."""
    del now
    sink.publish()
    video = StoredVideo(bucket.uri(key), key, sink.sha256, sink.size_bytes, float(job.duration_s), None)
    return Collected(video, ())


def main() -> None:
    given = json.loads(sys.argv[1])
    bucket = open_bucket(given["bucket"])
    alone = mock.patch("wan_pipeline.generation.collection.publish", stored_only)
    with nullcontext() if given["proof"] else alone:
        asyncio.run(collect(bucket, [given["warm_up"]], "warm-up"))
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        asyncio.run(collect(bucket, given["urls"], given["folder"]))
        wall_s, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"wall_s": wall_s, "cpu_s": cpu_s, "peak_mb": _peak_mb()}))


def _peak_mb() -> float:
    """The most that this program held. (`ru_maxrss` is at least what its parent held when it started it.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main()
