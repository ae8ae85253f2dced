"""A question that a person asks the ledger in SQL: one statement, answered read-only for certain, within a limit of time.

What belongs here: what keeps a statement from writing, from reading files, and from going on for ever. What does not: how
an answer is shown.

SQLite: the file is opened with mode=ro and `query_only`, and an authorizer lets pass nothing but reading: no ATTACH, no
PRAGMA, no extension. The sqlite3 module takes one statement alone.

PostgreSQL: a READ ONLY transaction, in which the statement is opened as a cursor by the server itself: that takes one query
alone, so that nothing can follow which would end the transaction. What could reach beyond the tables all the same, to the
server's files, to other servers, or to a setting (functions named pg_…, lo_…, dblink…, and those that execute a text), is
refused by its name wherever it stands; where the ledger's user is a superuser, it is put off for the question.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import DBAPIError

from wan_pipeline.spend.database import BUSY_TIMEOUT_S, parse_url
from wan_pipeline.spend.schema import unreachable
from wan_pipeline.spend.tables import POSTGRES_SCHEMA

TIMEOUT_S = 120.0
_AT_ONCE = 2000  # rows
_LONGEST_VALUE = 50_000_000  # bytes
_STEPS = 20_000  # of SQLite's machine between two looks at the clock
_READS = ("SELECT", "WITH", "VALUES", "EXPLAIN", "TABLE")
_ONLY_READS = "A question reads: one SELECT, WITH, VALUES or EXPLAIN"
_SQLITE_ALLOWED = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
_SQLITE_FUNCTIONS_REFUSED = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"})
_BEGINNING = re.compile(r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_WORD = re.compile(r"\w+")
_POSTGRES_REFUSED = re.compile(
    r"\b(?!(?:pg_typeof|pg_size_pretty)\b)"
    r"(?:pg_\w+|lo_\w+|loread|lowrite|dblink\w*|set_config|(?:query|cursor|table|schema|database)_to_xml\w*|ts_stat|ts_rewrite"
    r"|crosstab\w*|connectby|xpath_table|binary_upgrade\w*|currtid\w*)\b"
    r"|\bU&(?=[\"'])",
    re.IGNORECASE,
)


class AskingError(ValueError):
    """The question cannot be answered. The message says why, and what to ask instead."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`rows` are read as they are asked for. Amounts are whole numbers, Decimal (PostgreSQL) or text, as the column is."""

    columns: tuple[str, ...]
    rows: Iterator[Sequence[Any]]


@contextmanager
def asked(ledger_url: str, sql: str, timeout_s: float = TIMEOUT_S) -> Generator[Answer]:
    """The answer to one SQL statement. Raises AskingError, also while the rows are read; ConfigurationError where the ledger
    cannot be reached."""
    url = parse_url(ledger_url)
    question = sql.strip().rstrip(";").rstrip()
    _check_beginning(question)
    answered = _asked_postgres if url.get_backend_name() == "postgresql" else _asked_sqlite
    with answered(url, question, timeout_s) as answer:
        yield answer


def _check_beginning(question: str) -> None:
    """The first word, for the sake of a plain message: what really keeps a statement from writing comes later."""
    if not question.isascii() and question != question.encode("utf-8", "replace").decode("utf-8"):
        raise AskingError("it holds bytes that are no UTF-8")
    if "\x00" in question:
        raise AskingError("it holds a NUL")
    beginning = _BEGINNING.match(question)
    word = _WORD.match(question, beginning.end() if beginning else 0)
    if word is None:
        raise AskingError(f"there is no SQL in it. {_ONLY_READS}")
    if word[0].upper() not in _READS:
        raise AskingError(f"{word[0].upper()} is refused. {_ONLY_READS}; nothing is ever written")


# --- SQLite ---


@contextmanager
def _asked_sqlite(url: URL, question: str, timeout_s: float) -> Generator[Answer]:
    refused: list[str] = []

    def authorize(action: int, _first: str | None, second: str | None, *_: str | None) -> int:
        if action in _SQLITE_ALLOWED:
            if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _SQLITE_FUNCTIONS_REFUSED:
                refused.append(f"the function {second}")
                return sqlite3.SQLITE_DENY
            return sqlite3.SQLITE_OK
        refused.append(_ACTIONS.get(action, "what would change something"))
        return sqlite3.SQLITE_DENY

    end = time.monotonic() + timeout_s
    try:
        connection = sqlite3.connect(_read_only_uri(url), uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    except sqlite3.Error as error:
        raise AskingError(f"the ledger cannot be read: {error}") from None
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.set_progress_handler(lambda: int(time.monotonic() > end), _STEPS)
        connection.set_authorizer(authorize)
        with _told_sqlite(refused, timeout_s):
            cursor = connection.execute(question)
            yield Answer(
                tuple(column[0] for column in cursor.description or ()), _rows_sqlite(cursor, refused, timeout_s)
            )
    finally:
        connection.close()


def _read_only_uri(url: URL) -> str:
    path = url.database or ""
    if path.startswith("file:"):
        return f"{path}{'&' if '?' in path else '?'}mode=ro"
    return f"file:{quote(str(Path(path).absolute()))}?mode=ro"


def _rows_sqlite(cursor: sqlite3.Cursor, refused: list[str], timeout_s: float) -> Iterator[Sequence[Any]]:
    while True:
        with _told_sqlite(refused, timeout_s):
            rows = cursor.fetchmany(_AT_ONCE)
        if not rows:
            return
        yield from rows


@contextmanager
def _told_sqlite(refused: list[str], timeout_s: float) -> Generator[None]:
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning) as error:
        if refused:
            raise AskingError(f"{refused[0]} is refused. {_ONLY_READS}; nothing is ever written") from None
        if "one statement" in str(error):
            raise AskingError(_one_statement()) from None
        if getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
            raise AskingError(_too_long(timeout_s)) from None
        raise AskingError(_with_hint(str(error))) from None


