"""What benchmarks/bytes.py measures with: the server, the videos and their bucket, curls, and a process that collects."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from benchmarks import arena
from wan_pipeline.bucket import Bucket, open_bucket

if TYPE_CHECKING:
    from io import BufferedReader

MB = 1_000_000


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


FULL = Size(100 * MB, 5 * MB, 15, 1080, 32, 100, 5)
QUICK = Size(3 * MB, MB, 1, 144, 3, 4, 1)


@dataclass(frozen=True)
class Took:
    """What one turn took; of several processes: the CPU of all. The memory of curls is not measured."""

    wall_s: float
    cpu_s: float
    peak_mb: float = 0.0


class Scene:
    """The server, the videos, and a bucket; gives functions that do one turn each."""

    def __init__(self, folder: Path, size: Size, url: str, environment: dict[str, str]) -> None:
        self.folder = folder
        self.size = size
        self.url = url
        self.environment = environment
        self.wrong = 0
        self._turn = 0
        self._digests = {name: _digest(folder / "served" / name) for name in ("large", "small")}

    def curl(self, count: int, *, synced: bool = False, line: str = "") -> Took:
        """So many at once into files of the bucket's file system. `line`: "?line" for the slow one."""
        target = self.folder / "curl"
        target.mkdir(exist_ok=True)
        command = 'curl -sf -o "$1" "$2"' + (' && sync "$1"' if synced else "")
        took = _processes(
            [["sh", "-c", command, "-", str(target / str(n)), f"{self.url}/large{line}"] for n in range(count)]
        )
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

    def ours(self, bucket: str, name: str, count: int, *, proof: bool, line: str = "?") -> Took:
        """So many in one batch of one process."""
        self._turn += 1
        folder = f"turn{self._turn}"
        order = {
            "bucket": bucket,
            "urls": [f"{self.url}/{name}{line}&n={n}" for n in range(count)],
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


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _processes(commands: Sequence[Sequence[str]]) -> Took:
    """All at once, until the last one has ended."""
    began = time.monotonic()
    running = [subprocess.Popen(command) for command in commands]
    cpu_s = 0.0
    failed = 0
    for process in running:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        failed += process.returncode != 0
        cpu_s += used.ru_utime + used.ru_stime
    if failed:
        raise SystemExit(f"{failed} of {len(running)} curls failed")
    return Took(time.monotonic() - began, cpu_s)


@contextmanager
def serving(folder: Path, size: Size) -> Generator[str]:
    """The two videos over HTTP."""
    folder.mkdir()
    width = size.height * 16 // 9
    made = (
        (folder / "large", size.seconds, width, size.height, size.large_bytes),
        (folder / "small", min(size.seconds, 5), width * 2 // 3, size.height * 2 // 3, size.small_bytes),
    )
    for path, *of in made:  # by a process of its own, so that this one stays small
        program = "import sys; from pathlib import Path; from benchmarks.bytes_files import make_video"
        make = f"{program}; make_video(Path(sys.argv[1]), *map(int, sys.argv[2:]))"
        subprocess.run([sys.executable, "-c", make, str(path), *map(str, of)], check=True)
    port = arena.free_port()
    server = arena.Child([sys.executable, "-m", "benchmarks.bytes_files", str(folder), str(port)], environment())
    try:
        time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
