"""What a person does in Dagster's UI after a crash: "force termination" of each run that still reads Started.

Nothing else ends them: the default launcher cannot tell whether a run's process is alive, and each takes one of the queue's
places for ever. Prints the partitions of those runs as a line of JSON.
"""

from __future__ import annotations

import json

import dagster as dg

with dg.DagsterInstance.get() as instance:
    stale = instance.get_runs(
        dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
        )
    )
    for run in stale:
        instance.report_run_canceled(run)
    print(json.dumps([run.tags["dagster/partition"] for run in stale]))