_ACTIONS = {
    sqlite3.SQLITE_ATTACH: "ATTACH",
    sqlite3.SQLITE_DETACH: "DETACH",
    sqlite3.SQLITE_PRAGMA: "this PRAGMA",
    sqlite3.SQLITE_INSERT: "INSERT",
    sqlite3.SQLITE_UPDATE: "UPDATE",
    sqlite3.SQLITE_DELETE: "DELETE",
    sqlite3.SQLITE_TRANSACTION: "a transaction of your own",
}


# --- PostgreSQL ---


@contextmanager
def _asked_postgres(url: URL, question: str, timeout_s: float) -> Generator[Answer]:
    refused = _POSTGRES_REFUSED.search(question)
    if refused is not None:
        raise AskingError(f"{refused[0]} is refused: a question reads the ledger's tables and views, and nothing else")
    engine = sa.create_engine(
        url,
        poolclass=sa.NullPool,
        isolation_level="REPEATABLE READ",
        connect_args={"connect_timeout": 10, "client_encoding": "utf8", "application_name": "wan-pipeline report"},
    )
    try:
        connection = engine.connect()
    except DBAPIError as error:
        raise unreachable(url, error) from None
    end = time.monotonic() + timeout_s
    try:
        with _told_postgres(timeout_s):
            _restrict(connection, timeout_s)
            # The text goes as a value, and the server makes one cursor of it: what it would not, it refuses.
            connection.exec_driver_sql("SELECT set_config('wan.question', %s, true)", (question,))
            connection.exec_driver_sql(
                "DO $$ DECLARE answer refcursor := 'wan_answer';"
                " BEGIN OPEN answer FOR EXECUTE current_setting('wan.question'); END $$"
            )
            first = connection.exec_driver_sql(f"FETCH FORWARD {_AT_ONCE} FROM wan_answer")
            columns = tuple(str(column[0]) for column in first.cursor.description) if first.cursor is not None else ()
            rows = [tuple(row) for row in first.cursor.fetchall()] if first.cursor is not None else []
        yield Answer(columns, _rows_postgres(connection, rows, end, timeout_s))
    finally:
        connection.invalidate()  # the transaction is ended with its connection, whatever has become of it
        connection.close()
        engine.dispose()


def _restrict(connection: Connection, timeout_s: float) -> None:
    for setting in (
        "SET TRANSACTION READ ONLY",
        f"SET LOCAL search_path TO {POSTGRES_SCHEMA}",
        f"SET LOCAL statement_timeout TO {int(timeout_s * 1000)}",
        f"SET LOCAL lock_timeout TO '{BUSY_TIMEOUT_S}s'",
        "SET LOCAL bytea_output TO hex",
    ):
        connection.exec_driver_sql(setting)
    superuser = connection.exec_driver_sql(
        "SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
        " AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'pg_read_all_data')"
    ).scalar()
    if superuser:
        connection.exec_driver_sql("SET LOCAL ROLE pg_read_all_data")


def _rows_postgres(
    connection: Connection, rows: list[tuple[Any, ...]], end: float, timeout_s: float
) -> Iterator[Sequence[Any]]:
    while rows:
        yield from rows
        if len(rows) < _AT_ONCE:
            return
        if time.monotonic() > end:
            raise AskingError(_too_long(timeout_s))
        with _told_postgres(timeout_s):
            some = connection.exec_driver_sql(f"FETCH FORWARD {_AT_ONCE} FROM wan_answer")
            rows = [tuple(row) for row in some.fetchall()]


@contextmanager
def _told_postgres(timeout_s: float) -> Generator[None]:
    try:
        yield
    except DBAPIError as error:
        code = getattr(error.orig, "pgcode", None)
        said = str(
            getattr(getattr(error.orig, "diag", None), "message_primary", None) or "the server ended the question"
        )
        if code == "57014":  # query_canceled
            raise AskingError(_too_long(timeout_s)) from None
        if "multi-query" in said:
            raise AskingError(_one_statement()) from None
        if code in ("25006", "42P11"):  # read_only_sql_transaction, invalid_cursor_definition
            raise AskingError(f"this would write, or is no query. {_ONLY_READS}; nothing is ever written") from None
        raise AskingError(_with_hint(said)) from None
    except (psycopg2.Error, ValueError) as error:  # ValueError: of a value that Python has no name for, a year 10000
        raise AskingError(f"the answer cannot be read: {type(error).__name__}: {error}") from None


def _with_hint(said: str) -> str:
    missing = "no such" in said or "does not exist" in said
    return f"{said}. docs/ledger.md has every table, view and column" if missing else said


def _one_statement() -> str:
    return "one statement at a time: leave out what follows the first ;"


def _too_long(timeout_s: float) -> str:
    return f"no answer within {timeout_s:g} s: ask for fewer days, or read the tables with a tool of your own"
