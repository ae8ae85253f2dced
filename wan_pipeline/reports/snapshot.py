"""One reading of the ledger: every statement within it sees the same state of the database."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine


@contextmanager
def snapshot(engine: Engine) -> Generator[tuple[Connection, datetime]]:
    """A connection that reads one state of the ledger, and that state's moment: PostgreSQL's server's, this host's with
    SQLite (whose transactions see one state by themselves)."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            as_of: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        else:
            as_of = datetime.now(UTC)
        yield connection, as_of.astimezone(UTC)
