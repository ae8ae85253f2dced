"""Several runs at once: the trouble of one is its own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg

from wan_pipeline.cli.drive import Drive
from wan_pipeline.defs.partitions import Piece


class _Job:
    """Dagster's own storage fails it for one of the pieces, before the run can say anything."""

    def execute_in_process(self, *, tags: dict[str, str], **_: Any) -> Any:
        if tags["dagster/asset_partition_range_start"] == "b":
            raise RuntimeError("database is locked")
        return SimpleNamespace(success=True, run_id="a-run")


def test_a_run_that_dagster_itself_breaks_off_is_told_and_the_others_are_not_lost(tmp_path: Path) -> None:
    drive = Drive(cast(dg.DagsterInstance, None), tmp_path, cast(dg.JobDefinition, _Job()), {})
    results = drive.run([Piece((key,)) for key in "abc"], lambda times: None)
    assert {result.piece.keys[0]: result.error for result in results} == {
        "a": None,
        "b": "its run broke off: RuntimeError: database is locked",
        "c": None,
    }
