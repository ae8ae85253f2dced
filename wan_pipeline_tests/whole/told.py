"""What anybody is told when something went wrong: in the runs and ticks that Dagster's pages show as failed.

A traceback may be there. It is not to be the only message.
"""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
from dagster._core.scheduler.instigation import TickStatus
from dagster._utils.error import SerializableErrorInfo

# What Dagster says by itself of any failed run or step, whatever the reason.
_NO_REASON = ("Execution of run for", "Steps failed:", "Execution of step", "Run failed")
# Errors whose message is written for people: ours, and Dagster's word for a code server that is not there.
_WRITTEN_FOR_PEOPLE = {
    "BucketError",
    "ConfigurationError",
    "DagsterUserCodeProcessError",
    "DagsterUserCodeUnreachableError",
    "Failure",
    "ProblemsError",
}


def reasons_of_runs(instance: dg.DagsterInstance) -> dict[str, str]:
    """Of each failed run the first message that was written for people; "" where nothing but a traceback is shown."""
    found: dict[str, str] = {}
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])):
        found[f"run {run.run_id}"] = next(_said_of(instance, run.run_id), "")
    return found


def reasons_of_ticks(instance: dg.DagsterInstance) -> dict[str, str]:
    """The same of each failed tick of a sensor or a schedule."""
    found: dict[str, str] = {}
    for state in instance.all_instigator_state():
        for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, statuses=[TickStatus.FAILURE]):
            name = f"tick {tick.tick_id} of {state.instigator_name}"
            found[name] = "" if tick.error is None else next(_written_for_people(tick.error), "")
    return found


def _said_of(instance: dg.DagsterInstance, run_id: str) -> Iterator[str]:
    for entry in instance.all_logs(run_id):
        event = entry.dagster_event
        if event is not None and event.is_step_failure:
            step = event.step_failure_data
            if step.user_failure_data is not None and step.user_failure_data.description:
                yield step.user_failure_data.description
            if step.error is not None:
                yield from _written_for_people(step.error)
        elif event is not None and event.is_failure and event.message and not event.message.startswith(_NO_REASON):
            yield event.message


def _written_for_people(error: SerializableErrorInfo) -> Iterator[str]:
    if error.cls_name in _WRITTEN_FOR_PEOPLE and error.message.strip():
        yield error.message.strip()
    for behind in (error.cause, error.context):
        if behind is not None:
            yield from _written_for_people(behind)
