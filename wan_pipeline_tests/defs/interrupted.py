"""Runs that are interrupted as Dagster interrupts them, at a moment of the test's choosing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError

from wan_pipeline.generation.events import Event, Progress
from wan_pipeline.generation.listeners import subscribe
from wan_pipeline.spend.records import JobState
from wan_pipeline_tests.defs.lab import Lab


def submitted(count: int) -> Callable[[Event], bool]:
    """True once so many jobs are at their provider."""
    seen: set[str] = set()

    def look(event: Event) -> bool:
        if isinstance(event, Progress) and event.state is JobState.SUBMITTED:
            seen.add(event.shot.key)
        return len(seen) >= count

    return look


def interrupted_run(
    lab: Lab,
    keys: Sequence[str],
    when: Callable[[Event], bool],
    *,
    terminated: bool = False,
    forced: bool = False,
    tags: Mapping[str, str] | None = None,
) -> dg.DagsterRun:
    """A run of these shots into which a signal comes, once: a person's Terminate (`forced`: with the UI's box "Force
    termination immediately" ticked), or a redeployment's SIGTERM. Gives the run as it ended."""
    come = False

    def listen(event: Event) -> None:
        nonlocal come
        if not come and when(event):
            come = True
            if terminated or forced:
                (run,) = lab.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
                (lab.instance.report_run_canceled if forced else lab.instance.report_run_canceling)(run)
            raise DagsterExecutionInterruptedError

    with subscribe(listen):
        with contextlib.suppress(DagsterExecutionInterruptedError):
            lab.run(keys, tags={"wan/asked_by": "sensor", **(tags or {})})
    assert come, "the moment never came"
    return lab.instance.get_runs(limit=1)[0]
