"""The simulator's books: who submitted what, what was charged, which inputs were fetched. SQLite, in its folder.

Safe across processes and a kill -9 (WAL; each method is one transaction). Charges and refunds are only ever appended.
A job's state is not stored: it follows from `ready_at` and the clock, so a later process finds the same. What does not
belong here: HTTP, prices, files.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

_SCHEMA = """
CREATE TABLE IF NOT EXISTS posts (
    id INTEGER PRIMARY KEY, provider TEXT NOT NULL, received_us INTEGER NOT NULL, client_request_id TEXT,
    outcome TEXT, job_id TEXT);
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, provider TEXT NOT NULL, model TEXT NOT NULL, body TEXT NOT NULL,
    client_request_id TEXT, created_us INTEGER NOT NULL, ready_us INTEGER NOT NULL, charged_nanos INTEGER NOT NULL,
    fails INTEGER NOT NULL, video TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS jobs_in_flight ON jobs (provider, ready_us);
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY, job_id TEXT NOT NULL, provider TEXT NOT NULL, kind TEXT NOT NULL, nanos INTEGER NOT NULL,
    at_us INTEGER NOT NULL);
CREATE TRIGGER IF NOT EXISTS entries_stay BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'charges and refunds are only appended'); END;
CREATE TRIGGER IF NOT EXISTS entries_remain BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'charges and refunds are only appended'); END;
CREATE TABLE IF NOT EXISTS fetches (
    id INTEGER PRIMARY KEY, post_id INTEGER NOT NULL, job_id TEXT, provider TEXT NOT NULL, field TEXT NOT NULL,
    url TEXT NOT NULL, size_bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, at_us INTEGER NOT NULL);
