"""An empty ledger for each test, on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.tables import metadata
from wan_pipeline_tests.services.postgres import PostgresServer


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrated once; each test has a copy."""
    path = tmp_path_factory.mktemp("ledger") / "template.sqlite"
    Ledger.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgres_ledger(postgres_server: PostgresServer) -> Iterator[str]:
    """Migrated once; emptied for each test."""
    with postgres_server.database() as url:
        Ledger.open(url).close()
        yield url


def empty_postgres(url: str) -> None:
    """Deletes, past the triggers that keep everybody else from it. (TRUNCATE takes ten times as long: new files.)"""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        connection.execute(sa.text("SET LOCAL search_path TO wan_ledger"))
        for table in reversed(metadata.sorted_tables):
            connection.execute(sa.delete(table))


@pytest.fixture(params=["sqlite", "postgres"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty ledger of the test's own."""
    if request.param == "sqlite":
        path = tmp_path / "ledger.sqlite"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("postgres_ledger")
    empty_postgres(url)
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that has never been opened."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new' / 'folder' / 'ledger.sqlite'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """Must agree with itself at the test's end."""
    with Ledger.open(ledger_url) as opened:
        yield opened
        assert opened.verify() == []


@pytest.fixture
def other(ledger_url: str) -> Iterator[Ledger]:
    """A second holder of the same ledger."""
    with Ledger.open(ledger_url) as opened:
        yield opened
