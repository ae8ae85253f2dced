"""Dagster runs whose `wan-pipeline run` was killed: they are told as failed, so that they do not count as running for ever.

Dagster watches only what its own launcher has started. Four killed runs would fill `max_concurrent_runs`, and nothing that
the UI launches would begin any more. What their jobs become is the ledger's matter, not this module's.

A process that runs holds a lock on a file of its own; a file whose lock can be had belongs to a process that is gone. Once
a run has come to its op it carries run_marks.py's mark as well, which other hosts can read.
"""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import dagster as dg

PROCESS_TAG = "wan_process"  # not below wan/: it is no order of an operator
_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_DRAFT = "."
_KILLED = "The `wan-pipeline run` that executed this was killed. The next one carries on with the same jobs."


@contextmanager
def process_mark(home: Path) -> Generator[str]:
    """The value of PROCESS_TAG for the runs of this process: proof that it lives, within this block."""
    folder = _folder(home)
    folder.mkdir(parents=True, exist_ok=True)
    name = uuid4().hex[:12]  # fits on the UI's page of runs
    draft, path = folder / f"{_DRAFT}{name}", folder / name
    with draft.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        draft.replace(path)  # seen only once it is locked
        try:
            yield name
        finally:
            path.unlink(missing_ok=True)


def end_orphans(instance: dg.DagsterInstance, home: Path) -> int:
    """Ends the runs of processes that are gone, and gives their number. Those of other hosts are left alone."""
    dead = {path.name for path in _folder(home).glob("*") if not path.name.startswith(_DRAFT) and _is_free(path)}
    ended = 0
    for name in sorted(dead):
        for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED, tags={PROCESS_TAG: name})):
            instance.report_run_failed(run, _KILLED)
            ended += 1
        (_folder(home) / name).unlink(missing_ok=True)
    return ended


def _folder(home: Path) -> Path:
    return home / "wan-runs"


def _is_free(path: Path) -> bool:
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except OSError:  # held, or gone just now
        return False
