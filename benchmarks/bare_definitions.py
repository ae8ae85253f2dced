"""The least that Dagster can load and run: what of a process is Dagster's own."""

import dagster as dg


@dg.op
def nothing() -> None:
    """Does nothing."""


@dg.job(executor_def=dg.in_process_executor)
def bare() -> None:
    """One op."""
    nothing()


defs = dg.Definitions(jobs=[bare])
