"""Alerts: what a person is told of, each once, over all processes; and which of them the webhook has taken.

An alert is of a kind and a subject, its period included, and there is one row for it, for good. Where its cause goes away it
is cleared; where that comes back, the same alert stands again, and nobody is told a second time.

What does not belong here: what gives cause for one, and the sending.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from wan_pipeline.spend.audit_records import Alert
from wan_pipeline.spend.audit_tables import alerts
from wan_pipeline.spend.database import Database

WORTH_TELLING_FOR = timedelta(days=1)  # after that, what has no cause any more is not told for the first time

_AT_ONCE = 500
_Cause = tuple[str, str, str]  # kind, subject, message
_Key = tuple[str, str]  # kind, subject

_T = TypeVar("_T")


class Alerts:
    """Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def settle(
        self, kinds: Collection[str], causes: Sequence[_Cause], *, simulated: bool, now: datetime | None = None
    ) -> list[Alert]:
        """Of these kinds, `causes` (kind, subject, message) are all that there is cause for now: what is new is raised (and
        given), what stands again is open again, what has no cause any more is cleared. Writes only where something has
        changed. Raises ValueError for a cause of another kind."""
        strange = sorted({kind for kind, _, _ in causes} - set(kinds))
        if strange:
            raise ValueError(f"causes of kinds that were not looked at: {', '.join(strange)}")
        standing = {(kind, subject): message for kind, subject, message in causes}
        open_now = {(alert.kind, alert.subject) for alert in self.open(simulated=simulated) if alert.kind in kinds}
        if standing.keys() == open_now:
            return []
        known = self._known(standing.keys() - open_now, simulated=simulated)
        raised = self.raise_new(
            [(*key, message) for key, message in standing.items() if key not in known | open_now],
            simulated=simulated,
            now=now,
        )
        again = sorted(known)
        over = sorted(open_now - standing.keys())

        def write(connection: Connection) -> None:
            at = now or self._database.now(connection)
            for key in again:
                connection.execute(
                    _one(key, simulated).where(alerts.c.state == "cleared").values(state="open", cleared_at=None)
                )
            for key in over:
                connection.execute(
                    _one(key, simulated).where(alerts.c.state == "open").values(state="cleared", cleared_at=at)
                )

        if again or over:
            self._database.write(write)
        return raised

    def _known(self, keys: Collection[_Key], *, simulated: bool) -> set[_Key]:
        """Which of these were ever raised."""
        found = set[_Key]()
        with self._database.read() as connection:
            for some in _chunks(sorted({subject for _, subject in keys})):
                query = sa.select(alerts.c.kind, alerts.c.subject).where(
                    alerts.c.subject.in_(some), alerts.c.simulated == simulated
                )
                found |= {(row[0], row[1]) for row in connection.execute(query)}
        return found & set(keys)

    def raise_new(self, causes: Sequence[_Cause], *, simulated: bool, now: datetime | None = None) -> list[Alert]:
        """Of these (kind, subject, message) the ones that were never raised before; they are from now on."""
        insert = (postgresql.insert if self._database.is_postgres else sqlite.insert)(alerts)

        def write(connection: Connection) -> list[Alert]:
            at = now or self._database.now(connection)
            new: list[Alert] = []
            for kind, subject, message in sorted(causes):  # in one order, so that no two processes wait for each other
                row: dict[str, Any] = {
                    "kind": kind,
                    "subject": subject,
                    "simulated": simulated,
                    "state": "open",
                    "message": message,
                    "raised_at": at,
                }
                done = connection.execute(insert.values(row).on_conflict_do_nothing().returning(alerts))
                new += [_alert(each) for each in done.mappings()]
            return new

        return self._database.write(write) if causes else []

    def open(self, *, simulated: bool) -> list[Alert]:
        """Those that still have a cause, the newest first."""
        return self._find(None, alerts.c.state == "open", alerts.c.simulated == simulated)

    def all(self, *, simulated: bool, limit: int = 100) -> list[Alert]:
        """The newest first, cleared ones too."""
        return self._find(limit, alerts.c.simulated == simulated)

    def failing(self, *, simulated: bool) -> list[Alert]:
        """Those that the webhook was asked to take and has not; the newest first."""
        return self._find(
            None, alerts.c.sent_at.is_(None), alerts.c.error.is_not(None), alerts.c.simulated == simulated
        )

    # --- the webhook ---

    def unsent(self, now: datetime, *, simulated: bool) -> list[Alert]:
        """Those that the webhook has not taken and may be tried now, the oldest first. One that has no cause any more is
        among them for a day: whoever sets up a webhook is not told of what was over long before."""
        due = sa.or_(alerts.c.next_try_at.is_(None), alerts.c.next_try_at <= now)
        worth = sa.or_(alerts.c.state == "open", alerts.c.raised_at > now - WORTH_TELLING_FOR)
        return self._find(None, alerts.c.sent_at.is_(None), due, worth, alerts.c.simulated == simulated)[::-1]

    def take(self, ids: Sequence[int], now: datetime, until: datetime) -> list[int]:
        """Those of them that this process may send, which nobody else sends before `until`: where it dies before it has said
        what came of it, another one tries again then. The others are sent, or somebody else has them."""

        def write(connection: Connection) -> list[int]:
            due = sa.or_(alerts.c.next_try_at.is_(None), alerts.c.next_try_at <= now)
            mine: list[int] = []
            for some in _chunks(ids):
                taken = (
                    alerts.update()
                    .where(alerts.c.id.in_(some), alerts.c.sent_at.is_(None), due)
                    .values(next_try_at=until, tries=alerts.c.tries + 1)
                    .returning(alerts.c.id)
                )
                mine += connection.execute(taken).scalars()
            return mine

        return self._database.write(write)

    def mark_sent(self, ids: Sequence[int], now: datetime) -> None:
        """The webhook has taken them."""
        self._update(ids, sent_at=now, next_try_at=None, error=None)

    def mark_unsent(self, ids: Sequence[int], error: str, next_try_at: datetime) -> None:
        """The webhook has not taken them. `error` holds nothing of the webhook's URL."""
        self._update(ids, error=error, next_try_at=next_try_at)

    def _update(self, ids: Sequence[int], **values: Any) -> None:
        def write(connection: Connection) -> None:
            for some in _chunks(ids):
                connection.execute(alerts.update().where(alerts.c.id.in_(some)).values(**values))

        self._database.write(write)

    def _find(self, limit: int | None, *where: sa.ColumnElement[bool]) -> list[Alert]:
        query = sa.select(alerts).where(*where).order_by(alerts.c.raised_at.desc(), alerts.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [_alert(row) for row in connection.execute(query).mappings()]


def _chunks(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]


def _one(key: _Key, simulated: bool) -> sa.Update:
    kind, subject = key
    return alerts.update().where(alerts.c.kind == kind, alerts.c.subject == subject, alerts.c.simulated == simulated)


def _alert(row: sa.RowMapping) -> Alert:
    values = dict(row)
    values.pop("state")
    return Alert(**values)
