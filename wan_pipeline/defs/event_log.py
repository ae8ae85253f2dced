"""Dagster's SQLite event log with its connections kept open: the same files and tables, a fraction of the time per event.

Dagster 1.13.27 makes a new SQLAlchemy engine and opens the file anew for every event, several times, and has SQLite wait
for the disk at each commit: 6 to 8 ms an event, seven events a shot. Here a file's connection is kept (one at a time uses
it, as in Dagster's own class), and a commit waits for the disk only when the write-ahead log is folded in
(`synchronous=NORMAL`): after a power cut the last events may be missing, the files are sound. That is right for the
display; the ledger, which is the truth, waits for the disk (`synchronous=FULL`).

A run over many partitions makes Dagster plan each of them: an event for each asset and partition, written one by one, and
for each check and partition a row that holds the event with all partitions in it: the square of their number (2 GB
for a run over 5,000 with four checks). Here planned events go in as one batch, and a planned check's row holds its event
without the partitions (the row names its own); the latter on PostgreSQL too.

This overrides private methods; dagster is pinned exactly, and tests hold them to what they are for.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC
from typing import Any

import sqlalchemy as sa
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import SqlEventLogStorageTable, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import serialize_value
from sqlalchemy import event as sa_event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import QueuePool

from wan_pipeline.defs.kept_keys import KeptKeys

# How many events Dagster hands over at once, where it can: those of a plan. Its default is one.
os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "2000")
_KEPT_FILES = 16  # a run has one file; the webserver and the daemon look at many


class LeanPlans(KeptKeys):
    """Planned checks, each with an event of its own."""

    def _store_asset_check_evaluation_planned(self, event: EventLogEntry, event_id: int | None) -> None:
        planned = event.get_dagster_event().event_specific_data
        if not isinstance(planned, AssetCheckEvaluationPlanned) or planned.partitions_subset is None:
            return super()._store_asset_check_evaluation_planned(event, event_id)
        alone = AssetCheckEvaluationPlanned(asset_key=planned.asset_key, check_name=planned.check_name)
        text = serialize_value(
            event._replace(dagster_event=event.get_dagster_event()._replace(event_specific_data=alone))
        )
        row = {
            "asset_key": planned.asset_key.to_string(),
            "check_name": planned.check_name,
            "run_id": event.run_id,
            "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
            "evaluation_event": text,
            "evaluation_event_timestamp": self._event_insert_timestamp(event),
            "evaluation_event_storage_id": event_id,
        }
        rows = [row | {"partition": key} for key in planned.partitions_subset.get_partition_keys()]
        if rows:
            with self.index_connection() as connection:
                connection.execute(AssetCheckExecutionsTable.insert(), rows)
        return None


class KeptEventLogStorage(LeanPlans, SqliteEventLogStorage):
    """See the module. `dispose` closes what is kept."""

    def __init__(self, base_dir: str) -> None:
        self._kept: OrderedDict[str, Engine] = OrderedDict()
        self._tables: set[str] = set()
        self._open = threading.local()  # while events are stored together: this thread's transactions by file
        super().__init__(base_dir)

    @contextmanager
    def _connect(self, shard: str) -> Generator[Connection]:
        opened: dict[str, Connection] | None = getattr(self._open, "by_file", None)
        if opened is not None:
            if shard not in opened:
                opened[shard] = self._open.stack.enter_context(self._transaction(shard))
            yield opened[shard]
            return
        with self._db_lock, self._transaction(shard) as connection:
            yield connection

    @contextmanager
    def _transaction(self, shard: str) -> Generator[Connection]:
        engine = self._engine(shard)
        with engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def together(self) -> Generator[None]:
        """What this thread stores in the block is stored in one transaction for each file, or not at all."""
        if getattr(self._open, "by_file", None) is not None:
            yield
            return
        with self._db_lock, ExitStack() as stack:
            self._open.by_file, self._open.stack, self._open.newest = {}, stack, {}
            try:
                yield
                for event, event_id in self._open.newest.values():
                    with self.index_connection() as connection:
                        super()._store_asset_event(connection, event, event_id)
            finally:
                self._open.by_file = None

    def _store_asset_event(self, conn: Connection, event: EventLogEntry, event_id: int) -> None:
        """An asset's row is what its last event makes of it: within `together` it is written once."""
        if getattr(self._open, "by_file", None) is None:
            super()._store_asset_event(conn, event, event_id)
        else:
            told = event.get_dagster_event()
            self._open.newest[told.asset_key, told.is_step_materialization] = (event, event_id)

    def newest(self) -> tuple[int, float]:
        """Within `together`: the number and the moment (Unix time) of the event that went into the index last."""
        events = SqlEventLogStorageTable.c
        with self.index_connection() as connection:
            row = connection.execute(sa.select(events.id, events.timestamp).order_by(events.id.desc()).limit(1)).one()
        return int(row[0]), row[1].replace(tzinfo=UTC).timestamp()

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Dagster sends the planned events of a run this way (and stores them one by one where this fails)."""
        with self.together():
            planned = [event for event in events if event.get_dagster_event().is_asset_materialization_planned]
            if planned:
                self._store_planned(planned)
            for event in events:
                if not event.get_dagster_event().is_asset_materialization_planned:
                    self.store_event(event)

    def _store_planned(self, events: Sequence[EventLogEntry]) -> None:
        """As `store_event` does it for each. Within `together`."""
        rows = [self._event_to_row(event) for event in events]
        for run_id in dict.fromkeys(event.run_id for event in events):
            with self.run_connection(run_id) as connection:
                connection.execute(SqlEventLogStorageTable.insert(), [row for row in rows if row["run_id"] == run_id])
        with self.index_connection() as connection:
            connection.execute(SqlEventLogStorageTable.insert(), rows)
            for event in events:
                self._store_asset_event(connection, event, 0)  # the id is kept of materializations only

    def _engine(self, shard: str) -> Engine:
        engine = self._kept.get(shard)
        if engine is None:
            engine = sa.create_engine(
                self.conn_string_for_shard(shard),
                poolclass=QueuePool,
                pool_size=1,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
            )
            sa_event.listen(engine, "connect", _do_not_wait_for_the_disk)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            self._kept[shard] = engine
            while len(self._kept) > _KEPT_FILES:
                self._kept.popitem(last=False)[1].dispose()
        self._kept.move_to_end(shard)
        return engine

    def has_table(self, table_name: str) -> bool:
        """Asked twice for each event. A table that was there stays."""
        if table_name not in self._tables:
            if not super().has_table(table_name):
                return False
            self._tables.add(table_name)
        return True

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
