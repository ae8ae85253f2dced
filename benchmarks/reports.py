"""Reports: how long a day's report, a month's, its FOCUS export and its reconciliation take out of a whole year's ledger.

    python -m benchmarks.reports [--jobs 30000] [--full] [--database sqlite|postgres|both] [--folder FOLDER]

A generated year (wan_pipeline_tests/reports/year.py) in SQLite and in PostgreSQL: by default 30,000 jobs in 400 days, with
--full a million. Each task runs in a process of its own, whose peak of memory is told; imports are not counted. Beside each
task stands the bare SQL: the very statements that it sent, sent once more through the driver alone and read to their last
row, in the same process. The ratio says what bounds the work: near 1 the database, far above 1 the Python around it. Nothing
is judged. With --folder the ledgers stay there and are used again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import sqlalchemy as sa

from benchmarks.report_tasks import TASKS, Measured
from wan_pipeline_tests.reports.year import Year
from wan_pipeline_tests.services.postgres import PostgresServer, postgres

FULL = 1_000_000
_HEADINGS = ("", "", "seconds", "CPU", "bare SQL", "ratio", "rows read", "statements", "peak MB")
_LINE = "{:<10}  {:<34}  {:>8}  {:>6}  {:>8}  {:>6}  {:>11}  {:>10}  {:>7}"


@contextmanager
def ledgers(wanted: str, folder: Path, year: Year) -> Generator[dict[str, str]]:
    """URLs of ledgers that hold the year, by the database's name."""
    urls: dict[str, str] = {}
    with ExitStack() as stack:
        if wanted in ("sqlite", "both"):
            path = folder / f"year-{year.jobs}-{year.last_day}.sqlite"
            urls["SQLite"] = f"sqlite:///{path}"
            if not path.exists():
                _write("SQLite", urls["SQLite"], year, folder)
        if wanted in ("postgres", "both"):
            server = stack.enter_context(postgres())
            _hurry(server)
            urls["PostgreSQL"] = stack.enter_context(server.database())
            _write("PostgreSQL", urls["PostgreSQL"], year, folder)
        yield urls


def _hurry(server: PostgresServer) -> None:
    """Nothing that it holds need outlive a power cut: a million rows are written in half the time. No query is quicker."""
    engine = sa.create_engine(server.admin_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        for setting in ("full_page_writes = off", "max_wal_size = '16GB'"):
            connection.exec_driver_sql(f"ALTER SYSTEM SET {setting}")
        connection.exec_driver_sql("SELECT pg_reload_conf()")


def _write(name: str, url: str, year: Year, folder: Path) -> None:
    # In a process of its own too: what one process has held once counts in the peak of those it starts.
    command = [sys.executable, "-m", "benchmarks.year", url, "--jobs", str(year.jobs), "--last-day", str(year.last_day)]
    command += ["--books", str(_bucket(folder, year))]
    print(f"{name}:", subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.strip(), flush=True)


def _bucket(folder: Path, year: Year) -> Path:
    return folder / f"bucket-{year.jobs}-{year.last_day}"


def measure(task: str, url: str, year: Year, folder: Path) -> Measured:
    """In a process of its own."""
    command = [sys.executable, "-m", "benchmarks.report_tasks", task, url, year.last_day.isoformat()]
    command.append(str(_bucket(folder, year)))
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--jobs", type=int, default=30_000)
    options.add_argument("--full", action="store_true", help="a million jobs: some minutes, and 3 GB of disk")
    options.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    options.add_argument("--folder", type=Path, help="keep SQLite's ledger there")
    options.add_argument("--task", choices=list(TASKS), action="append", help="only this one; may be repeated")
    given = options.parse_args()
    year = Year(FULL if given.full else given.jobs)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        with ledgers(given.database, folder, year) as urls:
            print("\n" + _LINE.format(*_HEADINGS))
            for name, url in urls.items():
                for task in given.task or TASKS:
                    measured = measure(task, url, year, folder)
                    print(_LINE.format(name, TASKS[task].title, *measured.cells()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
