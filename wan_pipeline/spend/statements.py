"""The providers' own books, kept as they were read (they forget), and what people have said of differences.

Both are appended to and never changed. What does not belong here: reading a provider's books, comparing them with the
ledger's (the reconciliation).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from wan_pipeline.money import Money
from wan_pipeline.spend.audit_records import Explanation, LineKind, StatementLine
from wan_pipeline.spend.audit_tables import explanations, statement_lines
from wan_pipeline.spend.database import Database

_AT_ONCE = 500


class Statements:
    """Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, lines: Iterable[StatementLine], now: datetime | None = None) -> int:
        """Keeps these lines; gives how many are new, or say something else than when they were read before."""
        rows = [_row(line) for line in lines]
        insert = (postgresql.insert if self._database.is_postgres else sqlite.insert)(statement_lines)

        def write(connection: Connection) -> int:
            read_at = now or self._database.now(connection)
            before = _count(connection)
            for start in range(0, len(rows), _AT_ONCE):
                some = [row | {"read_at": read_at} for row in rows[start : start + _AT_ONCE]]
                connection.execute(insert.on_conflict_do_nothing(), some)
            return _count(connection) - before

        return self._database.write(write) if rows else 0

    def lines(
        self, provider: str | None, since: datetime | None = None, until: datetime | None = None, *, simulated: bool
    ) -> list[StatementLine]:
        """As last read, in the order of their moments: those at or after `since` and before `until`."""
        newest = (
            sa.select(sa.func.max(statement_lines.c.id))
            .where(statement_lines.c.simulated == simulated)
            .group_by(statement_lines.c.provider, statement_lines.c.line_id)
        )
        query = sa.select(statement_lines).where(statement_lines.c.simulated == simulated)
        if provider is not None:
            query = query.where(statement_lines.c.provider == provider)
            newest = newest.where(statement_lines.c.provider == provider)
        if since is not None:
            query = query.where(statement_lines.c.at >= since)
        if until is not None:
            query = query.where(statement_lines.c.at < until)
        query = query.where(statement_lines.c.id.in_(newest)).order_by(statement_lines.c.at, statement_lines.c.id)
        with self._database.read() as connection:
            return [_line(row) for row in connection.execute(query).mappings()]

    def of_jobs(self, provider: str, references: Collection[str], *, simulated: bool) -> list[StatementLine]:
        """All lines that name one of these jobs by the provider's id, as last read."""
        keys, found = sorted(set(references)), list[StatementLine]()
        with self._database.read() as connection:
            for start in range(0, len(keys), _AT_ONCE):
                query = (
                    sa.select(statement_lines)
                    .where(
                        statement_lines.c.provider == provider,
                        statement_lines.c.simulated == simulated,
                        statement_lines.c.reference.in_(keys[start : start + _AT_ONCE]),
                    )
                    .order_by(statement_lines.c.id)
                )
                newest = {row["line_id"]: _line(row) for row in connection.execute(query).mappings()}
                found += newest.values()
        return sorted(found, key=lambda line: (line.at, line.line_id))

    def explain(self, items: Sequence[Explanation]) -> None:
        """Keeps what a person has said."""
        rows: list[dict[str, Any]] = [
            {
                "finding": item.finding,
                "provider": item.provider,
                "simulated": item.simulated,
                "day": item.day.isoformat(),
                "what": item.what,
                "reason": item.reason,
                "who": item.who,
                "at": item.at,
            }
            for item in items
        ]

        def write(connection: Connection) -> None:
            connection.execute(explanations.insert(), rows)

        if rows:
            self._database.write(write)

    def explanations(self, findings: Collection[str]) -> dict[str, Explanation]:
        """By finding: the last thing that was said of each."""
        keys, said = sorted(set(findings)), dict[str, Explanation]()
        with self._database.read() as connection:
            for start in range(0, len(keys), _AT_ONCE):
                query = (
                    sa.select(explanations)
                    .where(explanations.c.finding.in_(keys[start : start + _AT_ONCE]))
                    .order_by(explanations.c.id)
                )
                said |= {row["finding"]: _explanation(row) for row in connection.execute(query).mappings()}
        return said


def _count(connection: Connection) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(statement_lines)).scalar() or 0)


def _row(line: StatementLine) -> dict[str, Any]:
    said = {
        "provider": line.provider,
        "simulated": line.simulated,
        "source": line.source,
        "line_id": line.line_id,
        "kind": line.kind.value,
        "reference": line.reference,
        "amount_nanos": line.amount.nanos,
        "at": line.at,
        "model": line.model,
        "detail": line.detail,
    }
    text = json.dumps(said | {"at": line.at.isoformat()}, sort_keys=True)
    return said | {"digest": hashlib.sha256(text.encode()).hexdigest()}


def _line(row: sa.RowMapping) -> StatementLine:
    return StatementLine(
        row["provider"],
        row["simulated"],
        row["source"],
        row["line_id"],
        LineKind(row["kind"]),
        row["reference"],
        Money(int(row["amount_nanos"])),
        row["at"],
        row["model"],
        row["detail"],
    )


def _explanation(row: sa.RowMapping) -> Explanation:
    return Explanation(
        row["finding"],
        row["provider"],
        row["simulated"],
        date.fromisoformat(row["day"]),
        row["what"],
        row["reason"],
        row["who"],
        row["at"],
    )