"""
_JOB_COLUMNS = "number, id, provider, model, body, client_request_id, created_us, ready_us, charged_nanos, fails, video"
_QUEUED_SHARE = 0.1  # of a job's time, before the provider says that it works on it

State = Literal["queued", "generating", "completed", "failed"]


def _time(microseconds: int) -> datetime:
    seconds, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


@dataclass(frozen=True)
class Job:
    """An accepted submission. `number` counts the jobs of this folder from 1; `video` is what is to be rendered."""

    number: int
    id: str
    provider: str
    model: str
    body: dict[str, Any]
    client_request_id: str | None
    created_at: datetime
    ready_at: datetime
    charged_nanos: int
    fails: bool
    video: dict[str, Any]

    def state(self, now_s: float) -> State:
        """Where the job is at this time (seconds since the epoch)."""
        if now_s >= self.ready_at.timestamp():
            return "failed" if self.fails else "completed"
        created_s = self.created_at.timestamp()
        working_s = created_s + _QUEUED_SHARE * (self.ready_at.timestamp() - created_s)
        return "generating" if now_s >= working_s else "queued"

    @property
    def latency_s(self) -> float:
        return (self.ready_at - self.created_at).total_seconds()


@dataclass(frozen=True)
class Entry:
    """Money: a charge, or a refund (both positive nano-dollars). `at` is when it counts."""

    job_id: str
    provider: str
    kind: Literal["charge", "refund"]
    nanos: int
    at: datetime


@dataclass(frozen=True)
class Fetch:
    """An input file that was fetched by its URL (here without its query). `job_id` is None where it was refused."""

    post_id: int
    job_id: str | None
    provider: str
    field: str
    url: str
    size_bytes: int
    sha256: str
    at: datetime


@dataclass(frozen=True)
class Post:
    """A submission as it arrived. `outcome` is None while (or if for ever) nobody has decided on it."""

    id: int
    provider: str
    received_at: datetime
    client_request_id: str | None
    outcome: str | None
    job_id: str | None


@dataclass(frozen=True)
class NewFetch:
    """A fetch about to be written down."""

    field: str
    url: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class NewJob:
    """A job about to be accepted."""

    id: str
    provider: str
    model: str
    body: str
    client_request_id: str | None
    charged_nanos: int
    fails: bool
    video: str


@dataclass(frozen=True)
class Full:
    """Not accepted: as many jobs as the limit are in progress; the first of them is ready in `free_in_s`."""

    in_flight: int
    free_in_s: float


class Books:
    """The books of one folder, which is made if there is none. Every method may be called from any thread."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(folder) / "books.sqlite"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._clock = clock
        self._local = threading.local()
        self._set_up()

    # --- writing, for the simulator itself ---

    def receive(self, provider: str, client_request_id: str | None) -> int:
        """A submission has arrived; before anything is decided about it."""
        with self._transaction() as database:
            cursor = database.execute(
                "INSERT INTO posts (provider, received_us, client_request_id) VALUES (?, ?, ?)",
                (provider, self._now_us(), client_request_id),
            )
            return int(cursor.lastrowid or 0)

    def refuse(self, post_id: int, outcome: str, fetches: Sequence[NewFetch] = ()) -> None:
        """The submission was not accepted. What was fetched to find that out is written down too."""
        with self._transaction() as database:
            database.execute("UPDATE posts SET outcome = ? WHERE id = ?", (outcome, post_id))
            self._write_fetches(database, post_id, None, fetches)

    def accept(
        self,
        post_id: int,
        job: NewJob,
        fetches: Sequence[NewFetch],
        latency_s: Callable[[int], float],
        limit: int | None,
    ) -> Job | Full:
        """The job, with its charge (and the refund that will count when it fails), unless the limit is reached.

        Durable on return. `latency_s` is asked with the job's number.
        """
        with self._transaction() as database:
            now_us = self._now_us()
            full = self._full(database, job.provider, limit, now_us)
            if full is not None:
                database.execute("UPDATE posts SET outcome = 'busy' WHERE id = ?", (post_id,))
                self._write_fetches(database, post_id, None, fetches)
                return full
            number = int(database.execute("SELECT coalesce(max(number), 0) + 1 FROM jobs").fetchone()[0])
            ready_us = now_us + round(latency_s(number) * 1_000_000)
            row = (number, job.id, job.provider, job.model, job.body, job.client_request_id)
            row += (now_us, ready_us, job.charged_nanos, int(job.fails), job.video)
            # S608: the columns are a constant of this module
            database.execute(f"INSERT INTO jobs ({_JOB_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)", row)  # noqa: S608
            entries = [(job.id, job.provider, "charge", job.charged_nanos, now_us)]
            if job.fails:
                entries.append((job.id, job.provider, "refund", job.charged_nanos, ready_us))
            database.executemany(
                "INSERT INTO entries (job_id, provider, kind, nanos, at_us) VALUES (?, ?, ?, ?, ?)", entries
            )
            database.execute("UPDATE posts SET outcome = 'accepted', job_id = ? WHERE id = ?", (job.id, post_id))
            self._write_fetches(database, post_id, job.id, fetches)
        return _job(row)

    # --- reading ---

    def now_s(self) -> float:
        """The clock of these books."""
        return self._clock()

    def full(self, provider: str, limit: int | None) -> Full | None:
        """Whether the provider's limit is reached at this moment (`accept` decides)."""
        return None if limit is None else self._full(self._connection(), provider, limit, self._now_us())

    def job(self, job_id: str) -> Job | None:
        row = self._one(f"SELECT {_JOB_COLUMNS} FROM jobs WHERE id = ?", job_id)  # noqa: S608
        return None if row is None else _job(row)

    def jobs(self) -> list[Job]:
        """Every accepted submission, by number."""
        return [_job(row) for row in self._all(f"SELECT {_JOB_COLUMNS} FROM jobs ORDER BY number")]  # noqa: S608

    def charges(self) -> list[Entry]:
        return self._entries("charge")

    def refunds(self) -> list[Entry]:
        """The refunds that count by now."""
        return self._entries("refund")

    def total_nanos(self, provider: str | None = None) -> int:
        """Charged less refunded, by now."""
        row = self._one(
            "SELECT coalesce(sum(CASE kind WHEN 'charge' THEN nanos ELSE -nanos END), 0) FROM entries"
            " WHERE at_us <= ? AND provider = coalesce(?, provider)",
            self._now_us(),
            provider,
        )
        return int(row[0]) if row else 0

    def posts(self) -> dict[str, int]:
        """How many submissions each provider has received, accepted or not."""
        return dict(self._all("SELECT provider, count(*) FROM posts GROUP BY provider ORDER BY provider"))

    def post_rows(self) -> list[Post]:
        rows = self._all("SELECT id, provider, received_us, client_request_id, outcome, job_id FROM posts ORDER BY id")
        return [Post(row[0], row[1], _time(row[2]), *row[3:]) for row in rows]

    def fetches(self) -> list[Fetch]:
        rows = self._all(
            "SELECT post_id, job_id, provider, field, url, size_bytes, sha256, at_us FROM fetches ORDER BY id"
        )
        return [Fetch(*row[:7], at=_time(row[7])) for row in rows]

    def close(self) -> None:
        """Closes this thread's connection; others close with their threads."""
        database: sqlite3.Connection | None = getattr(self._local, "database", None)
        if database is not None:
            database.close()
            self._local.database = None

    # --- inside ---

    def _entries(self, kind: Literal["charge", "refund"]) -> list[Entry]:
        rows = self._all(
            "SELECT job_id, provider, nanos, at_us FROM entries WHERE kind = ? AND at_us <= ? ORDER BY id",
            kind,
            self._now_us(),
        )
        return [Entry(row[0], row[1], kind, row[2], _time(row[3])) for row in rows]

    def _write_fetches(
        self, database: sqlite3.Connection, post_id: int, job_id: str | None, fetches: Sequence[NewFetch]
    ) -> None:
        database.executemany(
            "INSERT INTO fetches (post_id, job_id, provider, field, url, size_bytes, sha256, at_us)"
            " SELECT ?, ?, provider, ?, ?, ?, ?, ? FROM posts WHERE id = ?",
            [
                (post_id, job_id, item.field, item.url, item.size_bytes, item.sha256, self._now_us(), post_id)
                for item in fetches
            ],
        )

    @staticmethod
    def _full(database: sqlite3.Connection, provider: str, limit: int | None, now_us: int) -> Full | None:
        if limit is None:
            return None
        count, first_us = database.execute(
            "SELECT count(*), min(ready_us) FROM jobs WHERE provider = ? AND ready_us > ?", (provider, now_us)
        ).fetchone()
        return Full(count, ((first_us or now_us) - now_us) / 1_000_000) if count >= limit else None

    def _now_us(self) -> int:
        return round(self._clock() * 1_000_000)

    def _one(self, statement: str, *values: Any) -> tuple[Any, ...] | None:
        return self._connection().execute(statement, values).fetchone()

    def _all(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._connection().execute(statement, values).fetchall()

    def _connection(self) -> sqlite3.Connection:
        """This thread's connection: one each, made anew after a fork."""
        database: sqlite3.Connection | None = getattr(self._local, "database", None)
        if database is None or self._local.pid != os.getpid():
            database = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
            # NORMAL loses nothing to a killed process, only to a power cut: enough for what only simulates money.
            database.execute("PRAGMA synchronous = NORMAL")
            self._local.database, self._local.pid = database, os.getpid()
        return database

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        database = self._connection()
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
        except BaseException:
            database.rollback()
            raise
        database.execute("COMMIT")

    def _set_up(self) -> None:
        database = self._connection()
        # Two processes that open a new folder at once: SQLite answers the change to WAL with "locked" without waiting.
        for tries_left in range(200, -1, -1):
            try:
                database.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError:
                if not tries_left:
                    raise
                time.sleep(0.02)
        with self._transaction():
            for statement in _statements(_SCHEMA):
                database.execute(statement)


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would commit the transaction it runs in."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _job(row: Sequence[Any]) -> Job:
    number, job_id, provider, model, body, client_request_id, created_us, ready_us, nanos, fails, video = row
    return Job(
        number=number,
        id=job_id,
        provider=provider,
        model=model,
        body=json.loads(body),
        client_request_id=client_request_id,
        created_at=_time(created_us),
        ready_at=_time(ready_us),
        charged_nanos=nanos,
        fails=bool(fails),
        video=json.loads(video),
    )
