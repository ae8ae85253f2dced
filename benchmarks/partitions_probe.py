"""One measurement of benchmarks/partitions.py, in a process of its own with the scene's environment; prints JSON.

    python -m benchmarks.partitions_probe ticks | run KEY … | make KEY … | retire

`ticks`: each of our sensors and schedules three times, as in a code server that lives on; the CPU seconds of the last.
`run`: one run over these neighbouring shots, executed in this process; its CPU seconds.
`make`: the run is only written down and its partitions planned, as the daemon does it; gives what a launcher starts.
`retire`: a tenth of the shots leave the partitions.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.execution.backfill import BulkActionStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import serialize_value

from wan_pipeline.cli.opened import open_installation
from wan_pipeline.definitions import defs
from wan_pipeline.defs.instance import prepare_dagster_home
from wan_pipeline.defs.partitions import RANGE_END_TAG, RANGE_START_TAG, SHOTS, add_shots
from wan_pipeline.defs.retiring import GONE_FOR, retire
from wan_pipeline.defs.runs_of_shots import UNFINISHED
from wan_pipeline.settings import Settings

_TIMES = 3
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def ticks(instance: dg.DagsterInstance) -> dict[str, float]:
    """CPU seconds by name."""
    found: dict[str, float] = {}
    resources = {"installation": defs.resources["installation"]} if defs.resources else {}
    for sensor in defs.sensors or ():
        cursor = None
        for _ in range(_TIMES):
            with dg.build_sensor_context(instance, cursor, resources=resources) as context:
                began = time.process_time()
                result: Any = sensor(context)
                found[sensor.name] = time.process_time() - began
            cursor = getattr(result, "cursor", None) or context.cursor
    for schedule in defs.schedules or ():
        for _ in range(_TIMES):
            moment = datetime.now(UTC)
            with dg.build_schedule_context(instance, resources=resources, scheduled_execution_time=moment) as context:
                began = time.process_time()
                cast(Any, schedule)(context)
                found[schedule.name] = time.process_time() - began
    return found


def run(instance: dg.DagsterInstance, keys: Sequence[str]) -> dict[str, float]:
    """One run in this process."""
    add_shots(instance, keys)
    job = defs.resolve_job_def("make_videos")
    began = time.process_time()
    result = job.execute_in_process(instance=instance, tags=_range(keys), run_config=_QUIET, raise_on_error=False)
    spent = time.process_time() - began
    if not result.success:
        raise RuntimeError("the run failed")
    return {"run": spent}


def make(instance: dg.DagsterInstance, keys: Sequence[str]) -> dict[str, Any]:
    """A run that is written down, and how it is started."""
    add_shots(instance, keys)
    origin = ReconstructableRepository.for_module("wan_pipeline.definitions", "defs", str(Path.cwd()))
    job = defs.resolve_job_def("make_videos")
    began = time.process_time()
    made = instance.create_run_for_job(
        job, tags=_range(keys), job_code_origin=origin.get_reconstructable_job("make_videos").get_python_origin()
    )
    spent = time.process_time() - began
    arguments = ExecuteRunArgs(
        job_origin=origin.get_reconstructable_job("make_videos").get_python_origin(),
        run_id=made.run_id,
        instance_ref=instance.get_ref(),
    )
    return {"made": spent, "arguments": serialize_value(arguments), "run_id": made.run_id}


def retire_a_tenth(instance: dg.DagsterInstance) -> dict[str, Any]:
    """Every tenth of the copied shots is said to be gone; then a retirement, and the same by Dagster's own way for a few."""
    order = [key for key in instance.get_dynamic_partitions(SHOTS) if key.startswith("made/")]
    then = datetime.now(UTC) - GONE_FOR - GONE_FOR
    # None of the backfill of before is under way any more.
    for backfill in instance.get_backfills():
        instance.update_backfill(backfill.with_status(BulkActionStatus.CANCELED))
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        instance.report_run_canceled(run)
    with open_installation() as opened:
        opened.ledger.index.mark_gone(order[::10], then)
        began = time.process_time()
        done = retire(instance, opened, datetime.now(UTC))
        spent = time.process_time() - began
    left = len(instance.get_dynamic_partitions(SHOTS))
    began = time.process_time()
    few = order[1:500:10]
    for key in few:
        instance.delete_dynamic_partition(SHOTS, key)
    return {
        "retire": spent,
        "gone": len(done.gone),
        "left": left,
        "one_by_one": (time.process_time() - began) / len(few),
    }


def _range(keys: Sequence[str]) -> Mapping[str, str]:
    return {RANGE_START_TAG: keys[0], RANGE_END_TAG: keys[-1]}


def main() -> int:
    what, *keys = sys.argv[1:]
    prepare_dagster_home(Settings.load())
    actions: Mapping[str, Callable[[dg.DagsterInstance], Mapping[str, Any]]] = {
        "ticks": ticks,
        "run": lambda instance: run(instance, keys),
        "make": lambda instance: make(instance, keys),
        "retire": retire_a_tenth,
    }
    with dg.DagsterInstance.get() as instance:
        print("\n" + json.dumps(actions[what](instance)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
