"""One task of benchmarks/reports.py, in this process: prints what it took as a line of JSON.

    python -m benchmarks.report_tasks TASK URL LAST_DAY BUCKET

What is imported before the clock starts is what a process that serves for long has imported. The statements that the task
sends are noted (those that ask), and afterwards sent once more through the driver alone: that is the bare SQL.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from importlib import import_module
from time import perf_counter, process_time
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from wan_pipeline.bucket import Bucket, open_bucket
from wan_pipeline.money import Money
from wan_pipeline.providers.issuing import ISSUERS
from wan_pipeline.reconciliation.reconciling import Reconciler, Verdict
from wan_pipeline.reports import Period, period_report, publish
from wan_pipeline.reports.watching import watch
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Budgets
from wan_pipeline_tests.reports.year_books import connected


@dataclass(frozen=True)
class Measured:
    """`cpu_s`: of this process alone, which is also PostgreSQL's client and not its server; `rows`: read by the bare SQL;
    `peak_mb`: of this process before that."""

    seconds: float
    cpu_s: float
    bare_s: float
    rows: int
    statements: int
    peak_mb: float

    def cells(self) -> tuple[str, ...]:
        ratio = f"{self.seconds / self.bare_s:.1f}" if self.bare_s else "-"
        return (
            *(f"{self.seconds:.2f}", f"{self.cpu_s:.2f}", f"{self.bare_s:.2f}", ratio),
            *(f"{self.rows:,}", f"{self.statements}", f"{self.peak_mb:.0f}"),
        )


@dataclass(frozen=True)
class Place:
    """Where a task works: the ledger, the bucket with the invoices, and the days that it is about."""

    ledger: Ledger
    bucket: Bucket
    last_day: date

    @property
    def day(self) -> Period:
        return Period.day(self.last_day - timedelta(days=60))

    @property
    def month(self) -> Period:
        """One that lies wholly in the year."""
        return Period.month(self.last_day).previous.previous


@dataclass(frozen=True)
class Task:
    """`needs`: what is imported beforehand."""

    title: str
    work: Callable[[Place], object]
    needs: tuple[str, ...] = ("wan_pipeline.reports",)


def _day(place: Place) -> object:
    return period_report(place.ledger.engine, place.day)


def _day_in_files(place: Place) -> object:
    return publish(period_report(place.ledger.engine, place.day), place.bucket)


def _month(place: Place) -> object:
    return period_report(place.ledger.engine, place.month)


def _month_in_files(place: Place) -> object:
    return publish(period_report(place.ledger.engine, place.month), place.bucket)


def _focus(place: Place) -> object:
    from wan_pipeline.reports.focus import focus_export, publish

    return publish(focus_export(place.ledger.engine, place.month, ISSUERS), place.bucket)


def _reconciled_with(provider: str) -> Callable[[Place], object]:
    def work(place: Place) -> object:
        reconciler = Reconciler(place.ledger, place.bucket, connected([]), simulated=False)
        found = reconciler.reconcile(provider, place.month, dry_run=True)
        if found.verdict is not Verdict.EXPLAINED:
            raise AssertionError(f"{provider}, {place.month}: {found.verdict}, {len(found.findings)} findings")
        return found

    return work


def _alerts(place: Place) -> object:
    """A minute's tick: what was written since the tick before, all budgets, what today and the days before cost."""
    budgets = Budgets(Money.usd(5000), Money.usd(100_000), Money.usd(5), {}, {"aimlapi": Money.usd(50_000)})
    now = datetime.combine(place.last_day, time(12), UTC)
    return watch(place.ledger, budgets, simulated=False, after_entry=10**9, with_waste=False, now=now)


_FILES = ("pandas", "pyarrow.parquet", "matplotlib.figure", "matplotlib.backends.backend_agg", "jinja2", "tabulate")
TASKS = {
    "day": Task("a day's report", _day),
    "day-files": Task("a day's report and its files", _day_in_files, _FILES),
    "month": Task("a month's report", _month),
    "month-files": Task("a month's report and its files", _month_in_files, _FILES),
    "focus": Task("a month's FOCUS export, checked", _focus, ("wan_pipeline.reports.focus", *_FILES, "pyarrow.csv")),
    "invoice": Task("a month against an invoice", _reconciled_with("shortapi")),
    "books": Task("a month against books kept", _reconciled_with("wavespeed")),
    "alerts": Task("a tick of the alert sensor", _alerts),
}


def measure(task: Task, url: str, last_day: date, bucket: Bucket) -> Measured:
    """Runs it once."""
    for name in task.needs:
        import_module(name)
    with Ledger.open(url) as ledger:
        sent: list[tuple[str, Any]] = []

        @event.listens_for(ledger.engine, "before_cursor_execute")
        def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
            if not many and statement.lstrip().startswith(("SELECT", "WITH")):
                sent.append((statement, parameters))

        began, cpu_began = perf_counter(), process_time()
        task.work(Place(ledger, bucket, last_day))
        seconds, cpu_s = perf_counter() - began, process_time() - cpu_began
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        event.remove(ledger.engine, "before_cursor_execute", note)
        bare_s, rows = _bare(ledger.engine, sent)
    return Measured(seconds, cpu_s, bare_s, rows, len(sent), peak_mb)


def _bare(engine: Engine, sent: list[tuple[str, Any]]) -> tuple[float, int]:
    """The same questions by the driver alone: seconds, and rows read."""
    connection, rows = engine.raw_connection(), 0
    try:
        cursor = connection.cursor()
        began = perf_counter()
        for statement, parameters in sent:
            cursor.execute(statement, parameters)
            rows += len(cursor.fetchall()) if cursor.description else 0
        return perf_counter() - began, rows
    finally:
        connection.rollback()
        connection.close()


def main() -> int:
    task, url, last_day, bucket = sys.argv[1:]
    measured = measure(TASKS[task], url, date.fromisoformat(last_day), open_bucket(bucket))
    print(json.dumps(dataclasses.asdict(measured)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
