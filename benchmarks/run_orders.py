"""Prints the command of a run's process, as Dagster's launchers start it, for a run that it puts into the storage.

    python -m benchmarks.run_orders MODULE JOB [SHOT]     (a line of JSON: the arguments)

A process of its own: what creates runs loads all of Dagster, and the one that measures is to stay small. DAGSTER_HOME, or
WAN_HOME with a SHOT, says where.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import dagster as dg
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._grpc.types import ExecuteRunArgs


def main() -> int:
    module, job, *shots = sys.argv[1:]
    tags: dict[str, str] = {}
    if shots:
        from wan_pipeline.defs.instance import prepare_dagster_home
        from wan_pipeline.settings import Settings

        prepare_dagster_home(Settings.load())
    definitions: dg.Definitions = importlib.import_module(module).defs
    repository = RepositoryPythonOrigin(
        executable_path=sys.executable,
        code_pointer=ModuleCodePointer(module, "defs", str(Path.cwd())),
        entry_point=[sys.executable, "-m", "dagster"],
    )
    origin = JobPythonOrigin(job_name=job, repository_origin=repository)
    with dg.DagsterInstance.get() as instance:
        if shots:
            from wan_pipeline.defs.partitions import Piece, add_shots

            add_shots(instance, shots)
            tags = Piece(tuple(shots)).range_tags
        run = instance.create_run_for_job(
            definitions.get_repository_def().get_job(job), tags=tags, job_code_origin=origin
        )
        print(json.dumps(ExecuteRunArgs(origin, run.run_id, instance.get_ref()).get_command_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
