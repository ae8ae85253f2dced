"""The ledger's connection to SQLite or PostgreSQL: how it is opened, what a transaction promises, when one is repeated.

What belongs here: drivers, pragmas, locks, retries, the clock. What does not: any table, any rule about money.

Both databases are made to promise the same:

- A write transaction is alone where it must be: SQLite by BEGIN IMMEDIATE, PostgreSQL by the locks its caller takes.
- What is committed is on the disk (SQLite `synchronous=FULL`; PostgreSQL's `synchronous_commit` never `off`): the intent
  to buy must outlive a power cut that comes right after the POST.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import psycopg2
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from wan_pipeline.problems import ConfigurationError
from wan_pipeline.spend.tables import POSTGRES_SCHEMA

T = TypeVar("T")

BUSY_TIMEOUT_S = 30
_NEXT_TRY_S = (0.0005, 0.003)  # between two tries to begin to write, while another one does
_CACHE_KIB = 16_384  # of each SQLite connection at most: the upper levels of every index of a million jobs
RETRY_FOR_S = (
    60.0  # a transaction that met a lock, a deadlock or a lost connection is begun again for at most this long
)
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 1.0
_POSTGRES_TRANSIENT = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "55P03",  # lock_not_available (lock_timeout)
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now: it is starting
    }
)
_ADVISORY = "pg_advisory_xact_lock(hashtext('wan_ledger'), hashtext(:name))"
_LOCK = sa.text(f"SELECT {_ADVISORY}")
_LOCKED_NOW = sa.text(
    f"WITH held AS MATERIALIZED (SELECT {_ADVISORY}) SELECT clock_timestamp() FROM held"  # noqa: S608  a constant
)
_NOW = sa.select(sa.func.clock_timestamp())
_UNIQUE_VIOLATION = "23505"  # two wrote the same row at once; looked at again, it is there: one more look is enough
_SETTING = "WAN_LEDGER_URL"


def shown(url: URL) -> str:
    """The URL for a reader: no password, and no query (which may hold one)."""
    return url.set(query={}).render_as_string(hide_password=True)


def parse_url(text: str) -> URL:
    """The ledger's URL. Raises ConfigurationError for what is no SQLite file and no PostgreSQL."""
    examples = "sqlite:////var/lib/wan/ledger.sqlite or postgresql+psycopg2://user:password@host/database"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        raise ConfigurationError(f"{_SETTING} is not a database URL. Write e.g. {examples}") from None
    if url.drivername in ("postgres", "postgresql"):  # SQLAlchemy would take psycopg 3, which is not installed
        url = url.set(drivername="postgresql+psycopg2")
    if url.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg2"):
        raise ConfigurationError(f"{_SETTING}: {url.drivername} is not supported. Write e.g. {examples}")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigurationError(
            f"{_SETTING}: {shown(url)} lives in memory and would forget what was paid. Name a file: {examples}"
        )
    return url


