"""Writes a generated year into a new ledger, past the ledger's own door: a million jobs in two minutes.

The rows are the ones that the ledger itself would have written; `Ledger.verify` finds nothing wrong with them. Secondary
indexes are made at the end; at the end the database is as if a process had opened it and closed it again.
"""

from __future__ import annotations

import io
import json
import os
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.tables import POSTGRES_SCHEMA, attempts, jobs, metadata, money_entries, owners, takes
from wan_pipeline_tests.reports.year import Batch, Year
from wan_pipeline_tests.reports.year_jobs import Entry, YearJob

Row = tuple[Any, ...]

_OWNERS = ("id", "host", "host_id", "pid", "process_started", "registered_at", "heartbeat_at", "released_at")
_JOBS = (
    *("id", "shot", "take", "provider", "model", "request_hash", "repeat", "fingerprint", "own_digest", "state"),
    *("arguments", "inputs", "duration_s", "resolution", "has_audio", "campaign", "quoted_low_nanos"),
    *("quoted_high_nanos", "held_nanos", "billed_nanos", "basis", "provider_job_id", "attempt_id", "owner"),
    *("retryable", "error", "result_url", "video_uri", "video_key", "video_sha256", "video_bytes"),
    *("video_duration_s", "simulated", "claimed_at", "submitted_at", "generated_at", "stored_at", "updated_at"),
    *("sent_at", "doubted_at", "next_look_at", "duplicate_allowed_nanos"),
)
_ATTEMPTS = ("id", "job_id", "n", "owner", "began_at", "ended_at", "outcome", "detail", "account")
_TAKES = ("shot", "take", "job_id", "own_digest", "request_hash", "reused", "video_uri", "created_at")
_ENTRIES = ("job_id", "kind", "amount_nanos", "basis", "at", "note", "effective_at")
_OUTCOMES = {  # of the attempt, by the job's state; every other one was accepted
    "rejected": "rejected",
    **dict.fromkeys(("ambiguous", "released", "written_off"), "ambiguous"),
}


def write_year(url: str, year: Year) -> None:
    """Into the new, empty ledger of this URL."""
    Ledger.open(url).close()
    parsed = make_url(url)
    with _postgres(parsed) if parsed.get_backend_name() == "postgresql" else _sqlite(parsed) as writer:
        for batch in year.batches():
            for table, columns, rows in _rows(batch):
                writer.add(table.name, columns, rows)
    with Ledger.open(url) as ledger:
        ledger.rebuild_totals()  # no trigger has counted them


class Writer(Protocol):
    """Adds rows to a table."""

    def add(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None: ...


class _Sqlite:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        marks = ", ".join("?" * len(columns))
        self._connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)


@contextmanager
def _sqlite(url: URL) -> Generator[Writer]:
    connection = sqlite3.connect(str(url.database), isolation_level=None)
    try:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "foreign_keys = OFF", "cache_size = -1000000"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        connection.execute("BEGIN")
        indexes = [
            (str(name), str(sql))
            for name, sql in connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql <> ''"
            )
        ]
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE name LIKE 'jobs_counted%'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        yield _Sqlite(connection)
        for _, sql in [*indexes, *triggers]:
            connection.execute(sql)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
    finally:
        connection.close()


