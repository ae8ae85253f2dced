"""Dagster's SQLite event log with its connections kept open: the same files and tables, a fraction of the time per event.

Dagster 1.13.27 makes a new SQLAlchemy engine and opens the file anew for every event, several times, and has SQLite wait
for the disk at each commit: 6 to 8 ms an event, seven events a shot. Here a file's connection is kept (one at a time uses
it, as in Dagster's own class), and a commit waits for the disk only when the write-ahead log is folded in
(`synchronous=NORMAL`): after a power cut the last events may be missing, the files are sound. That is right for the
display; the ledger, which is the truth, waits for the disk (`synchronous=FULL`).

This overrides one private method, `_connect`; dagster is pinned exactly, and a test holds it to what it is for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import QueuePool

_KEPT_FILES = 16  # a run has one file; the webserver and the daemon look at many


class KeptEventLogStorage(SqliteEventLogStorage):
    """See the module. `dispose` closes what is kept."""

    def __init__(self, base_dir: str) -> None:
        self._kept: OrderedDict[str, Engine] = OrderedDict()
        super().__init__(base_dir)

    @contextmanager
    def _connect(self, shard: str) -> Generator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _engine(self, shard: str) -> Engine:
        engine = self._kept.get(shard)
        if engine is None:
            engine = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=QueuePool,
                pool_size=1,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
            )
            event.listen(engine, "connect", _do_not_wait_for_the_disk)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            self._kept[shard] = engine
            while len(self._kept) > _KEPT_FILES:
                self._kept.popitem(last=False)[1].dispose()
        self._kept.move_to_end(shard)
        return engine

    def delete_events(self, run_id: str) -> None:
        super().delete_events(run_id)
        self._forget(run_id)

    def dispose(self) -> None:
        super().dispose()
        for shard in list(self._kept):
            self._forget(shard)

    def _forget(self, shard: str) -> None:
        with self._db_lock:
            engine = self._kept.pop(shard, None)
            if engine is not None:
                engine.dispose()


class KeptSqliteStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage with that event log."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        super().__init__(base_dir, inst_data)
        plain = self._event_log_storage
        self._event_log_storage = KeptEventLogStorage(plain._base_dir)  # pyright: ignore[reportPrivateUsage]


def _do_not_wait_for_the_disk(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=NORMAL")
