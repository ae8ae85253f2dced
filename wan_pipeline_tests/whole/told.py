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
_PLAIN = {"ConfigurationError", "BucketError", "ProblemsError", "Failure", "LedgerError", "UnreachableError"}
_PLAIN |= {"DagsterUserCodeUnreachableError", "DagsterCodeLocationNotFoundError", "DagsterUserCodeProcessError"}


def runs_without_a_reason(instance: dg.DagsterInstance) -> list[str]:
    """The failed runs of which nothing but a traceback is shown."""
    found: list[str] = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])):
        said = list(_said_of(instance, run.run_id))
        if not any(plain for plain, _ in said):
            found.append(f"run {run.run_id}: {[text[:300] for _, text in said]}")
    return found


def ticks_without_a_reason(instance: dg.DagsterInstance) -> list[str]:
    """The failed ticks of sensors and schedules that show nothing but a traceback."""
    found: list[str] = []
    for state in instance.all_instigator_state():
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, statuses=[TickStatus.FAILURE])
        for tick in ticks:
            if tick.error is None or not any(_is_plain(error) for error in _chain(tick.error)):
                text = "no error" if tick.error is None else tick.error.to_string()
                found.append(f"{state.instigator_name}: {text[:600]}")
    return found


def _said_of(instance: dg.DagsterInstance, run_id: str) -> Iterator[tuple[bool, str]]:
    """Each message about the failure of this run, and whether it was written for people."""
    for entry in instance.all_logs(run_id):
        event = entry.dagster_event
        if event is None or not (event.is_failure or event.is_step_failure):
            continue
        data = event.event_specific_data
        if event.is_step_failure:
            step = event.step_failure_data
            if step.user_failure_data is not None and step.user_failure_data.description:
                yield True, step.user_failure_data.description
            if step.error is not None:
                yield any(_is_plain(error) for error in _chain(step.error)), step.error.to_string()
        elif event.message:
            yield not event.message.startswith(_NO_REASON), f"{event.message} {data}"


def _chain(error: SerializableErrorInfo) -> Iterator[SerializableErrorInfo]:
    yield error
    for next_error in (error.cause, error.context):
        if next_error is not None:
            yield from _chain(next_error)


def _is_plain(error: SerializableErrorInfo) -> bool:
    return error.cls_name in _PLAIN and bool(error.message.strip())
