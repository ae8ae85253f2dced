"""What anybody is told when something went wrong: in the runs and ticks that Dagster's pages show as failed.

A traceback may be there. It is not to be the only message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import dagster as dg
from dagster._core.scheduler.instigation import TickStatus
from dagster._utils.error import SerializableErrorInfo

# What Dagster says by itself of any failed run or step, whatever the reason.
_NO_REASON = ("Execution of run for", "Steps failed:", "Execution of step", "This run has been marked as failed")
_KILLED = re.compile("terminated by signal|unexpectedly exited")  # in Dagster's engine event
# Errors whose message is written for people: ours, and Dagster's word for a code server that is not there.
_WRITTEN_FOR_PEOPLE = {
    "BucketError",
    "ConfigurationError",
    "DagsterUserCodeProcessError",
    "DagsterUserCodeUnreachableError",
    "Failure",
    "ProblemsError",
}
# The daemon's own storage is gone in the middle of a tick, and nothing of ours has a say in it: what the driver says.
_OF_THE_DATABASE = re.compile(
    "server closed the connection|connection to server|terminating connection|database system is"
)
_OURS_RAN = {"SensorExecutionError", "ScheduleExecutionError"}


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
            found[name] = "" if tick.error is None else next(_written_for_people(tick.error), _of_dagster(tick.error))
    return found


def _of_dagster(error: SerializableErrorInfo) -> str:
    chain = list(_chain(error))
    if any(each.cls_name in _OURS_RAN for each in chain):
        return ""
    return next((each.message.strip() for each in chain if _OF_THE_DATABASE.search(each.message)), "")


def _said_of(instance: dg.DagsterInstance, run_id: str) -> Iterator[str]:
    for entry in instance.all_logs(run_id):
        event = entry.dagster_event
        if event is not None and event.is_step_failure:
            step = event.step_failure_data
            if step.user_failure_data is not None and step.user_failure_data.description:
                yield step.user_failure_data.description
            if step.error is not None:
                yield from _written_for_people(step.error)
        elif event is not None and event.message and _tells_why(event):
            yield event.message
        elif event is not None and event.is_engine_event and event.engine_event_data.error is not None:
            yield from _written_for_people(event.engine_event_data.error)  # it could not be launched


def _tells_why(event: dg.DagsterEvent) -> bool:
    text = event.message or ""
    return bool(_KILLED.search(text)) if event.is_engine_event else event.is_failure and not text.startswith(_NO_REASON)


def _written_for_people(error: SerializableErrorInfo) -> Iterator[str]:
    for each in _chain(error):
        if each.cls_name in _WRITTEN_FOR_PEOPLE and each.message.strip():
            yield each.message.strip()


def _chain(error: SerializableErrorInfo) -> Iterator[SerializableErrorInfo]:
    """The error, and what was behind it."""
    yield error
    for behind in (error.cause, error.context):
        if behind is not None:
            yield from _chain(behind)