class _Postgres:
    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def add(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        lines = io.StringIO("".join("\t".join(map(_copied, row)) + "\n" for row in rows))
        self._cursor.copy_expert(f"COPY {table} ({', '.join(columns)}) FROM STDIN", lines)


def _copied(value: Any) -> str:
    """In COPY's text format. Nothing here holds a tab, a newline or a backslash."""
    return r"\N" if value is None else value if type(value) is str else str(value)


@contextmanager
def _postgres(url: URL) -> Generator[Writer]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SET search_path TO {POSTGRES_SCHEMA}")
        connection.exec_driver_sql("SET session_replication_role = replica")  # no check of foreign keys, row by row
        connection.exec_driver_sql("SET maintenance_work_mem = '512MB'")
        indexes = [index for table in metadata.sorted_tables for index in table.indexes]
        for index in indexes:
            index.drop(connection)
        yield _Postgres(connection.connection.cursor())
        for index in indexes:
            index.create(connection)
        connection.commit()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")  # as the server does by itself after a while


# --- rows ---


def _rows(batch: Batch) -> Iterator[tuple[sa.Table, Sequence[str], Iterable[Row]]]:
    midnight = _text(datetime.combine(batch.day, datetime.min.time())) or ""
    owner = f"{batch.day:%Y%m%d}".ljust(32, "0")
    yield owners, _OWNERS, [(owner, "host", "host", os.getpid(), "0", midnight, midnight, midnight)]
    yield jobs, _JOBS, [_job_row(job, owner) for job in batch.jobs]
    yield attempts, _ATTEMPTS, [row for job in batch.jobs for row in _attempt_rows(job, owner)]
    yield takes, _TAKES, [row for job in batch.jobs for row in _take_rows(job)]
    yield money_entries, _ENTRIES, [_entry_row(job_id, entry) for job_id, entry in batch.entries]


def _text(moment: datetime | None) -> str | None:
    """As tables.UtcTime writes it; PostgreSQL reads the same."""
    return None if moment is None else moment.isoformat(timespec="microseconds") + "Z"


def _job_row(job: YearJob, owner: str) -> Row:
    offer, stored, claimed_at = job.offer, job.state == "stored", _text(job.claimed_at)
    key = f"videos/{job.shot}/take-{job.take}.mp4"
    inputs = [{"slot": "first_frame", "key": f"inbox/{job.shot}.png", "sha256": job.request_hash[::-1]}]
    return (
        *(job.id, job.shot, job.take, offer.provider, offer.model, job.request_hash, job.repeat, job.fingerprint),
        *(job.request_hash[:16], job.state, offer.arguments, json.dumps(inputs, ensure_ascii=True), offer.duration_s),
        *(offer.resolution, None if offer.has_audio is None else int(offer.has_audio), job.campaign),
        *(offer.quoted_low, offer.quoted_high, job.held, job.billed, job.basis, job.provider_job_id, job.attempt_id),
        *(owner, int(job.retryable), job.error),
        f"https://cdn.example/{job.provider_job_id}.mp4" if job.generated_at else None,
        *((f"s3://videos/{key}", key, job.fingerprint[::-1]) if stored else (None, None, None)),
        *((offer.duration_s * 400_000, offer.duration_s + 0.04) if stored else (None, None)),
        *(0, claimed_at, _text(job.submitted_at), _text(job.generated_at), _text(job.stored_at)),
        *(_text(job.updated_at), claimed_at, _text(job.doubted_at)),
        _text(job.doubted_at) if job.state == "ambiguous" else None,
        job.duplicate_allowed,
    )


def _attempt_rows(job: YearJob, owner: str) -> Iterator[Row]:
    began_at = _text(job.claimed_at)
    if job.refused_before:
        yield job.fingerprint[32:], job.id, 1, owner, began_at, began_at, "refused", "too many at once", None
    n, outcome = 1 + job.refused_before, "accepted" if job.accepted else _OUTCOMES[job.state]
    ended_at = _text(job.submitted_at or job.doubted_at or job.claimed_at)
    yield job.attempt_id, job.id, n, owner, began_at, ended_at, outcome, job.error or "", "0123456789ab"


def _take_rows(job: YearJob) -> Iterator[Row]:
    digest, uri = job.request_hash[:16], None
    if job.state == "stored":
        uri = f"s3://videos/videos/{job.shot}/take-{job.take}.mp4"
    yield job.shot, job.take, job.id, digest, job.request_hash, 0, uri, _text(job.claimed_at)
    if job.reused_by:
        yield job.reused_by, 1, job.id, digest, job.request_hash, 1, uri, _text(job.stored_at)


def _entry_row(job_id: str, entry: Entry) -> Row:
    return job_id, entry.kind, entry.nanos, entry.basis, _text(entry.at), entry.note, _text(entry.effective_at)
