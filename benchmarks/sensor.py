"""What a tick of the bucket sensor costs over a large bucket, beside the bare listing of the same prefix.

Ceph's RADOS Gateway (moto where that is not installed) holds so many tiny images, and a yaml beside some if asked for.
Phases follow each other over the same bucket, each in a process of its own (sensor_phases.py), so that a peak of memory is
that phase's: the first discovery, ticks with nothing new (interleaved with bare walks by boto3's paginator; the ratio is
that of the medians), ten new and ten changed, a new version of the program, the discovery of a run over 50 shots, and a tick
by event notifications (moto's SQS). Run as `python -m benchmarks.sensor [--objects N] [--yamls N] [--quick]`. Exit status 1
where a shot was not found, or one too many.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.arena import table
from benchmarks.sensor_phases import key_of
from wan_pipeline_tests.services import ceph_rgw
from wan_pipeline_tests.services.s3 import S3Server, moto_s3

TEN = 10


class Bench:
    """One run over one bucket; `rows` are for the table, `wrong` is what went wrong."""

    def __init__(self, objects: int, yamls: int, environment: Mapping[str, str], rounds: int) -> None:
        self._rounds = rounds
        self.objects, self.yamls = objects, yamls
        self._environment = {**os.environ, **environment}
        self.rows: list[list[str]] = []
        self.wrong: list[str] = []

    def run(self, phase: str, *arguments: object, **more: str) -> dict[str, Any]:
        """A phase's figures."""
        command = [sys.executable, "-m", "benchmarks.sensor_phases", phase, *map(str, arguments)]
        done = subprocess.run(command, env={**self._environment, **more}, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{phase} failed:\n{done.stderr[-3000:]}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def row(self, name: str, found: Mapping[str, Any], note: str = "", base: Mapping[str, Any] | None = None) -> None:
        ratios = ["", ""]
        if base is not None:
            ratios = [f"{found[name] / base[name]:.2f}" for name in ("wall_s", "cpu_s")]
        figures = [f"{found['wall_s']:.2f}", f"{found['cpu_s']:.2f}", *ratios, f"{found['peak_mb']:.0f}"]
        self.rows.append([name, *figures, note])
        print("  ".join(self.rows[-1]), file=sys.stderr, flush=True)  # the table comes at the end, which may be far off

    def expect(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self.wrong.append(f"{what}: {str(found)[:300]} instead of {str(expected)[:300]}")

    def whole(self) -> None:
        """Every phase."""
        self.row("fill", self.run("fill", self.objects, self.yamls), f"{self.objects} images, {self.yamls} yamls")
        nothing = self.run("nothing")
        self.row("import dagster", nothing["dagster"], "without a tick")
        self.row("and our definitions", nothing)
        first = self.run("first")
        self.row("first discovery", first, f"{first['ticks']} ticks, the longest {first['longest_s']:.1f} s")
        self.expect("shots of the first discovery", first["shots"], self.objects)
        self.run("taken_up")
        bare = self._idle()
        self._changed(bare)
        self.row("a new version of the program", self.run("another_program"), "all shots anew: its first tick", bare)
        self.run("first")  # with very many yamls to be read, that takes more ticks than one
        scoped = self.run("scoped", max(1, self.objects // 50))
        self.row(
            "a run's discovery of 50 shots",
            scoped,
            f"all: {scoped['whole_s']:.2f} s, CPU {scoped['whole_cpu_s']:.2f} s",
        )
        self.expect("a run's shots", scoped["same"], True)

    def _idle(self) -> dict[str, Any]:
        walks: list[dict[str, Any]] = []
        firsts: list[dict[str, Any]] = []
        seconds: list[dict[str, Any]] = []
        for _ in range(self._rounds):
            walks.append(self.run("bare"))
            firsts.append(self.run("tick", 1))
            seconds.append(self.run("tick", 2))
        bare = _median(walks)
        self.row("bare walk", bare, f"median of {self._rounds}")
        self.row("nothing new, after a restart", _median(firsts), "first tick of a process", bare)
        self.row("nothing new", _median(seconds), "second tick of a process", bare)
        self.expect(
            "what an idle tick asks for", [each["keys"] for each in (*firsts, *seconds)], [[]] * 2 * self._rounds
        )
        return bare

    def _changed(self, bare: Mapping[str, Any]) -> None:
        self.run("fill", TEN, 0, self.objects)
        self.run("fill", TEN, 0, 0, "changed")
        found = self.run("tick")
        self.row("ten new, ten changed", found, "one tick", bare)
        numbers = [*range(TEN), *range(self.objects, self.objects + TEN)]
        self.expect("what is new and changed", found["keys"], sorted(key_of(number) for number in numbers))
        self.run("tick")

    def events(self, bucket: str) -> None:
        """A tick by messages, which says of nothing else in the bucket."""
        import boto3

        with moto_s3() as server:
            keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "region_name": "us-east-1"}
            sqs: Any = boto3.client("sqs", endpoint_url=server.endpoint_url, **keys)  # pyright: ignore
            path = sqs.create_queue(QueueName="events")["QueueUrl"].partition("://")[2].partition("/")[2]
            queue = f"{server.endpoint_url}/{path}"
            numbers = range(TEN, 2 * TEN)
            self.run("fill", TEN, 0, TEN, "again")
            for number in numbers:
                told = {"bucket": {"name": bucket}, "object": {"key": f"inbox/{key_of(number)}.png"}}
                body = json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": told}]})
                sqs.send_message(QueueUrl=queue, MessageBody=body)
            found = self.run("by_messages", WAN_BUCKET_EVENTS_URL=queue)
            self.row("ten changed, by events", found, "nothing is listed")
            self.expect("what events tell", found["keys"], [key_of(number) for number in numbers])


def _median(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: statistics.median(each[name] for each in found) for name in ("wall_s", "cpu_s", "peak_mb")}


@contextmanager
def _server() -> Generator[S3Server]:
    with moto_s3() if ceph_rgw.why_not() else ceph_rgw.ceph_rgw() as server:
        yield server


def measured(objects: int, yamls: int, rounds: int = 3) -> tuple[str, list[str]]:
    """The table of one run, and what went wrong."""
    with tempfile.TemporaryDirectory(prefix="wan-sensor-") as folder, _server() as server:
        bucket = server.make_bucket()
        environment = server.environment() | {
            "WAN_MODE": "demo",
            "WAN_HOME": str(Path(folder) / "home"),
            "WAN_BUCKET_URL": f"s3://{bucket}",
            "WAN_SETTLE_SECONDS": "0",
        }
        bench = Bench(objects, yamls, environment, rounds)
        bench.whole()
        bench.events(bucket)
    headings = ["phase", "wall s", "CPU s", "wall / bare", "CPU / bare", "peak MB", ""]
    return table(headings, bench.rows), bench.wrong


def main() -> int:
    """One run, as the module's docstring says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--yamls", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="2,500 images")
    parser.add_argument("--rounds", type=int, default=3, help="of bare walk and idle ticks")
    given = parser.parse_args()
    printed, wrong = measured(2_500 if given.quick else given.objects, given.yamls, given.rounds)
    print(printed)
    for each in wrong:
        print(f"WRONG: {each}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
