"""What the bucket sensor has seen of each shot: which version, when, and which version it has asked to be made.

It lives in the ledger's database, and that is all it has to do with the ledger: losing it costs nothing, since what is
bought is known to the jobs and takes. What does not belong here: when a shot is to be taken up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from wan_pipeline.spend.database import Database
from wan_pipeline.spend.inbox_index import InboxIndex, chunks
from wan_pipeline.spend.tables import NOT_AT_REST, shot_index

MISTAKES = "!"  # in a version, parts it from the digest of the shot's mistakes
_AT_ONCE = 5000  # rows in one statement's batch


@dataclass(frozen=True, slots=True)
class SeenShot:
    """A shot as a listing has just shown it. `problem`: why it is not ready; `modified_at`: of the newest file that it
    depends on; `origin`: the bucket key that it comes from."""

    key: str
    version: str
    ready: bool
    problem: str | None = None
    not_before: datetime | None = None
    campaign: str | None = None
    model: str | None = None
    modified_at: datetime | None = None
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class IndexedShot:
    """A row of the index. `listed_version` is what the last listing has shown, None where it has not shown the shot (runs
    write down what they see, which may be older or newer); `taken_up_version` is what was last asked to be made,
    `finished_version` what last came to an end, good or bad; `gone_at` is set while it is not listed."""

    key: str
    version: str
    taken_up_version: str | None
    ready: bool
    problem: str | None
    not_before: datetime | None
    campaign: str | None
    model: str | None
    first_seen_at: datetime
    version_seen_at: datetime
    gone_at: datetime | None
    finished_version: str | None = None
    taken_up_at: datetime | None = None
    times_taken_up: int = 0
    modified_at: datetime | None = None
    origin: str | None = None
    listed_version: str | None = None

    @property
    def taken_up(self) -> bool:
        """Nothing has changed since it was last asked for."""
        return self.taken_up_version == self.version


class WaitingShot(NamedTuple):
    """Of a row of the index what decides when it is taken up; there may be very many of them."""

    key: str
    ready: bool
    not_before: datetime | None
    version_seen_at: datetime
    modified_at: datetime | None
    origin: str | None


class ShotIndex:
    """The table of that; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.inbox = InboxIndex(database)

    def load(self) -> dict[str, IndexedShot]:
        """All shots ever seen, by their keys."""
        return self._where(sa.true())

    def load_some(self, keys: Collection[str]) -> dict[str, IndexedShot]:
        """Those of these keys that were ever seen."""
        return self._where_in(shot_index.c.key, keys)

    def of_stems(self, stems: Collection[str]) -> list[tuple[str, str]]:
        """Key and origin of the shots whose origins begin with one of these and a dot; gone ones too."""
        column, slash = shot_index.c, chr(ord(".") + 1)
        found: list[tuple[str, str]] = []
        with self._database.read() as connection:
            for stem in sorted(stems):
                within = (column.origin >= f"{stem}.") & (column.origin < stem + slash)
                found += [
                    (key, origin)
                    for key, origin in connection.execute(sa.select(column.key, column.origin).where(within))
                ]
        return found

    def waiting(self) -> list[WaitingShot]:
        """Those about which there is something that no run has been asked to look at: a version that is new, or other
        mistakes (behind the "!" of a version), unless it was taken up in order and only broken since."""
        column = shot_index.c
        told = (column.key, column.ready, column.not_before, column.version_seen_at, column.modified_at, column.origin)
        query = sa.select(*told)
        with self._database.read() as connection:
            return [WaitingShot(*row) for row in connection.execute(query.where(_has_news()))]

    def waiting_for_their_time(self) -> dict[str, IndexedShot]:
        """Those of which no run has been asked to look at the present version, and that were not due when it was seen."""
        column = shot_index.c
        new = column.taken_up_version.is_distinct_from(column.version)
        return self._where(NOT_AT_REST & new & (column.not_before > column.version_seen_at))

    def unfinished(self) -> dict[str, IndexedShot]:
        """Those of which the present version was taken up, and that no run has brought to an end."""
        column = shot_index.c
        begun = (column.taken_up_version == column.version) & column.ready
        return self._where(NOT_AT_REST & begun & column.finished_version.is_distinct_from(column.version))

    def other_than_listed(self) -> set[str]:
        """The keys of shots that somebody has seen otherwise than the last listing has shown them."""
        column = shot_index.c
        there = column.gone_at.is_(None) & column.listed_version.is_distinct_from(column.version)
        gone = column.gone_at.is_not(None) & column.listed_version.is_not(None)
        with self._database.read() as connection:
            return set(connection.execute(sa.select(column.key).where(there | gone)).scalars())

    def count(self) -> int:
        """How many shots are in the bucket."""
        return self._scalar(sa.select(sa.func.count()).where(shot_index.c.gone_at.is_(None)))

    def holds_at_least(self, number: int) -> bool:
        """Whether so many shots are in the bucket; asked without counting more."""
        some = sa.select(sa.literal(1)).where(shot_index.c.gone_at.is_(None)).limit(number).subquery()
        return self._scalar(sa.select(sa.func.count()).select_from(some)) >= number

    def _scalar(self, query: sa.Select[int]) -> int:
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def _where(self, condition: sa.ColumnElement[bool]) -> dict[str, IndexedShot]:
        with self._database.read() as connection:
            rows = connection.execute(sa.select(shot_index).where(condition)).mappings()
            return {row["key"]: IndexedShot(**row) for row in rows}

    def _where_in(self, column: sa.Column[str], values: Collection[str]) -> dict[str, IndexedShot]:
        found: dict[str, IndexedShot] = {}
        for some in chunks(values):
            found |= self._where(column.in_(some))
        return found

    def save(self, shots: Iterable[SeenShot], at: datetime, *, listed: bool = False) -> None:
        """Writes down what is new or different; `version_seen_at` moves where the version does. A gone shot is back.
        `listed`: a listing has just shown them so."""
        rows: list[dict[str, Any]] = [
            {
                "key": shot.key,
                "version": shot.version,
                "ready": shot.ready,
                "problem": shot.problem,
                "not_before": shot.not_before,
                "campaign": shot.campaign,
                "model": shot.model,
                "modified_at": shot.modified_at,
                "origin": shot.origin,
                "listed_version": shot.version if listed else None,
                "first_seen_at": at,
                "version_seen_at": at,
            }
            for shot in shots
        ]
        insert = (postgresql.insert if self._database.is_postgres else sqlite.insert)(shot_index)
        new = insert.excluded
        old = shot_index.c
        told = (
            "ready",
            "problem",
            "not_before",
            "campaign",
            "model",
            "modified_at",
            "origin",
            *(["listed_version"] if listed else []),
        )
        different = old.gone_at.is_not(None) | old.version.is_distinct_from(new.version)
        for name in told:
            different |= old[name].is_distinct_from(new[name])
        upsert = insert.on_conflict_do_update(
            index_elements=[old.key],
            set_={
                "version_seen_at": sa.case(
                    (old.version != new.version, new.version_seen_at), else_=old.version_seen_at
                ),
                "version": new.version,
                "gone_at": sa.null(),
                **{name: new[name] for name in told},
            },
            where=different,
        )
        # RETURNING makes SQLAlchemy send a thousand rows in one statement to PostgreSQL, instead of one each.
        self._in_batches(upsert.returning(shot_index.c.key) if self._database.is_postgres else upsert, rows)

    def mark_taken_up(self, keys: Sequence[str], versions: Sequence[str], at: datetime) -> None:
        """These versions were asked for (or found made already) at `at`."""
        update = (
            shot_index.update()
            .where(shot_index.c.key == sa.bindparam("the_key"))
            .values(
                taken_up_version=sa.bindparam("the_version"),
                taken_up_at=sa.bindparam("the_moment"),
                times_taken_up=shot_index.c.times_taken_up + 1,
            )
        )
        pairs = zip(keys, versions, strict=True)
        self._in_batches(update, [{"the_key": key, "the_version": version, "the_moment": at} for key, version in pairs])

    def mark_finished(self, keys: Sequence[str], versions: Sequence[str], at: datetime) -> None:
        """These versions have come to an end, good or bad: what was taken up of them is not taken up again by itself."""
        del at  # the jobs' own moments say when; kept beside mark_taken_up's
        update = (
            shot_index.update()
            .where(shot_index.c.key == sa.bindparam("the_key"))
            .values(finished_version=sa.bindparam("the_version"))
        )
        pairs = zip(keys, versions, strict=True)
        self._in_batches(update, [{"the_key": key, "the_version": version} for key, version in pairs])

    def take_up_again(self, keys: Sequence[str]) -> None:
        """As if their present versions had not been asked for yet. How often they were is not forgotten."""
        update = (
            shot_index.update()
            .where(shot_index.c.key == sa.bindparam("the_key"))
            .values(taken_up_version=sa.null(), finished_version=sa.null())
        )
        self._in_batches(update, [{"the_key": key} for key in keys])

    def mark_gone(self, keys: Sequence[str], at: datetime, *, listed: bool = False) -> None:
        """These are not listed any more. They stay, for when they come back and for the record. `listed`: a listing has
        just shown that."""
        gone_at = sa.func.coalesce(shot_index.c.gone_at, sa.bindparam("the_moment", type_=shot_index.c.gone_at.type))
        update = (
            shot_index.update()
            .where(shot_index.c.key == sa.bindparam("the_key"))
            .values(gone_at=gone_at, **({"listed_version": sa.null()} if listed else {}))
        )
        self._in_batches(update, [{"the_key": key, "the_moment": at} for key in keys])

    def _in_batches(self, statement: sa.Executable, rows: list[dict[str, Any]]) -> None:
        # In the keys' order: two at once then lock rows in the same order, and never each other's.
        rows.sort(key=lambda row: row.get("key") or row["the_key"])

        def write(connection: Connection) -> None:
            for start in range(0, len(rows), _AT_ONCE):
                connection.execute(statement, rows[start : start + _AT_ONCE])

        if rows:
            self._database.write(write)


def _has_news() -> sa.ColumnElement[bool]:
    column = shot_index.c
    beginning = sa.func.substr(column.version, 1, sa.func.length(column.taken_up_version) + 1)
    only_broken = (beginning == column.taken_up_version + MISTAKES) & column.taken_up_version.not_like(f"%{MISTAKES}%")
    changed = (column.taken_up_version != column.version) & (column.ready | ~only_broken)
    return NOT_AT_REST & column.gone_at.is_(None) & (column.taken_up_version.is_(None) | changed)
