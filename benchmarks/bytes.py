"""Bytes: how fast results come from a provider's file server into the bucket, against `curl` into the same place.

    python -m benchmarks.bytes [--quick] [--no-s3]

A static server (sendfile, a process of its own, on loopback: nothing slower than this machine stands between) serves a
video of 100 MB, 1080p, 15 s, that plays. Into a folder: `curl -o`, once as it is and once with `sync FILE` behind, as the
bucket does it (what is published outlives a power cut). To S3 (Ceph's RADOS Gateway): `curl -o`, then `curl -T` to a
presigned PUT, one after the other. Ours: the bytes alone (downloaded, hashed, stored), and a whole collection (the proof
that it plays, poster and manifest too). One at a time, and 32 at once; 8 at once over a line of 1 Gbit/s, as a provider is
reached; then many small ones (5 MB, 5 s of 720p), for their CPU. Repeated in turn; the medians are shown. Start-up is not
measured, for neither side (ours collects one small video first; curl has hardly any).

Ratio: how fast it is against curl; 1.00 is as fast. Exits with 1 where something is not stored as it was served.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from benchmarks import arena
from benchmarks.bytes_scene import FULL, MB, QUICK, Scene, Size, Took, environment, serving
from wan_pipeline.bucket import open_bucket

if TYPE_CHECKING:
    from wan_pipeline_tests.services.s3 import S3Server


def measured(turns: int, what: dict[str, Callable[[], Took]]) -> dict[str, Took]:
    """The medians of so many turns, each way once in every turn."""
    took: dict[str, list[Took]] = {name: [] for name in what}
    for _ in range(turns):
        for name, once in what.items():
            took[name].append(once())
    return {
        name: Took(*(statistics.median(getattr(each, field) for each in all_of) for field in Took.__dataclass_fields__))
        for name, all_of in took.items()
    }


def shown(title: str, found: dict[str, Took], size_bytes: int, count: int, against: Sequence[str]) -> None:
    """A table with a ratio to each of `against`."""
    headings = [title, "wall s", "MB/s", "CPU s", "peak MB", *(f"to {name}" for name in against)]
    rows = [
        [
            name,
            f"{took.wall_s:.3f}",
            f"{size_bytes * count / MB / took.wall_s:.0f}",
            f"{took.cpu_s:.3f}",
            f"{took.peak_mb:.0f}" if took.peak_mb else "",
            *(f"{found[other].wall_s / took.wall_s:.2f}" for other in against),
        ]
        for name, took in found.items()
    ]
    print(arena.table(headings, rows), end="\n\n", flush=True)


def into_a_folder(scene: Scene, at_once: Sequence[int]) -> None:
    bucket, size = str(scene.folder / "bucket"), scene.size
    for count in at_once:
        found = measured(
            size.turns if count == 1 else min(size.turns, 2),
            {
                "curl": lambda count=count: scene.curl(count),
                "curl, synced": lambda count=count: scene.curl(count, synced=True),
                "ours, bytes alone": lambda count=count: _emptied(scene, bucket, "large", count, proof=False),
                "ours, whole": lambda count=count: _emptied(scene, bucket, "large", count, proof=True),
            },
        )
        shown(f"folder, {count} at once", found, size.large_bytes, count, ["curl", "curl, synced"])
    few = max(size.at_once // 4, 1)
    found = measured(
        min(size.turns, 2),
        {
            "curl": lambda: scene.curl(few, line="?line"),
            "ours, bytes alone": lambda: _emptied(scene, bucket, "large", few, proof=False, line="?line"),
            "ours, whole": lambda: _emptied(scene, bucket, "large", few, proof=True, line="?line"),
        },
    )
    shown(f"folder, {few} at once over 1 Gbit/s", found, size.large_bytes, few, ["curl"])
    found = measured(
        min(size.turns, 3),
        {
            "bytes alone": lambda: _emptied(scene, bucket, "small", size.small, proof=False),
            "whole": lambda: _emptied(scene, bucket, "small", size.small, proof=True),
        },
    )
    _shown_small("folder, small videos", found, size)


def to_s3(folder: Path, size: Size, url: str, at_once: Sequence[int]) -> int:
    """Each number has a store of its own: what is deleted stays in Ceph's memory for a while. Gives how much is wrong."""
    from wan_pipeline_tests.services.ceph_rgw import ceph_rgw, why_not

    if reason := why_not():
        print(f"S3 is not measured: {reason}\n")
        return 0
    wrong = 0
    for count in at_once:
        with ceph_rgw(store_bytes=12 << 30) as server, mock.patch.dict(os.environ, server.environment()):
            scene = Scene(folder, size, url, environment())
            _into_one_store(scene, server, count)
            wrong += scene.wrong
    return wrong


def _into_one_store(scene: Scene, server: S3Server, count: int) -> None:
    name, size = server.make_bucket(), scene.size
    bucket, place = open_bucket(f"s3://{name}"), f"s3://{name}"

    def put_url(key: str) -> str:
        return server.client().generate_presigned_url("put_object", Params={"Bucket": name, "Key": key})

    found = measured(
        min(size.turns, 3) if count == 1 else 1,
        {
            "curl -o, curl -T": lambda: scene.curl_put(bucket, put_url, count),
            "ours, bytes alone": lambda: scene.ours(place, "large", count, proof=False),
            "ours, whole": lambda: scene.ours(place, "large", count, proof=True),
        },
    )
    shown(f"S3, {count} at once", found, size.large_bytes, count, ["curl -o, curl -T"])
    if count == 1 or size is QUICK:
        small = {
            "bytes alone": lambda: scene.ours(place, "small", size.small, proof=False),
            "whole": lambda: scene.ours(place, "small", size.small, proof=True),
        }
        _shown_small("S3, small videos", measured(min(size.turns, 3), small), size)


def _shown_small(title: str, found: dict[str, Took], size: Size) -> None:
    rows = [
        [name, f"{size.small / took.wall_s:.0f}", f"{1000 * took.cpu_s / size.small:.1f}", f"{took.peak_mb:.0f}"]
        for name, took in found.items()
    ]
    print(arena.table([title, "videos/s", "CPU ms each", "peak MB"], rows), end="\n\n", flush=True)


def _emptied(scene: Scene, bucket: str, name: str, count: int, *, proof: bool, line: str = "?") -> Took:
    took = scene.ours(bucket, name, count, proof=proof, line=line)
    for path in Path(bucket).rglob("*"):
        if path.is_file():
            path.unlink()
    return took


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="a few small files: does it work?")
    options.add_argument("--no-s3", action="store_true", help="the folder alone")
    given = options.parse_args()
    size = QUICK if given.quick else FULL
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with serving(folder / "served", size) as url:
            scene = Scene(folder, size, url, environment())
            at_once = (size.at_once,) if given.quick else (1, size.at_once)
            into_a_folder(scene, at_once)
            wrong = scene.wrong + (0 if given.no_s3 else to_s3(folder, size, url, at_once))
    if wrong:
        print(f"{wrong} files are not what was served", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
