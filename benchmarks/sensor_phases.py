"""The phases of benchmarks/sensor.py, each in a process of its own: `python -m benchmarks.sensor_phases PHASE [ARGUMENT…]`.

Prints one JSON object: what was counted, and wall and CPU seconds of the measured part; `peak_mb` is the process's own peak.
The installation is the one that the environment names.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dagster as dg

    from wan_pipeline.defs.resources import OpenInstallation

DEFAULTS = b"model: wavespeed/wan-2.6-i2v-flash\nprompt: The leaves fall.\nduration: 2\n"
SCOPED = 50


def key_of(number: int) -> str:
    """The key of the n-th shot: 5,000 in a folder."""
    return f"c{number // 5000:03}/shot-{number:06}"


def peak_mb() -> float:
    """The most memory that this process has held since it began (not what its parent held: that is in ru_maxrss)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


class Timed:
    """Wall and CPU seconds of a block."""

    def __enter__(self) -> Timed:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        self.wall_s, self.cpu_s = time.perf_counter() - self._wall, time.process_time() - self._cpu


def fill(count: int, yamls: int, first: int = 0, mark: str = "") -> dict[str, Any]:
    """Puts tiny images (inspection is not what is measured), and a yaml beside each of the first `yamls`."""
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    bucket = os.environ["WAN_BUCKET_URL"].removeprefix("s3://")

    async def put_all() -> None:
        config = AioConfig(max_pool_connections=64, request_checksum_calculation="when_required")
        session: Any = get_session()
        async with session.create_client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL_S3"], config=config) as s3:
            numbers = iter(range(first, first + count))

            async def put() -> None:
                for number in numbers:
                    key = f"inbox/{key_of(number)}"
                    await s3.put_object(Bucket=bucket, Key=f"{key}.png", Body=b"\x89PNG%d%s" % (number, mark.encode()))
                    if number < yamls:
                        await s3.put_object(
                            Bucket=bucket, Key=f"{key}.yaml", Body=b"prompt: Leaves.\nseed: %d\n" % number
                        )

            if not first and not mark:
                await s3.put_object(Bucket=bucket, Key="inbox/_defaults.yaml", Body=DEFAULTS)
            await asyncio.gather(*(put() for _ in range(32)))

    with Timed() as timed:
        asyncio.run(put_all())
    return {"wall_s": timed.wall_s, "cpu_s": timed.cpu_s}


def bare() -> dict[str, Any]:
    """The listing alone, by boto3's own paginator."""
    import boto3

    s3: Any = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL_S3"])  # pyright: ignore
    bucket = os.environ["WAN_BUCKET_URL"].removeprefix("s3://")
    with Timed() as timed:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="inbox/")
        objects = sum(len(page.get("Contents", ())) for page in pages)
    return {"wall_s": timed.wall_s, "cpu_s": timed.cpu_s, "objects": objects}


def nothing() -> dict[str, Any]:
    """What Dagster, and this project's definitions, take before the first tick."""
    with Timed() as timed:
        import dagster  # noqa: F401  # pyright: ignore[reportUnusedImport]
    bare_dagster = {"wall_s": timed.wall_s, "cpu_s": timed.cpu_s, "peak_mb": peak_mb()}
    with Timed() as timed:
        from wan_pipeline.definitions import defs  # noqa: F401  # pyright: ignore[reportUnusedImport]
    return {"wall_s": timed.wall_s, "cpu_s": timed.cpu_s, "dagster": bare_dagster}


@contextmanager
def _instance() -> Generator[dg.DagsterInstance]:
    import dagster as dg

    folder = Path(os.environ["WAN_HOME"]) / "instance"
    folder.mkdir(parents=True, exist_ok=True)
    with dg.DagsterInstance.local_temp(str(folder), overrides={"telemetry": {"enabled": False}}) as instance:
        yield instance


def _ticks(count: int) -> Iterator[tuple[Timed, Any]]:
    """So many ticks of the bucket sensor; its cursor is in a file, as Dagster's daemon has it in its storage."""
    import dagster as dg

    from wan_pipeline.definitions import build_defs
    from wan_pipeline.defs.sensors import bucket_sensor

    installation = (build_defs().resources or {})["installation"]
    kept = Path(os.environ["WAN_HOME"]) / "cursor"
    with _instance() as instance:
        for _ in range(count):
            cursor = kept.read_text() if kept.exists() else None
            given = {"installation": installation}
            with Timed() as timed, dg.build_sensor_context(instance, cursor, resources=given) as context:
                result: Any = bucket_sensor(context)
            kept.write_text(result.cursor)
            yield timed, result


