"""Alerts: what a person is told of, each once, over all processes; and which of them the webhook has taken.

What does not belong here: what gives cause for one, and the sending.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from wan_pipeline.spend.audit_records import Alert
from wan_pipeline.spend.audit_tables import alerts
from wan_pipeline.spend.database import Database


class Alerts:
    """Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def raise_new(
        self, causes: Sequence[tuple[str, str, str]], *, simulated: bool, now: datetime | None = None
    ) -> list[Alert]:
        """Of these (kind, subject, message) the ones that were never raised before; they are from now on."""
        insert = (postgresql.insert if self._database.is_postgres else sqlite.insert)(alerts)

        def write(connection: Connection) -> list[Alert]:
            at = now or self._database.now(connection)
            new: list[Alert] = []
            for kind, subject, message in causes:
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

    def clear_others(
        self, kind: str, subjects: Collection[str], *, simulated: bool, now: datetime | None = None
    ) -> None:
        """Of this kind, only `subjects` still have a cause."""

        def write(connection: Connection) -> None:
            at = now or self._database.now(connection)
            connection.execute(
                alerts.update()
                .where(
                    alerts.c.kind == kind,
                    alerts.c.simulated == simulated,
                    alerts.c.state == "open",
                    alerts.c.subject.not_in(sorted(subjects)),
                )
                .values(state="cleared", cleared_at=at)
            )

        self._database.write(write)

    def open(self, *, simulated: bool) -> list[Alert]:
        """Those that still have a cause, the newest first."""
        return self._find(alerts.c.state == "open", alerts.c.simulated == simulated)

    def all(self, *, simulated: bool, limit: int = 100) -> list[Alert]:
        """The newest first, cleared ones too."""
        return self._find(alerts.c.simulated == simulated)[:limit]

    def unsent(self, now: datetime, *, simulated: bool) -> list[Alert]:
        """Those that the webhook has not taken, and may be tried now; the oldest first."""
        due = sa.or_(alerts.c.next_try_at.is_(None), alerts.c.next_try_at <= now)
        return self._find(alerts.c.sent_at.is_(None), due, alerts.c.simulated == simulated)[::-1]

    def mark_sent(self, alert_id: int, now: datetime) -> None:
        """The webhook has taken it."""
        self._update(alert_id, sent_at=now, tries=alerts.c.tries + 1, error=None)

    def mark_unsent(self, alert_id: int, error: str, next_try_at: datetime) -> None:
        """The webhook has not taken it."""
        self._update(alert_id, tries=alerts.c.tries + 1, error=error, next_try_at=next_try_at)

    def _update(self, alert_id: int, **values: Any) -> None:
        def write(connection: Connection) -> None:
            connection.execute(alerts.update().where(alerts.c.id == alert_id).values(**values))

        self._database.write(write)

    def _find(self, *where: sa.ColumnElement[bool]) -> list[Alert]:
        query = sa.select(alerts).where(*where).order_by(alerts.c.raised_at.desc(), alerts.c.id.desc())
        with self._database.read() as connection:
            return [_alert(row) for row in connection.execute(query).mappings()]


def _alert(row: sa.RowMapping) -> Alert:
    values = dict(row)
    values.pop("state")
    return Alert(**values)
