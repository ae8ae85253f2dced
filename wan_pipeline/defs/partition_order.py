"""Dagster's table of dynamic partitions, asked and changed by a few keys: what is not asked about is not read.

Dagster itself answers with all keys (0.3 s at 100,000, for each question). It keeps partitions in the order in which they
were added, which is that of its table's ids; a key that was deleted and added again lies at the end.

What belongs here: that table. What does not: which shots are partitions (partitions.py, retiring.py).
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import dagster as dg
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from wan_pipeline.defs.partitions import SHOTS

if TYPE_CHECKING:
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

GAP = ""  # no partition has this key
_AT_ONCE = 500
_DELETED_AT_ONCE = 10_000  # SQLite refuses about 30,000 in one statement
# Dagster's table, as far as it is used here. Its own object brings all kinds of storage along when it is imported.
_TABLE = sa.table(
    "dynamic_partitions",
    sa.column("id", sa.Integer()),
    sa.column("partitions_def_name", sa.Text()),
    sa.column("partition", sa.Text()),
    sa.column("create_timestamp", sa.DateTime()),
)
_ROW = _TABLE.c


def places_of(instance: dg.DagsterInstance, keys: Iterable[str]) -> dict[str, int]:
    """Of those of these keys that are partitions, numbers that grow in the partitions' order."""
    wanted = list(dict.fromkeys(keys))
    with _storage(instance).index_connection() as connection:
        return _places(connection, wanted)


def in_order(instance: dg.DagsterInstance, keys: Collection[str]) -> list[str]:
    """Those of these keys that are partitions, in the partitions' order, and a GAP wherever others lie between two."""
    with _storage(instance).index_connection() as connection:
        places = sorted((place, key) for key, place in _places(connection, list(dict.fromkeys(keys))).items())
        order = [key for _, key in places[:1]]
        for (place, _), (next_place, key) in pairwise(places):
            if next_place > place + 1 and _any_between(connection, place, next_place):
                order.append(GAP)
            order.append(key)
    return order


def keys_in_range(instance: dg.DagsterInstance, first: str, last: str) -> list[str]:
    """The partitions from the first to the last; none where one of both is no partition."""
    with _storage(instance).index_connection() as connection:
        places = _places(connection, [first, last])
        if first not in places or last not in places:
            return []
        query = (
            sa.select(_ROW.partition)
            .where(_is_a_shot(), _ROW.id.between(places[first], places[last]))
            .order_by(_ROW.id)
        )
        return [str(key) for key in connection.execute(query).scalars()]


def added_at(instance: dg.DagsterInstance, keys: Iterable[str]) -> dict[str, datetime]:
    """Of those of these keys that are partitions, since when: by the database's clock, SQLite's in whole seconds."""
    found: dict[str, datetime] = {}
    with _storage(instance).index_connection() as connection:
        for some in _in_parts(list(dict.fromkeys(keys))):
            query = sa.select(_ROW.partition, _ROW.create_timestamp)
            query = query.where(_ROW.partitions_def_name == SHOTS, _ROW.partition.in_(some))
            found |= {str(key): moment.replace(tzinfo=UTC) for key, moment in connection.execute(query)}
    return found


def remove_shots(instance: dg.DagsterInstance, keys: Iterable[str]) -> None:
    """These are no partitions any more; the order of the others stays. Dagster's own way is a transaction for each key."""
    for some in _in_parts(list(dict.fromkeys(keys)), _DELETED_AT_ONCE):
        with _storage(instance).index_connection() as connection:
            connection.execute(_TABLE.delete().where(_ROW.partitions_def_name == SHOTS, _ROW.partition.in_(some)))


def _storage(instance: dg.DagsterInstance) -> SqlEventLogStorage:
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage  # not exported

    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise TypeError(f"Dagster's storage is SQLite or PostgreSQL here, not {type(storage).__name__}")
    return storage


def _places(connection: Connection, keys: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for some in _in_parts(keys):
        query = sa.select(_ROW.partition, _ROW.id).where(_ROW.partitions_def_name == SHOTS, _ROW.partition.in_(some))
        found |= {str(key): int(place) for key, place in connection.execute(query)}
    return found


def _any_between(connection: Connection, place: int, next_place: int) -> bool:
    query = sa.select(_ROW.id).where(_is_a_shot(), _ROW.id > place, _ROW.id < next_place).limit(1)
    return connection.execute(query).first() is not None


def _is_a_shot() -> sa.ColumnElement[bool]:
    """So written that SQLite looks the ids up, and not the name: nearly all rows have that one."""
    return _ROW.partitions_def_name.concat("") == SHOTS


def _in_parts(keys: Sequence[str], size: int = _AT_ONCE) -> Generator[Sequence[str]]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]
