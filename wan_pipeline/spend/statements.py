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
        """Keeps these lines; gives how many are new, or say something else than when they were read last. A line that says
        again what it had said before its last change is a change too. Of lines with the same id the last one counts."""
        wanted = list({(line.provider, line.simulated, line.line_id): line for line in lines}.values())
        insert = (postgresql.insert if self._database.is_postgres else sqlite.insert)(statement_lines)

        def write(connection: Connection) -> int:
            read_at = now or self._database.now(connection)
            added = 0
            for start in range(0, len(wanted), _AT_ONCE):
                some = wanted[start : start + _AT_ONCE]
                known = _newest(connection, some)
                rows = [
                    _row(line, known.get((line.provider, line.simulated, line.line_id))) | {"read_at": read_at}
                    for line in some
                ]
                new = [row for row in rows if row["digest"]]
                if new:
                    done = connection.execute(insert.on_conflict_do_nothing().returning(statement_lines.c.id), new)
                    added += len(done.all())
            return added

        return self._database.write(write) if wanted else 0

    def lines(
        self, provider: str | None, since: datetime | None = None, until: datetime | None = None, *, simulated: bool
    ) -> list[StatementLine]:
        """As last read, in the order of their moments: those at or after `since` and before `until`."""
        query = sa.select(statement_lines).where(statement_lines.c.simulated == simulated, newest())
        if provider is not None:
            query = query.where(statement_lines.c.provider == provider)
        if since is not None:
            query = query.where(statement_lines.c.at >= since)
        if until is not None:
            query = query.where(statement_lines.c.at < until)
        query = query.order_by(statement_lines.c.at, statement_lines.c.id)
        with self._database.read() as connection:
            return [to_line(row) for row in connection.execute(query).mappings()]

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
                        newest(),
                    )
                    .order_by(statement_lines.c.id)
                )
                found += [to_line(row) for row in connection.execute(query).mappings()]
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

    def explained(self, provider: str, first: date, last: date, *, simulated: bool) -> list[Explanation]:
        """What was said of this provider's findings of the days from `first` to `last`, in the order in which it was."""
        query = (
            sa.select(explanations)
            .where(
                explanations.c.provider == provider,
                explanations.c.simulated == simulated,
                explanations.c.day.between(first.isoformat(), last.isoformat()),
            )
            .order_by(explanations.c.id)
        )
        with self._database.read() as connection:
            return [_explanation(row) for row in connection.execute(query).mappings()]


def newest() -> sa.ColumnElement[bool]:
    """Of a line's rows in `statement_lines` the one that stands."""
    later = statement_lines.alias("later")
    return ~sa.exists().where(
        later.c.provider == statement_lines.c.provider,
        later.c.simulated == statement_lines.c.simulated,
        later.c.line_id == statement_lines.c.line_id,
        later.c.id > statement_lines.c.id,
    )


def _newest(
    connection: Connection, lines: Sequence[StatementLine]
) -> dict[tuple[str, bool, str], tuple[int, StatementLine]]:
    """What is kept of these lines, with the row's number."""
    query = sa.select(statement_lines).where(
        statement_lines.c.provider.in_({line.provider for line in lines}),
        statement_lines.c.line_id.in_({line.line_id for line in lines}),
        newest(),
    )
    kept = [(int(row["id"]), to_line(row)) for row in connection.execute(query).mappings()]
    return {(line.provider, line.simulated, line.line_id): (number, line) for number, line in kept}


def _row(line: StatementLine, kept: tuple[int, StatementLine] | None) -> dict[str, Any]:
    """The line as a row; its digest is empty where what is kept says the same. What it had said before and says again is
    told from that by the row that stood in between."""
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
    if kept is not None and kept[1] == line:
        return said | {"digest": ""}
    text = json.dumps(said | {"at": line.at.isoformat(), "instead_of": kept and kept[0]}, sort_keys=True)
    return said | {"digest": hashlib.sha256(text.encode()).hexdigest()}


def to_line(row: sa.RowMapping) -> StatementLine:
    """A row of `statement_lines` as a value."""
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
