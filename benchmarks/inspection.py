"""Inspection: what reading, hashing and probing an input takes before it is bought, in requests, bytes and CPU.

    python -m benchmarks.inspection [--quick]

Inputs as people have them (pictures of 1080p and 12 megapixels, a clip), and one that is too large, on Ceph's
RADOS Gateway (moto where that is not installed); each several times, as shots of their own. Requests and bytes are those
that the bucket's client makes, CPU is the process's with all its threads, the client's included. "Whole" is the share of
the file that was read: all of it is hashed, since the hash is what the ledger knows an input by. Exits with 1 where an
inspection finds something else than what the file is.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

from benchmarks import arena
from wan_pipeline.bucket import Bucket, open_bucket
from wan_pipeline.generation.inspection import Inspector
from wan_pipeline.providers.catalog import find_model
from wan_pipeline.shots.discovery import discover
from wan_pipeline_tests.media.samples import video_bytes

if TYPE_CHECKING:
    from wan_pipeline_tests.services.s3 import S3Server

_SILENT = "model: wavespeed/wan-2.6-i2v-flash\nprompt: It moves.\n"


@dataclass(frozen=True)
class Case:
    """A kind of input: the name of its file, its bytes, the shot's yaml with `{file}` in it, and what is wrong with it."""

    name: str
    file: str
    data: bytes
    yaml: str
    problem: str = ""


@dataclass
class Asked:
    """What the bucket's client asked for."""

    requests: int = 0
    size_bytes: int = 0


def cases(quick: bool) -> list[Case]:
    """`quick`: small ones."""
    full_hd, large = ((480, 270), (640, 480)) if quick else ((1920, 1080), (4000, 3000))
    still = _SILENT + "inputs: {{first_frame: {file}}}\n"
    seconds = 2.0
    clip = video_bytes(seconds, 320, 180, audio="aac")
    if not quick:
        clip += (20_000_000).to_bytes(4, "big") + b"free" + bytes(20_000_000 - 8)
    return [
        Case("PNG, 1080p", "a.png", photograph(*full_hd, "PNG"), still),
        Case("JPEG, 1080p", "b.jpg", photograph(*full_hd, "JPEG"), still),
        Case("WebP, 1080p", "c.webp", photograph(*full_hd, "WEBP"), still),
        Case("JPEG, 12 megapixels", "d.jpg", photograph(*large, "JPEG"), still),
        Case("PNG, too large", "e.png", photograph(16, 16, "PNG") + bytes(21_000_000), still, "the file is too large"),
        Case("clip", "f.mp4", clip, "model: shortapi/wan-2.6-r2v\nprompt: It dances.\ninputs: {{videos: [{file}]}}\n"),
    ]


def photograph(width: int, height: int, kind: str) -> bytes:
    """As hard to compress as one."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(seed=3)
    coarse = Image.fromarray(rng.integers(0, 256, (max(height // 16, 1), max(width // 16, 1), 3), np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    noisy = (smooth + rng.integers(-6, 7, smooth.shape)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, kind, quality=90)
    return file.getvalue()


def inspected(place: str, case: Case, shots: int) -> tuple[list[str], int]:
    """Its row, and how many were not found to be what they are."""
    bucket = open_bucket(place)
    for number in range(shots):
        name = f"{number}/{case.file}"
        bucket.write(f"inbox/{name}", case.data, "application/octet-stream")
        bucket.write(f"inbox/{number}/shot.yaml", case.yaml.format(file=case.file).encode(), "text/yaml")
    wanted = [shot for shot in discover(bucket, None) if shot.key.endswith("/shot")]
    _all(bucket, wanted[:1])  # imports
    with counted() as asked:
        began = time.process_time()
        found = _all(bucket, wanted)
        cpu_s = time.process_time() - began
    wrong = sum([problem.message for problem in each.problems] != [case.problem] * bool(case.problem) for each in found)
    wrong += len(found) != shots
    row = [f"{len(case.data):,}", f"{asked.requests / shots:.1f}", f"{asked.size_bytes / shots / len(case.data):.2f}"]
    return [case.name, *row, f"{1000 * cpu_s / shots:.1f}"], wrong


def _all(bucket: Bucket, shots: list[Any]) -> list[Any]:
    async def work() -> list[Any]:
        with ThreadPoolExecutor(8) as threads:
            inspector = Inspector(bucket, threads, find_model)
            return list(await asyncio.gather(*(inspector.inspect(shot) for shot in shots)))

    return asyncio.run(work())


@contextmanager
def counted() -> Generator[Asked]:
    """Counts what S3 is asked for meanwhile."""
    from s3fs import S3FileSystem

    asked = Asked()
    really = S3FileSystem._call_s3  # pyright: ignore[reportPrivateUsage]

    async def call(self: Any, method: str, *arguments: Any, **named: Any) -> Any:
        answer = await really(self, method, *arguments, **named)
        asked.requests += 1
        asked.size_bytes += answer["ContentLength"] if method == "get_object" else 0
        return answer

    with mock.patch.object(S3FileSystem, "_call_s3", call):
        yield asked


@contextmanager
def store() -> Generator[S3Server]:
    """Ceph's gateway, or moto."""
    from wan_pipeline_tests.services.ceph_rgw import ceph_rgw, why_not
    from wan_pipeline_tests.services.s3 import moto_s3

    with moto_s3() if why_not() else ceph_rgw() as server:
        yield server


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="small files, two of each: does it work?")
    given = options.parse_args()
    shots = 2 if given.quick else 10
    rows: list[list[str]] = []
    wrong = 0
    with store() as server, mock.patch.dict(os.environ, server.environment()):
        for case in cases(given.quick):
            row, not_found = inspected(f"s3://{server.make_bucket()}", case, shots)
            rows.append(row)
            wrong += not_found
    print(arena.table(["input", "bytes", "requests", "whole", "CPU ms"], rows))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