def _said(result: Any) -> str:
    return result.skip_reason.skip_message if result.skip_reason else ""


def first(at_most: int = 40) -> dict[str, Any]:
    """Ticks until every shot is in the index, and three more, which take up the first of them."""
    times: list[Timed] = []
    more = 3
    for timed, result in _ticks(at_most):
        times.append(timed)
        more -= "were not enough" not in _said(result)
        if more < 0:
            break
    with _opened() as opened:
        known = opened.ledger.index.count()
    found = {"ticks": len(times) - 3, "longest_s": max(timed.wall_s for timed in times), "shots": known}
    return {"wall_s": sum(t.wall_s for t in times[:-3]), "cpu_s": sum(t.cpu_s for t in times[:-3]), **found}


@contextmanager
def _opened() -> Generator[OpenInstallation]:
    from wan_pipeline.bucket import open_bucket
    from wan_pipeline.defs.resources import OpenInstallation, SimulatorResource
    from wan_pipeline.settings import Settings
    from wan_pipeline.spend.ledger import Ledger

    settings = Settings.load()
    with Ledger.open(settings.ledger_url) as ledger:
        simulator = SimulatorResource(latency_s=None, render=None)
        yield OpenInstallation(settings, open_bucket(settings.bucket_url), ledger, simulator)


def taken_up() -> dict[str, Any]:
    """As if every shot had been made: nothing waits any more."""

    with _opened() as opened, Timed() as timed:
        index, now = opened.ledger.index, datetime.now(UTC)
        rows = index.load().values()
        for done in (index.mark_taken_up, index.mark_finished):
            done([row.key for row in rows], [row.version for row in rows], now)
    return {"wall_s": timed.wall_s, "cpu_s": timed.cpu_s}


def tick(count: int = 1) -> dict[str, Any]:
    """So many ticks in this process; the figures are the last one's, and the keys that it asks for."""
    ticks = list(_ticks(count))
    timed, result = ticks[-1]
    asked = json.loads(result.cursor)["asked_for"]
    keys = sorted(key for key, _ in asked)
    return {
        "wall_s": timed.wall_s,
        "cpu_s": timed.cpu_s,
        "first_s": ticks[0][0].wall_s,
        "keys": keys,
        "said": _said(result),
    }


def another_program() -> dict[str, Any]:
    """The first tick of another version of this program, which trusts nothing that the index says of shots."""
    from wan_pipeline.defs import upkeep

    upkeep._program = lambda: "another"  # pyright: ignore
    return tick(1)


def by_messages() -> dict[str, Any]:
    """A tick by event notifications, of a process that has listed the bucket before; no image waits for a late one."""
    from wan_pipeline.defs import upkeep_by_events

    upkeep_by_events._listed.add(os.environ["WAN_BUCKET_URL"])  # pyright: ignore
    upkeep_by_events.LATE = timedelta(0)
    return tick(1)


def scoped(step: int) -> dict[str, Any]:
    """The shots of some keys, and then all of them, as a run's process asks for them."""
    wanted = [key_of(number * step) for number in range(SCOPED)]

    with _opened() as opened:
        with Timed() as some:
            found = opened.discover_some(wanted)
        with Timed() as whole:
            every = [shot for shot in opened.discover() if shot.key in set(wanted)]
    all_of_them = {"whole_s": whole.wall_s, "whole_cpu_s": whole.cpu_s}
    return {"wall_s": some.wall_s, "cpu_s": some.cpu_s, "same": found == every and len(found) == SCOPED, **all_of_them}


PHASES: dict[str, Any] = {
    phase.__name__: phase
    for phase in (fill, bare, nothing, first, taken_up, tick, by_messages, another_program, scoped)
}


def main() -> None:
    """The phase that is named, with its arguments."""
    name, *given = sys.argv[1:]
    arguments = [int(each) if each.isdecimal() else each for each in given]
    found = PHASES[name](*arguments)
    print(json.dumps({**found, "peak_mb": peak_mb()}))


if __name__ == "__main__":
    main()
