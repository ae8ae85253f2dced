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
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from wan_pipeline.simulator.records import Delivery, Entry, Fetch, Full, Job, NewFetch, NewJob, NoCredit, Post, moment
from wan_pipeline.simulator.schema import set_up

__all__ = ["Books", "Delivery", "Entry", "Fetch", "Full", "Job", "NewFetch", "NewJob", "NoCredit", "Post"]

_JOB_COLUMNS = (
    "number, id, provider, model, body, client_request_id, created_us, ready_us, charged_nanos, fails, video, mishap"
)


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
        with self.transaction() as database:
            cursor = database.execute(
                "INSERT INTO posts (provider, received_us, client_request_id) VALUES (?, ?, ?)",
                (provider, self._now_us(), client_request_id),
            )
            return int(cursor.lastrowid or 0)

    def refuse(self, post_id: int, outcome: str, fetches: Sequence[NewFetch] = ()) -> None:
        """The submission was not accepted. What was fetched to find that out is written down too."""
        with self.transaction() as database:
            database.execute("UPDATE posts SET outcome = ? WHERE id = ?", (outcome, post_id))
            self._write_fetches(database, post_id, None, fetches)

    def accept(
        self,
        post_id: int,
        job: NewJob,
        fetches: Sequence[NewFetch],
        latency_s: Callable[[int], float],
        limit: int | None,
        opening_nanos: int | None = None,
    ) -> Job | Full | NoCredit:
        """The job, with its charge (and the refund that will count when it fails), unless the limit is reached.

        Durable on return. `latency_s` is asked with the job's number. `opening_nanos`: what the account began with,
        where it is not to be overdrawn.
        """
        with self.transaction() as database:
            now_us = self._now_us()
            full = self._full(database, job.provider, limit, now_us)
            if full is not None:
                database.execute("UPDATE posts SET outcome = 'busy' WHERE id = ?", (post_id,))
                self._write_fetches(database, post_id, None, fetches)
                return full
            if opening_nanos is not None:
                left = opening_nanos - self._total(database, job.provider, now_us)
                if left < job.charged_nanos:
                    database.execute("UPDATE posts SET outcome = 'no credit' WHERE id = ?", (post_id,))
                    self._write_fetches(database, post_id, None, fetches)
                    return NoCredit(left)
            number = int(database.execute("SELECT coalesce(max(number), 0) + 1 FROM jobs").fetchone()[0])
            ready_us = now_us + round(latency_s(number) * 1_000_000)
            row = (number, job.id, job.provider, job.model, job.body, job.client_request_id)
            row += (now_us, ready_us, job.charged_nanos, int(job.fails), job.video, job.mishap)
            # S608: the columns are a constant of this module
            values = ",".join("?" * (len(row) + 1))
            database.execute(f"INSERT INTO jobs ({_JOB_COLUMNS}, key) VALUES ({values})", (*row, job.key))  # noqa: S608
            entries = [(job.id, job.provider, "charge", job.charged_nanos, now_us)]
            if job.fails:
                entries.append((job.id, job.provider, "refund", job.charged_nanos, ready_us))
            database.executemany(
                "INSERT INTO entries (job_id, provider, kind, nanos, at_us) VALUES (?, ?, ?, ?, ?)", entries
            )
            database.execute("UPDATE posts SET outcome = 'accepted', job_id = ? WHERE id = ?", (job.id, post_id))
            self._write_fetches(database, post_id, job.id, fetches)
            if job.callback is not None:
                database.execute(
                    "INSERT INTO callbacks (job_id, provider, url, base_url, tries, next_us) VALUES (?, ?, ?, ?, 0, ?)",
                    (job.id, job.provider, job.callback.url, job.callback.base_url, ready_us),
                )
        return _job(row)

    def give_back(self, job_id: str, nanos: int) -> None:
        """A refund of a job that did not fail, as a provider's support gives one."""
        with self.transaction() as database:
            database.execute(
                "INSERT INTO entries (job_id, provider, kind, nanos, at_us)"
                " SELECT id, provider, 'refund', ?, ? FROM jobs WHERE id = ?",
                (nanos, self._now_us(), job_id),
            )

    def count_download(self, job_id: str, *, missed: bool) -> int:
        """Counts a download of a result that a mishap befalls; gives how many there were before it."""
        with self.transaction() as database:
            row = database.execute("SELECT downloads FROM results WHERE job_id = ?", (job_id,)).fetchone()
            database.execute(
                "INSERT INTO results (job_id, downloads, misses) VALUES (?, 1, ?) ON CONFLICT (job_id)"
                " DO UPDATE SET downloads = downloads + 1, misses = misses + excluded.misses",
                (job_id, int(missed)),
            )
        return int(row[0]) if row else 0

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
        return self._total(self._connection(), provider, self._now_us())

    def posts(self) -> dict[str, int]:
        """How many submissions each provider has received, accepted or not."""
        return dict(self._all("SELECT provider, count(*) FROM posts GROUP BY provider ORDER BY provider"))

    def post_rows(self) -> list[Post]:
        rows = self._all("SELECT id, provider, received_us, client_request_id, outcome, job_id FROM posts ORDER BY id")
        return [Post(row[0], row[1], moment(row[2]), *row[3:]) for row in rows]

    def fetches(self) -> list[Fetch]:
        rows = self._all(
            "SELECT post_id, job_id, provider, field, url, size_bytes, sha256, at_us FROM fetches ORDER BY id"
        )
        return [Fetch(*row[:7], at=moment(row[7])) for row in rows]

    def opened_at(self) -> datetime:
        """When the account was opened: with the first of these books."""
        row = self._one("SELECT opened_us FROM account")
        return moment(row[0]) if row else moment(self._now_us())

    def misses(self, job_id: str) -> int:
        """How often the job's result was not there when it was asked for (of a mishap's doing)."""
        row = self._one("SELECT misses FROM results WHERE job_id = ?", job_id)
        return int(row[0]) if row else 0

    def select(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """A query of another module of the simulator over these tables."""
        return self._all(statement, *values)

    def select_jobs(self, where: str, *values: Any) -> list[Job]:
        """The jobs of such a query's rest, which begins after WHERE."""
        return [_job(row) for row in self._all(f"SELECT {_JOB_COLUMNS} FROM jobs WHERE {where}", *values)]  # noqa: S608

    def deliveries(self) -> list[Delivery]:
        """Every call that was made about a job's end, in order."""
        rows = self._all("SELECT job_id, provider, host, at_us, status, error FROM deliveries ORDER BY id")
        return [Delivery(*row[:3], at=moment(row[3]), status=row[4], error=row[5]) for row in rows]

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
        return [Entry(row[0], row[1], kind, row[2], moment(row[3])) for row in rows]

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
    def _total(database: sqlite3.Connection, provider: str | None, now_us: int) -> int:
        of_provider = "" if provider is None else " AND provider = ?"
        row = database.execute(
            "SELECT coalesce(sum(CASE kind WHEN 'charge' THEN nanos ELSE -nanos END), 0) FROM entries"  # noqa: S608
            f" WHERE at_us <= ?{of_provider}",
            (now_us,) if provider is None else (now_us, provider),
        ).fetchone()
        return int(row[0])

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
    def transaction(self) -> Generator[sqlite3.Connection]:
        """One transaction that writes: all of it, or nothing."""
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
        with self.transaction():
            set_up(database, self._now_us())


def _job(row: Sequence[Any]) -> Job:
    number, job_id, provider, model, body, client_request_id, created_us, ready_us, nanos, fails, video, mishap = row
    return Job(
        number=number,
        id=job_id,
        provider=provider,
        model=model,
        body=json.loads(body),
        client_request_id=client_request_id,
        created_at=moment(created_us),
        ready_at=moment(ready_us),
        charged_nanos=nanos,
        fails=bool(fails),
        video=json.loads(video),
        mishap=mishap,
    )