class Database:
    """An engine and the two kinds of transaction. Safe for threads, and for a fork between transactions."""

    def __init__(self, url: URL, clock: Callable[[], datetime] | None = None) -> None:
        self.url = url
        self._clock = clock
        self.is_postgres = url.get_backend_name() == "postgresql"
        self._pid = os.getpid()
        self._writing = self._own_writers()
        self.engine: Engine = _postgres_engine(url) if self.is_postgres else _sqlite_engine(url)

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def read(self) -> Generator[Connection]:
        """A transaction that sees one state of the database (PostgreSQL: per statement) and writes nothing."""
        self._after_fork()
        with self.engine.connect() as connection, connection.begin():
            yield connection

    def write(self, work: Callable[[Connection], T], *, patiently: bool = True) -> T:
        """`work` in one transaction, committed. `patiently`: begun again after a lock, a deadlock or a lost connection.

        A commit whose answer was lost may have happened: `work` must find that out and do nothing twice.
        """
        self._after_fork()
        end = time.monotonic() + RETRY_FOR_S
        pause_s = _FIRST_PAUSE_S
        collided = False
        while True:
            try:
                with (
                    self._writing,
                    self.engine.connect().execution_options(wan_write=True) as connection,
                    connection.begin(),
                ):
                    return work(connection)
            except DBAPIError as error:
                collision = getattr(error.orig, "pgcode", None) == _UNIQUE_VIOLATION and not collided
                if not patiently or not (collision or is_transient(error)) or time.monotonic() + pause_s > end:
                    raise
                collided |= collision
            time.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def lock(self, connection: Connection, name: str) -> None:
        """From here to the end of the transaction, nobody else has passed this line with this name."""
        if self.is_postgres:
            connection.execute(_LOCK, {"name": name})

    def locked_now(self, connection: Connection, name: str) -> datetime:
        """`lock`, and then `now`: on PostgreSQL in one question, whose clock is read once the lock is given."""
        if self.is_postgres and self._clock is None:
            moment: datetime = connection.execute(_LOCKED_NOW, {"name": name}).scalar_one()
            return moment.astimezone(UTC)
        self.lock(connection, name)
        return self.now(connection)

    def now(self, connection: Connection) -> datetime:
        """The time. PostgreSQL's own, so that several hosts agree on which day it is and how old a heartbeat is; a clock
        that was given comes before both."""
        if self._clock is not None:
            return self._clock()
        if self.is_postgres:
            moment: datetime = connection.execute(_NOW).scalar_one()
            return moment.astimezone(UTC)
        return datetime.now(UTC)

    def _own_writers(self) -> AbstractContextManager[object]:
        """SQLite has one writer: this process's own wait for each other, only other processes' try again and again. (One
        that writes within its own write is told so by SQLite, as ever.)"""
        return nullcontext() if self.is_postgres else threading.RLock()

    def _after_fork(self) -> None:
        if os.getpid() != self._pid:  # a connection shared with the parent process would mix up two conversations
            self.engine.dispose(close=False)
            self._writing = self._own_writers()
            self._pid = os.getpid()


def is_transient(error: DBAPIError) -> bool:
    """Would the same transaction, begun again, perhaps succeed?"""
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, sqlite3.OperationalError):
        return error.orig.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    if isinstance(error.orig, psycopg2.OperationalError) and error.orig.pgcode is None:
        return True  # no answer from the server at all: it is restarting, or out of reach
    return getattr(error.orig, "pgcode", None) in _POSTGRES_TRANSIENT


def _sqlite_engine(url: URL) -> Engine:
    if url.database and not url.database.startswith("file:"):
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = None  # BEGIN is ours, below: pysqlite's own comes too late and is deferred
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
        _enter_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        if connection.get_execution_options().get("wan_write", False):
            _begin_writing(connection)
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


def _begin_writing(connection: Connection) -> None:
    """BEGIN IMMEDIATE, tried every few milliseconds until the others are done, for as long as SQLite's own handler would.
    That one sleeps up to 100 ms at a time: with eight processes, nine tenths of the time nobody would be writing."""
    raw: Any = connection.connection.dbapi_connection
    end = time.monotonic() + BUSY_TIMEOUT_S
    raw.execute("PRAGMA busy_timeout = 0")
    try:
        while time.monotonic() < end:
            try:
                raw.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    break
                time.sleep(random.uniform(*_NEXT_TRY_S))
            else:
                return
    finally:
        raw.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # for the last time; what it raises is the engine's error


def _enter_wal(connection: sqlite3.Connection) -> None:
    """Readers do not wait for writers. The change itself needs the file alone and does not wait: it is tried again."""
    end = time.monotonic() + BUSY_TIMEOUT_S
    while connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(random.uniform(0.005, 0.05))


def _postgres_engine(url: URL) -> Engine:
    engine = sa.create_engine(
        url,
        connect_args={"connect_timeout": 10, "client_encoding": "utf8", "application_name": "wan-pipeline"},
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",  # each statement sees what was committed before the lock was given
        executemany_mode="values_plus_batch",
    )

    @event.listens_for(engine, "connect", insert=True)
    def _prepare(connection: Any, record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.autocommit = True  # or the first rollback would undo the settings
        with connection.cursor() as cursor:
            cursor.execute(f"SET search_path TO {POSTGRES_SCHEMA}")
            cursor.execute(f"SET lock_timeout TO '{BUSY_TIMEOUT_S}s'")
            cursor.execute(
                "SELECT set_config('synchronous_commit', 'on', false)"
                " WHERE current_setting('synchronous_commit') = 'off'"
            )
        connection.autocommit = False

    return engine


migration_lock = threading.Lock()  # alembic keeps its context in module globals: one migration at a time in a process
