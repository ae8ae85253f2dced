"""Shots that are to be made later, by themselves: since when each waits, for what, and until when at least.

It lives in the ledger's database; losing it costs nothing but that somebody has to ask for those shots. What does not
belong here: when there is room (budget.py), and whose turn it is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from wan_pipeline.money import Money
from wan_pipeline.spend.database import Database
from wan_pipeline.spend.records import Deferral
from wan_pipeline.spend.tables import deferrals

_AT_ONCE = 500


class Deferrals:
    """The table of that; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, *, simulated: bool) -> list[Deferral]:
        """Whoever has waited longest comes first."""
        query = (
            sa.select(deferrals).where(deferrals.c.simulated == simulated).order_by(deferrals.c.since, deferrals.c.shot)
        )
        with self._database.read() as connection:
            return [_to_deferral(row) for row in connection.execute(query).mappings()]

    def defer(self, items: Sequence[Deferral]) -> None:
        """Puts these shots off. One that was put off before keeps its `since`, and its place in the queue, and is counted
        once more, whatever `times` says; everything else is as said last."""
        rows: list[dict[str, Any]] = [
            {
                "shot": item.shot,
                "simulated": item.simulated,
                "limit_name": item.limit,
                "reason": item.reason,
                "needed_nanos": item.needed.nanos,
                "provider": item.provider,
                "campaign": item.campaign,
                "since": item.since,
                "until": item.until,
                "times": max(1, item.times),
                "decided": item.decided,
            }
            for item in sorted(items, key=lambda item: item.shot)
        ]
        insert = (postgresql.insert if self._database.is_postgres else sqlite.insert)(deferrals)
        new = insert.excluded
        told = ("limit_name", "reason", "needed_nanos", "provider", "campaign", "until", "decided")
        upsert = insert.on_conflict_do_update(
            index_elements=[deferrals.c.shot, deferrals.c.simulated],
            set_={"times": deferrals.c.times + 1, **{name: new[name] for name in told}},
        )

        def write(connection: Connection) -> None:
            connection.execute(upsert, rows)

        if rows:
            self._database.write(write)

    def forget(self, shots: Collection[str], *, simulated: bool) -> None:
        """These wait no more: they have come to an end, or are gone."""
        keys = sorted(set(shots))

        def write(connection: Connection) -> None:
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                connection.execute(
                    deferrals.delete().where(deferrals.c.shot.in_(some), deferrals.c.simulated == simulated)
                )

        if keys:
            self._database.write(write)


def _to_deferral(row: sa.RowMapping) -> Deferral:
    values: dict[str, Any] = dict(row)
    needed, limit = Money(int(values.pop("needed_nanos"))), values.pop("limit_name")
    return Deferral(limit=limit, needed=needed, **values)
