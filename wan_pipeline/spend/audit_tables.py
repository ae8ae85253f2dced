"""The ledger's tables for whoever audits: the providers' own books as read, explanations, alerts. See tables.py."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Index, Integer, String, Table, event

from wan_pipeline.spend.audit_records import LineKind
from wan_pipeline.spend.tables import FreeText, UtcTime, metadata, money_entries, one_of

statement_lines = Table(
    # The providers' own books, as they were read: one row for each line, and one more for each time that a line was found
    # to say something else. The newest row of a line stands.
    "statement_lines",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("provider", sa.Text, nullable=False),
    Column("simulated", Boolean, nullable=False),
    Column("source", sa.Text, nullable=False),  # which of its books
    Column("line_id", FreeText, nullable=False),  # the provider's own id of the line
    Column("digest", String(64), nullable=False),  # of all it says, and of the row in whose place it stands
    Column("kind", String(16), nullable=False),
    Column("reference", FreeText),  # the provider's id of the job
    Column("amount_nanos", BigInteger, nullable=False),  # positive: what `kind` says was charged, given back, paid in
    Column("at", UtcTime, nullable=False),  # the provider's moment
    Column("model", FreeText),
    Column("detail", FreeText, nullable=False),
    Column("read_at", UtcTime, nullable=False),
    sa.UniqueConstraint("provider", "simulated", "line_id", "digest"),
    CheckConstraint(one_of("kind", list(LineKind)), name="kind"),
    Index("ix_statement_lines_at", "provider", "simulated", "at"),
    Index("ix_statement_lines_reference", "reference"),
    sqlite_autoincrement=True,
)

explanations = Table(
    # What a person has said of a difference between the ledger and a provider's books.
    "explanations",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("finding", String(64), nullable=False),
    Column("provider", sa.Text, nullable=False),
    Column("simulated", Boolean, nullable=False),
    Column("day", String(10), nullable=False),
    Column("what", FreeText, nullable=False),
    Column("reason", FreeText, nullable=False),
    Column("who", FreeText, nullable=False),
    Column("at", UtcTime, nullable=False),
    Index("ix_explanations_finding", "finding"),
    sqlite_autoincrement=True,
)

alerts = Table(
    # What a person was, or is to be, told of: one row for each subject, for good.
    "alerts",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("kind", sa.Text, nullable=False),
    Column("subject", sa.Text, nullable=False),
    Column("simulated", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("message", FreeText, nullable=False),
    Column("raised_at", UtcTime, nullable=False),
    Column("cleared_at", UtcTime),
    Column("sent_at", UtcTime),  # by the webhook; NULL: not yet, or there is none
    Column("tries", Integer, nullable=False, server_default=sa.text("0")),
    Column("next_try_at", UtcTime),
    Column("error", FreeText),
    sa.UniqueConstraint("kind", "subject", "simulated"),
    CheckConstraint(one_of("state", ["open", "cleared"]), name="state"),
)

for _table in (statement_lines, explanations):
    for _verb in ("UPDATE", "DELETE"):
        _refusal = f"""CREATE TRIGGER {_table.name}_no_{_verb.lower()} BEFORE {_verb} ON {_table.name}
BEGIN SELECT RAISE(ABORT, '{_table.name} are appended, never changed'); END"""
        event.listen(_table, "after_create", sa.DDL(_refusal).execute_if(dialect="sqlite"))
    # The function comes with money_entries, on which these two depend by nothing else.
    _refusal = f"""CREATE TRIGGER {_table.name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {_table.name}
FOR EACH STATEMENT EXECUTE FUNCTION money_entries_append_only()"""
    event.listen(_table, "after_create", sa.DDL(_refusal).execute_if(dialect="postgresql"))
    _table.add_is_dependent_on(money_entries)
