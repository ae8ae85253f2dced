"""Runs of ours whose process is gone without a word: they are told as failed.

Measured with dagster 1.13.27 and its default launcher: a run worker that is killed is reported by its code server within a
second; where the code server is gone too (everything killed, a reboot), the run stays STARTED for ever, counts against
`max_concurrent_runs`, and its shots are covered by it. `run_monitoring` looks after runs that hang while starting or being
cancelled, and not after these.

What belongs here: ending the display's runs. What does not: what becomes of their jobs, which the ledger knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import sqlalchemy as sa

from wan_pipeline.defs import names
from wan_pipeline.defs.failures import RETRY_WAITS_S
from wan_pipeline.defs.process_marks import end_orphans
from wan_pipeline.defs.run_marks import OWNER_TAG
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.owners import is_alive, let_go_at

_JOBS = frozenset({names.MAKE_VIDEOS, names.QUOTE_SHOTS, names.DAILY_REPORT, names.RESOLVE_JOB, names.RETIRE_SHOTS})
_ASSETS = frozenset({names.SOURCE_IMAGES, names.SHOT_QUOTES, names.GENERATED_VIDEOS, names.COST_REPORTS, names.BUDGETS})
_SURE_AFTER = timedelta(seconds=8)  # Dagster itself may be about to say so
# A run lets its mark go where it ends in order, a moment before Dagster writes that down, and while its op waits for being
# tried again: it has a new mark after that.
_LET_GO_FOR = timedelta(seconds=max(RETRY_WAITS_S) + 30)
# From a run's start to its mark: the op may wait a minute for a ledger that is not up, and each try takes its time.
_UNMARKED_FOR = timedelta(minutes=10)
_GONE = (
    "The process that executed this run is gone: it was killed, or its host was restarted. What it had bought is collected"
    " and what it had not come to is taken up again, by the sensors."
)


def end_lost_runs(
    instance: dg.DagsterInstance, ledger: Ledger, home: Path, suspects: Mapping[str, datetime], now: datetime
) -> tuple[dict[str, datetime], int]:
    """Reports as failed (cancelled, where they were being) the runs of ours whose process is gone.

    `suspects`: the runs that an earlier call found without a process, and since when. Gives those of this call, and how
    many runs were ended. `home`: Dagster's home on this host.
    """
    ended = end_orphans(instance, home)
    found: dict[str, datetime] = {}
    running = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
    for record in instance.get_run_records(dg.RunsFilter(statuses=running)):
        run = record.dagster_run
        if not _is_ours(run) or not _is_gone(run, record.start_time, ledger, now):
            continue
        since = suspects.get(run.run_id, now)
        if now - since < _SURE_AFTER:
            found[run.run_id] = since
            continue
        ended += _end(instance, run.run_id)
    return found, ended


def _is_ours(run: dg.DagsterRun) -> bool:
    return OWNER_TAG in run.tags or run.job_name in _JOBS or bool(_ASSETS & set(run.asset_selection or ()))


def _is_gone(run: dg.DagsterRun, start_time: float | None, ledger: Ledger, now: datetime) -> bool:
    owner = run.tags.get(OWNER_TAG)
    if owner is None:  # killed before its op began
        return start_time is not None and now - datetime.fromtimestamp(start_time, UTC) > _UNMARKED_FOR
    with ledger.engine.connect() as connection:
        if connection.dialect.name == "postgresql":  # whose clock the heartbeats are written by
            now = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        let_go = let_go_at(connection, owner)
        if let_go is not None:
            return now - let_go > _LET_GO_FOR
        return not is_alive(connection, owner, now)


def _end(instance: dg.DagsterInstance, run_id: str) -> int:
    run = instance.get_run_by_id(run_id)  # it may have ended meanwhile
    if run is None or run.is_finished:
        return 0
    if run.status is dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, _GONE)
    else:
        instance.report_run_failed(run, _GONE)
    return 1
