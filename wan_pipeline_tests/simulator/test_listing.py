"""Listings stay quick however many jobs there are: an index finds the page, and SQL cuts it off. Old books open too."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from wan_pipeline.simulator.books import Books
from wan_pipeline_tests.simulator.world import World, accepted

LOGS, TRANSACTIONS = "/v2/logs", "/v2/billing/transactions"
LIST, BILLINGS = "/api/v3/predictions", "/api/v3/billings/search"
INDEXES = ("jobs_by_creation", "jobs_by_end", "entries_by_time", "entries_of_job", "sqlite_autoindex_jobs")
OLD_BOOKS = """
CREATE TABLE posts (id INTEGER PRIMARY KEY, provider TEXT NOT NULL, received_us INTEGER NOT NULL, client_request_id TEXT,
    outcome TEXT, job_id TEXT);
CREATE TABLE jobs (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, provider TEXT NOT NULL, model TEXT NOT NULL,
    body TEXT NOT NULL, client_request_id TEXT, created_us INTEGER NOT NULL, ready_us INTEGER NOT NULL,
    charged_nanos INTEGER NOT NULL, fails INTEGER NOT NULL, video TEXT NOT NULL);
CREATE TABLE entries (id INTEGER PRIMARY KEY, job_id TEXT NOT NULL, provider TEXT NOT NULL, kind TEXT NOT NULL,
    nanos INTEGER NOT NULL, at_us INTEGER NOT NULL);
INSERT INTO posts VALUES (1, 'aimlapi', 1799999000000000, 'attempt-1', 'accepted', 'old');
INSERT INTO jobs VALUES (1, 'old', 'aimlapi', 'alibaba/wan-2-6-i2v', '{}', 'attempt-1', 1799999000000000,
    1799999002000000, 500, 0, '{"width": 1280, "height": 720, "duration_s": 2, "tone": false}');
INSERT INTO entries VALUES (1, 'old', 'aimlapi', 'charge', 500, 1799999000000000);
"""


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        ("GET", LOGS, {"period": "92d", "limit": 100, "offset": 40_000}),
        ("GET", LOGS, {"period": "1h", "status": "failed"}),
        ("GET", TRANSACTIONS, {"limit": 100}),
        ("GET", TRANSACTIONS, {"from": "2027-01-01T00:00:00Z", "to": "2027-02-01T00:00:00Z"}),
        ("POST", LIST, {"page": 50}),
        ("POST", LIST, {"status": "processing", "created_after": "2027-01-01T00:00:00Z"}),
        ("POST", BILLINGS, {"page": 50}),
        ("POST", BILLINGS, {"billing_type": "refund", "sort": "created_at ASC"}),
        ("POST", BILLINGS, {"prediction_uuids": ["a", "b"]}),
    ],
)
def test_no_listing_reads_a_table_through_or_sorts_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, path: str, asked: dict[str, Any]
):
    world = World(tmp_path)
    accepted(world.aimlapi())
    accepted(world.wavespeed())
    world.finish()
    asked_of_the_books: list[tuple[str, tuple[Any, ...]]] = []
    select = Books._all

    def remembered(self: Books, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        asked_of_the_books.append((statement, values))
        return select(self, statement, *values)

    monkeypatch.setattr(Books, "_all", remembered)
    given = {"params": asked} if method == "GET" else {"json": asked}
    assert world.http.request(method, path, **given).status_code == 200
    assert asked_of_the_books
    for statement, values in asked_of_the_books:
        plan = [row[3] for row in select(world.books, f"EXPLAIN QUERY PLAN {statement}", *values)]
        assert not [step for step in plan if step.startswith("SCAN")], (statement, plan)
        assert any(index in step for step in plan for index in INDEXES), (statement, plan)
        if "IN (" not in statement:  # a page that was found, or what was asked for by name, may be sorted
            assert not [step for step in plan if "TEMP B-TREE" in step], (statement, plan)
        assert "LIMIT" in statement or "count(*)" in statement or "IN (" in statement, statement


def test_books_of_an_earlier_version_open_and_their_jobs_are_listed(tmp_path: Path):
    database = sqlite3.connect(tmp_path / "books.sqlite")
    database.executescript(OLD_BOOKS)
    database.close()
    world = World(tmp_path)
    [row] = world.http.get(LOGS, params={"period": "1d"}).json()["data"]
    assert (row["inference_id"], row["client_request_id"]) == ("old", "attempt-1")
    entries = world.http.get(TRANSACTIONS).json()["data"]
    assert [entry["type"] for entry in entries] == ["MODEL_USAGE", "INIT"]
    assert accepted(world.aimlapi()) and len(world.books.jobs()) == 2
