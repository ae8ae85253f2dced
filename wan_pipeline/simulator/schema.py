"""The tables of the simulator's books, and how books of an earlier version come to have them. No queries are here."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

_TABLES = """
CREATE TABLE IF NOT EXISTS posts (
    id INTEGER PRIMARY KEY, provider TEXT NOT NULL, received_us INTEGER NOT NULL, client_request_id TEXT,
    outcome TEXT, job_id TEXT);
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, provider TEXT NOT NULL, model TEXT NOT NULL, body TEXT NOT NULL,
    client_request_id TEXT, created_us INTEGER NOT NULL, ready_us INTEGER NOT NULL, charged_nanos INTEGER NOT NULL,
    fails INTEGER NOT NULL, video TEXT NOT NULL);
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
CREATE TABLE IF NOT EXISTS account (id INTEGER PRIMARY KEY CHECK (id = 1), opened_us INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS results (
    job_id TEXT PRIMARY KEY, downloads INTEGER NOT NULL, misses INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS callbacks (
    id INTEGER PRIMARY KEY, job_id TEXT NOT NULL, provider TEXT NOT NULL, url TEXT NOT NULL, base_url TEXT NOT NULL,
    tries INTEGER NOT NULL, next_us INTEGER);
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY, job_id TEXT NOT NULL, provider TEXT NOT NULL, host TEXT NOT NULL, at_us INTEGER NOT NULL,
    status INTEGER, error TEXT);
"""
_INDEXES = """
CREATE INDEX IF NOT EXISTS jobs_in_flight ON jobs (provider, ready_us);
CREATE INDEX IF NOT EXISTS jobs_by_creation ON jobs (provider, created_us, number, ready_us, fails, key);
CREATE INDEX IF NOT EXISTS jobs_by_end ON jobs (provider, fails, ready_us, number);
CREATE INDEX IF NOT EXISTS entries_by_time ON entries (provider, at_us, id, kind, nanos);
CREATE INDEX IF NOT EXISTS entries_of_job ON entries (job_id);
CREATE INDEX IF NOT EXISTS callbacks_pending ON callbacks (next_us) WHERE next_us IS NOT NULL;
"""
# Columns that the first books had not: `key` tells API keys apart (a digest), `mishap` what befalls the result file.
_ADDED = {"key": "TEXT", "mishap": "TEXT NOT NULL DEFAULT ''"}


def set_up(database: sqlite3.Connection, now_us: int) -> None:
    """Brings the database up to date, within the caller's transaction. The account opens with the first books."""
    for statement in _statements(_TABLES):
        database.execute(statement)
    there = {row[1] for row in database.execute("PRAGMA table_info(jobs)")}
    for column, kind in _ADDED.items():
        if column not in there:
            database.execute(f"ALTER TABLE jobs ADD COLUMN {column} {kind}")
    for statement in _statements(_INDEXES):
        database.execute(statement)
    database.execute(
        "INSERT OR IGNORE INTO account (id, opened_us) SELECT 1, min(?, coalesce(min(received_us), ?)) FROM posts",
        (now_us, now_us),
    )


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would commit the transaction it runs in."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
