"""The inbox as it was last listed: its objects, which yaml names which input, and how far all that is known.

With it a tick sees what has changed without building every shot, and a run finds its shots without the whole listing. What
does not belong here: what a change means for which shot (shots/affected.py), and when the bucket is listed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from wan_pipeline.spend.database import Database
from wan_pipeline.spend.inbox_tables import inbox_listings, inbox_objects, named_inputs

_AT_ONCE = 5000  # rows in one statement's batch
_IN_ONE_QUESTION = 500  # values of an IN; SQLite took 999 for long
_MAX_KEY_BYTES = 1024  # S3's limit: what is longer names no object


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object below `inbox/` as the bucket shows it."""

    key: str
    etag: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Listing:
    """How far the inbox of a bucket is known. `made_by`: with which settings and program the shots of the index were made,
    None while not every object is in them; `fresh_at`: the index knows of all that was there then; `listed_at`: when the
    last whole listing began; `began_at` and `reached`: of one that has not come to its end."""

    made_by: str | None = None
    fresh_at: datetime | None = None
    listed_at: datetime | None = None
    began_at: datetime | None = None
    reached: str | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs in the bucket from what is kept of it."""

    there: Mapping[str, ListedObject]  # new or changed
    gone: frozenset[str]

    @property
    def keys(self) -> set[str]:
        return {*self.there, *self.gone}

    def __len__(self) -> int:
        return len(self.there) + len(self.gone)


def composed(key: str) -> str:
    """Its letters in Unicode's form NFC."""
    return key if key.isascii() else unicodedata.normalize("NFC", key)


def chunks(values: Iterable[str], size: int = _IN_ONE_QUESTION) -> Iterator[list[str]]:
    """The values, sorted and without repetition, in parts."""
    rest = iter(sorted(set(values)))
    while some := list(islice(rest, size)):
        yield some


