"""One task of benchmarks/reports.py, in this process: prints what it took as a line of JSON.

    python -m benchmarks.report_tasks TASK URL LAST_DAY

What is imported before the clock starts is what a process that serves for long has imported. The statements that the task
sends are noted, and afterwards sent once more through the driver alone: that is the bare SQL.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from wan_pipeline.bucket import open_bucket
from wan_pipeline.spend.ledger import Ledger


@dataclass(frozen=True)
class Measured:
    """`rows`: read by the bare SQL; `peak_mb`: of this process before that."""

    seconds: float
    bare_s: float
    rows: int
    statements: int
    peak_mb: float

    def cells(self) -> tuple[str, ...]:
        ratio = f"{self.seconds / self.bare_s:.1f}" if self.bare_s else "-"
        return (
            *(f"{self.seconds:.2f}", f"{self.bare_s:.2f}", ratio),
            *(f"{self.rows:,}", f"{self.statements}", f"{self.peak_mb:.0f}"),
        )


@dataclass(frozen=True)
class Task:
    """`work` is given the ledger, the year's last day and a folder of its own."""

    title: str
    work: Callable[[Ledger, date, Path], object]
    needs: tuple[str, ...] = ()  # what is imported beforehand


def _a_day(last_day: date) -> date:
    return last_day - timedelta(days=60)


def _day(ledger: Ledger, last_day: date, folder: Path) -> object:
    from wan_pipeline.reports import cost_report

    return cost_report(ledger.engine, _a_day(last_day))


def _day_in_files(ledger: Ledger, last_day: date, folder: Path) -> object:
    from wan_pipeline.reports import cost_report, publish

    return publish(cost_report(ledger.engine, _a_day(last_day)), open_bucket(str(folder)))


_FILES = ("pandas", "pyarrow.parquet", "matplotlib.figure", "matplotlib.backends.backend_agg", "tabulate")
TASKS = {
    "day": Task("a day's report", _day),
    "day-files": Task("a day's report and its files", _day_in_files, _FILES),
}


def measure(task: Task, url: str, last_day: date) -> Measured:
    """Runs it once."""
    for name in ("wan_pipeline.reports", *task.needs):
        import_module(name)
    with tempfile.TemporaryDirectory() as folder, Ledger.open(url) as ledger:
        sent: list[tuple[str, Any]] = []

        @event.listens_for(ledger.engine, "before_cursor_execute")
        def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
            if not many:
                sent.append((statement, parameters))

        began = time.perf_counter()
        task.work(ledger, last_day, Path(folder))
        seconds = time.perf_counter() - began
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        event.remove(ledger.engine, "before_cursor_execute", note)
        bare_s, rows = _bare(ledger.engine, sent)
    return Measured(seconds, bare_s, rows, len(sent), peak_mb)


def _bare(engine: Engine, sent: list[tuple[str, Any]]) -> tuple[float, int]:
    """The same statements by the driver alone: seconds, and rows read. Nothing that they write is kept."""
    connection, rows = engine.raw_connection(), 0
    try:
        cursor = connection.cursor()
        began = time.perf_counter()
        for statement, parameters in sent:
            cursor.execute(statement, parameters)
            rows += len(cursor.fetchall()) if cursor.description else 0
        return time.perf_counter() - began, rows
    finally:
        connection.rollback()
        connection.close()


def main() -> int:
    task, url, last_day = sys.argv[1:]
    print(json.dumps(dataclasses.asdict(measure(TASKS[task], url, date.fromisoformat(last_day)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
