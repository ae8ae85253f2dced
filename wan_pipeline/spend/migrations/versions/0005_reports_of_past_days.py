"""Indexes for the reports: the refunds of a day, and what has changed since a report was made. Frozen, as every migration."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_REFUNDS = sa.text("kind = 'refund'")


def upgrade() -> None:
    op.create_index("ix_jobs_updated_at", "jobs", ["updated_at"])
    op.create_index("ix_takes_created_at", "takes", ["created_at"])
    op.create_index(
        "ix_money_entries_refunds",
        "money_entries",
        ["effective_at", "at"],
        sqlite_where=_REFUNDS,
        postgresql_where=_REFUNDS,
    )
