"""Bytes: how fast results come from a provider's file server into the bucket, against `curl` into the same place.

    python -m benchmarks.bytes [--quick] [--no-s3]

A static server (sendfile, a process of its own, on loopback: nothing slower than this machine stands between) serves a
video of 100 MB, 1080p, 15 s, that plays. Into a folder: `curl -o`, once as it is and once with `sync FILE` behind, as the
bucket does it (what is published outlives a power cut). To S3 (Ceph's RADOS Gateway): `curl -o`, then `curl -T` to a
presigned PUT, one after the other. Ours: the bytes alone (downloaded, hashed, stored), and a whole collection (the proof
that it plays, poster and manifest too). One at a time, and 32 at once; then many small ones (5 MB, 5 s of 720p), for their
CPU. Repeated in turn; the medians are shown. Start-up is not measured, for neither side (ours collects one small video
first; curl has hardly any).

Ratio: how fast it is against curl; 1.00 is as fast. Exits with 1 where something is not stored as it was served.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast
from unittest import mock

from benchmarks import arena
from benchmarks.bytes_files import make_video
from wan_pipeline.bucket import Bucket, open_bucket

if TYPE_CHECKING:
    from io import BufferedReader

    from wan_pipeline_tests.services.s3 import S3Server

_MB = 1_000_000


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    large_bytes: int
    small_bytes: int
    seconds: int
    height: int
    at_once: int
    small: int
    turns: int


FULL = Size(100 * _MB, 5 * _MB, 15, 1080, 32, 100, 5)
QUICK = Size(3 * _MB, _MB, 1, 144, 3, 4, 1)


@dataclass(frozen=True)
class Took:
    """What one turn took; of several processes: the CPU of all, the memory of all at their peaks."""

    wall_s: float
    cpu_s: float
    peak_mb: float


class Scene:
    """The server, the videos, and a bucket; gives functions that do one turn each."""

    def __init__(self, folder: Path, size: Size, url: str, environment: dict[str, str]) -> None:
        self.folder = folder
        self.size = size
        self.url = url
        self.environment = environment
        self.wrong = 0
        self._turn = 0
        self._digests = {
            name: hashlib.sha256((folder / "served" / name).read_bytes()).hexdigest() for name in ("large", "small")
        }

    def curl(self, count: int, *, synced: bool = False) -> Took:
        """So many at once into files of the bucket's file system."""
        target = self.folder / "curl"
        target.mkdir(exist_ok=True)
        command = 'curl -sf -o "$1" "$2"' + (' && sync "$1"' if synced else "")
        took = _processes([["sh", "-c", command, "-", str(target / str(n)), f"{self.url}/large"] for n in range(count)])
        for file in target.iterdir():
            self.wrong += file.stat().st_size != self.size.large_bytes
            file.unlink()
        return took

    def curl_put(self, bucket: Bucket, put_url: Callable[[str], str], count: int) -> Took:
        """So many at once, each to a file and from there to S3."""
        self._turn += 1
        target = self.folder / "curl"
        target.mkdir(exist_ok=True)
        keys = [f"curl/{self._turn}/{n}" for n in range(count)]
        command = 'curl -sf -o "$1" "$2" && curl -sf -T "$1" "$3"'
        took = _processes(
            [
                ["sh", "-c", command, "-", str(target / str(n)), f"{self.url}/large", put_url(key)]
                for n, key in enumerate(keys)
            ]
        )
        for n, key in enumerate(keys):
            self.wrong += bucket.stat(key).size_bytes != self.size.large_bytes
            (target / str(n)).unlink()
        return took

    def ours(self, bucket: str, name: str, count: int, *, proof: bool) -> Took:
        """So many in one batch of one process."""
        self._turn += 1
        folder = f"turn{self._turn}"
        order = {
            "bucket": bucket,
            "urls": [f"{self.url}/{name}?n={n}" for n in range(count)],
            "warm_up": f"{self.url}/small",
            "proof": proof,
            "folder": folder,
        }
        command = [sys.executable, "-m", "benchmarks.bytes_collect", json.dumps(order)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"the collecting process failed:\n{done.stderr[-3000:]}")
        told = json.loads(done.stdout)
        self._check(open_bucket(bucket), folder, name, count)
        return Took(told["wall_s"], told["cpu_s"], told["peak_mb"])

    def _check(self, bucket: Bucket, folder: str, name: str, count: int) -> None:
        """Every one is there; the last one, byte for byte."""
        keys = [each.key for each in bucket.list(f"videos/{folder}/") if each.key.endswith(".mp4")]
        self.wrong += len(keys) != count
        with bucket.open(keys[-1]) as stream:
            self.wrong += (
                hashlib.file_digest(cast("BufferedReader", stream), "sha256").hexdigest() != self._digests[name]
            )


def _processes(commands: Sequence[Sequence[str]]) -> Took:
    """All at once, until the last one has ended."""
    began = time.monotonic()
    running = [subprocess.Popen(command) for command in commands]
    cpu_s = peak_mb = 0.0
    failed = 0
    for process in running:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        failed += process.returncode != 0
        cpu_s += used.ru_utime + used.ru_stime
        peak_mb += used.ru_maxrss / 1024
    if failed:
        raise SystemExit(f"{failed} of {len(running)} curls failed")
    return Took(time.monotonic() - began, cpu_s, peak_mb)


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
            f"{size_bytes * count / _MB / took.wall_s:.0f}",
            f"{took.cpu_s:.3f}",
            f"{took.peak_mb:.0f}",
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
            scene = Scene(folder, size, url, _environment())
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
    if count == 1:
        small = {
            "bytes alone": lambda: scene.ours(place, "small", size.small, proof=False),
            "whole": lambda: scene.ours(place, "small", size.small, proof=True),
        }
        _shown_small("S3, small videos", measured(min(size.turns, 3), small), size)


def _emptied(scene: Scene, bucket: str, name: str, count: int, *, proof: bool) -> Took:
    took = scene.ours(bucket, name, count, proof=proof)
    for path in Path(bucket).rglob("*"):
        if path.is_file():
            path.unlink()
    return took


def _shown_small(title: str, found: dict[str, Took], size: Size) -> None:
    rows = [
        [name, f"{size.small / took.wall_s:.0f}", f"{1000 * took.cpu_s / size.small:.1f}", f"{took.peak_mb:.0f}"]
        for name, took in found.items()
    ]
    print(arena.table([title, "videos/s", "CPU ms each", "peak MB"], rows), end="\n\n", flush=True)


@contextmanager
def serving(folder: Path, size: Size) -> Generator[str]:
    """The two videos over HTTP."""
    folder.mkdir()
    width = size.height * 16 // 9
    make_video(folder / "large", size.seconds, width, size.height, size.large_bytes)
    make_video(
        folder / "small", min(size.seconds, 5), 1280 * size.height // 1080, 720 * size.height // 1080, size.small_bytes
    )
    port = arena.free_port()
    server = arena.Child([sys.executable, "-m", "benchmarks.bytes_files", str(folder), str(port)], _environment())
    try:
        time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="a few small files: does it work?")
    options.add_argument("--no-s3", action="store_true", help="the folder alone")
    given = options.parse_args()
    size = QUICK if given.quick else FULL
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with serving(folder / "served", size) as url:
            scene = Scene(folder, size, url, _environment())
            into_a_folder(scene, (1, size.at_once))
            wrong = scene.wrong + (0 if given.no_s3 else to_s3(folder, size, url, (1, size.at_once)))
    if wrong:
        print(f"{wrong} files are not what was served", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
