"""What reconciliation and alerts need. Frozen, as every migration is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

_Moment = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
_LINE_KINDS = "'charge', 'refund', 'topup', 'other'"
_ALERT_STATES = "'open', 'cleared'"


def upgrade() -> None:
    op.add_column("money_entries", sa.Column("effective_at", _Moment))
    op.create_table(
        "statement_lines",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("line_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("reference", sa.Text()),
        sa.Column("amount_nanos", sa.BigInteger(), nullable=False),
        sa.Column("at", _Moment, nullable=False),
        sa.Column("model", sa.Text()),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("read_at", _Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statement_lines")),
        sa.UniqueConstraint(
            "provider",
            "simulated",
            "line_id",
            "digest",
            name=op.f("uq_statement_lines_provider_simulated_line_id_digest"),
        ),
        sa.CheckConstraint(f"kind IN ({_LINE_KINDS})", name=op.f("ck_statement_lines_kind")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_statement_lines_at", "statement_lines", ["provider", "simulated", "at"])
    op.create_index("ix_statement_lines_reference", "statement_lines", ["reference"])
    op.create_table(
        "explanations",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("finding", sa.String(64), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", _Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_explanations")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_explanations_finding", "explanations", ["finding"])
    op.create_table(
        "alerts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("raised_at", _Moment, nullable=False),
        sa.Column("cleared_at", _Moment),
        sa.Column("sent_at", _Moment),
        sa.Column("tries", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("next_try_at", _Moment),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
        sa.UniqueConstraint("kind", "subject", "simulated", name=op.f("uq_alerts_kind_subject_simulated")),
        sa.CheckConstraint(f"state IN ({_ALERT_STATES})", name=op.f("ck_alerts_state")),
    )
    if op.get_context().dialect.name == "postgresql":
        for table in ("statement_lines", "explanations"):
            op.execute(
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}\n"
                "FOR EACH STATEMENT EXECUTE FUNCTION money_entries_append_only()"
            )
    else:
        for table in ("statement_lines", "explanations"):
            for verb in ("UPDATE", "DELETE"):
                op.execute(
                    f"""CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} are appended, never changed'); END"""
                )