class InboxIndex:
    """The tables of that; every method is one transaction, reading many objects one for each few thousand."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- how far it is known ---

    def listing(self, bucket: str) -> Listing:
        """Of the bucket at this URL."""
        query = sa.select(inbox_listings).where(inbox_listings.c.bucket == bucket)
        with self._database.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return Listing() if row is None else Listing(**{name: row[name] for name in row if name != "bucket"})

    def note(self, bucket: str, **told: object) -> None:
        """Writes down these fields of `Listing`."""
        self._database.write(lambda connection: self._note(connection, bucket, told))

    # --- objects ---

    def objects(self) -> Iterator[ListedObject]:
        """All that are kept, in the order of their keys' bytes."""
        return self.objects_behind("")

    def objects_behind(self, last: str) -> Iterator[ListedObject]:
        """Those whose keys come after `last`."""
        table = inbox_objects.c
        while True:
            query = (
                sa.select(table.key, table.etag, table.size_bytes, table.modified_at)
                .where(table.key > last)
                .order_by(table.key)
                .limit(_AT_ONCE)
            )
            with self._database.read() as connection:
                rows = connection.execute(query).all()
            for row in rows:
                yield ListedObject(*row)
            if len(rows) < _AT_ONCE:
                return
            last = rows[-1][0]

    def some_objects(self, keys: Collection[str]) -> dict[str, ListedObject]:
        """Those of these keys that are kept."""
        found: dict[str, ListedObject] = {}
        table = inbox_objects.c
        with self._database.read() as connection:
            for some in chunks(keys):
                query = sa.select(table.key, table.etag, table.size_bytes, table.modified_at).where(table.key.in_(some))
                found |= {row[0]: ListedObject(*row) for row in connection.execute(query)}
        return found

    def apply(
        self, bucket: str, changes: Changes, names: Mapping[str, Iterable[str]] | None = None, **told: object
    ) -> None:
        """Keeps these changes, what these yamls name now (none: that they name nothing), and these fields of `Listing`."""

        def write(connection: Connection) -> None:
            self._save(connection, changes.there.values())
            self._forget(connection, changes.gone)
            self._rename(connection, names or {})
            self._note(connection, bucket, told)

        self._database.write(write)

    # --- names ---

    def namers(self, keys: Collection[str]) -> list[tuple[str, str]]:
        """Which yaml names one of these keys, however its letters are composed: (yaml, the key as it names it)."""
        table = named_inputs.c
        found: list[tuple[str, str]] = []
        with self._database.read() as connection:
            for some in chunks(composed(key) for key in keys):
                query = sa.select(table.file, table.named).where(table.composed.in_(some))
                found += [(file, named) for file, named in connection.execute(query)]
        return found

    def names_in(self, files: Collection[str]) -> dict[str, set[str]]:
        """What these yamls name."""
        found: dict[str, set[str]] = {}
        table = named_inputs.c
        with self._database.read() as connection:
            for some in chunks(files):
                query = sa.select(table.file, table.named).where(table.file.in_(some))
                for file, named in connection.execute(query):
                    found.setdefault(file, set()).add(named)
        return found

    def replace_names(self, bucket: str, names: Mapping[str, Iterable[str]], **told: object) -> None:
        """All that any yaml names; and these fields of `Listing`."""
        table = named_inputs.c
        with self._database.read() as connection:
            kept = {(file, named) for file, named in connection.execute(sa.select(table.file, table.named))}
        wanted = {(file, named) for file, keys in names.items() for named in keys if _can_be_kept(named)}
        changed = {file for file, _ in kept ^ wanted}

        def write(connection: Connection) -> None:
            self._rename(connection, {file: names.get(file, ()) for file in changed})
            self._note(connection, bucket, told)

        self._database.write(write)

    # --- within ---

    def _note(self, connection: Connection, bucket: str, told: Mapping[str, object]) -> None:
        if not told:
            return
        insert = (postgresql.insert if self._database.is_postgres else sqlite.insert)(inbox_listings)
        values = {"bucket": bucket, **told}
        connection.execute(insert.on_conflict_do_update(index_elements=["bucket"], set_=dict(told)), [values])

    def _save(self, connection: Connection, objects: Iterable[ListedObject]) -> None:
        insert = (postgresql.insert if self._database.is_postgres else sqlite.insert)(inbox_objects)
        new = insert.excluded
        upsert = insert.on_conflict_do_update(
            index_elements=["key"],
            set_={"etag": new.etag, "size_bytes": new.size_bytes, "modified_at": new.modified_at},
        )
        # RETURNING makes SQLAlchemy send a thousand rows in one statement to PostgreSQL, instead of one each.
        statement: Any = upsert.returning(inbox_objects.c.key) if self._database.is_postgres else upsert
        rows = [
            {"key": item.key, "etag": item.etag, "size_bytes": item.size_bytes, "modified_at": item.modified_at}
            for item in sorted(objects, key=lambda item: item.key)
        ]
        for start in range(0, len(rows), _AT_ONCE):
            connection.execute(statement, rows[start : start + _AT_ONCE])

    def _forget(self, connection: Connection, keys: Iterable[str]) -> None:
        for some in chunks(keys):
            connection.execute(inbox_objects.delete().where(inbox_objects.c.key.in_(some)))

    def _rename(self, connection: Connection, names: Mapping[str, Iterable[str]]) -> None:
        for some in chunks(names):
            connection.execute(named_inputs.delete().where(named_inputs.c.file.in_(some)))
        rows = [
            {"file": file, "named": named, "composed": composed(named)}
            for file in sorted(names)
            for named in sorted(set(names[file]))
            if _can_be_kept(named)
        ]
        for start in range(0, len(rows), _AT_ONCE):
            connection.execute(named_inputs.insert(), rows[start : start + _AT_ONCE])


def _can_be_kept(key: str) -> bool:
    """Whether an object can have this key, and PostgreSQL keep it."""
    try:
        return len(key.encode()) <= _MAX_KEY_BYTES and "\0" not in key
    except UnicodeEncodeError:
        return False
