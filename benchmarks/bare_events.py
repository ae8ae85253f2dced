"""Dagster's own events for shots, and nothing else: what they cost in CPU.

    python -m benchmarks.bare_events HOME [--storage dagster|kept] [--shots 1000]

Reads the events that runs of `shots_to_videos` have left in HOME/dagster (materializations and check evaluations, with their
metadata), then has one op of a bare asset, with the same keys, checks and partitions, log them again by
`context.log_event`, in process, into an instance of its own: with the SQLite storage that Dagster ships (`dagster`) or with
the one of this project, which is the same with its connections kept open (`kept`). The CPU is that of the run: planned
events, the op, the end; importing is not in it. Of a larger run the first 1,000 shots are taken: in the storage that Dagster
ships, the planning of a run grows with the square of its shots. Prints one line of JSON: shots, events, cpu_s.
"""

# No `from __future__ import annotations`: Dagster compares the context's annotation with its classes.

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from wan_pipeline.defs.partitions import RANGE_END_TAG, RANGE_START_TAG

_SHOTS = "bare"


def left_in(home: Path) -> list[Any]:
    """The materializations and check evaluations of shots, run by run, in their order."""
    found: list[Any] = []
    os.environ["DAGSTER_HOME"] = str(home)
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home))) as instance:
        for run in reversed(instance.get_runs()):
            for event in instance.all_logs(run.run_id):
                told = event.dagster_event
                if told is not None and told.is_step_materialization:
                    found.append(told.step_materialization_data.materialization)
                elif told is not None and told.event_type_value == "ASSET_CHECK_EVALUATION":
                    found.append(told.asset_check_evaluation_data)
    return [event for event in found if event.partition is not None]


def bare_job(events: list[Any], partitions: dg.DynamicPartitionsDefinition) -> dg.JobDefinition:
    """One asset op that logs these events."""
    assets = {event.asset_key for event in events}
    checks = {(event.asset_key, event.check_name) for event in events if isinstance(event, dg.AssetCheckEvaluation)}

    @dg.multi_asset(
        name="bare_events",
        specs=[dg.AssetSpec(key, partitions_def=partitions, skippable=True) for key in sorted(assets)],
        check_specs=[dg.AssetCheckSpec(name, asset=key, partitions_def=partitions) for key, name in sorted(checks)],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def bare_events(context: dg.AssetExecutionContext) -> Iterator[None]:
        yield from ()
        for event in events:
            context.log_event(event)

    job = dg.define_asset_job("bare", selection=[bare_events], partitions_def=partitions)
    return dg.Definitions(assets=[bare_events], jobs=[job]).get_job_def("bare")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("home", type=Path)
    options.add_argument("--storage", choices=("dagster", "kept"), default="dagster")
    options.add_argument("--shots", type=int, default=1000, help="at most so many")
    given = options.parse_args()
    events = left_in(given.home / "dagster")
    shots = list(dict.fromkeys(event.partition for event in events))[: given.shots]
    taken = frozenset(shots)
    events = [event for event in events if event.partition in taken]
    if not shots:
        raise SystemExit(f"{given.home}: no run has left events of shots there")
    overrides: Mapping[str, Any] = {
        "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    }
    if given.storage == "kept":
        ours = {"module": "wan_pipeline.defs.instance", "class": "InstanceStorage", "config": {}}
        overrides = {**overrides, "storage": {"custom": ours}}
    with tempfile.TemporaryDirectory() as name:
        os.environ["DAGSTER_HOME"] = name
        (Path(name) / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        partitions = dg.DynamicPartitionsDefinition(name=_SHOTS)
        job = bare_job(events, partitions)
        with dg.DagsterInstance.from_ref(InstanceRef.from_dir(name, overrides=dict(overrides))) as instance:
            instance.add_dynamic_partitions(_SHOTS, shots)
            quiet: Any = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
            began_s = time.process_time()
            result = job.execute_in_process(
                instance=instance, run_config=quiet, tags={RANGE_START_TAG: shots[0], RANGE_END_TAG: shots[-1]}
            )
            cpu_s = time.process_time() - began_s
    print(json.dumps({"shots": len(shots), "events": len(events), "cpu_s": round(cpu_s, 3)}))
    return 0 if result.success else 1


if __name__ == "__main__":
    sys.exit(main())
