"""What is to be done yet of shots, and which are gone, is found without reading all. Frozen, as every migration."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_NOT_AT_REST = sa.text(
    "gone_at IS NULL AND (taken_up_version IS NULL OR taken_up_version <> version"
    " OR finished_version IS NULL OR finished_version <> version)"
)
_GONE = sa.text("gone_at IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        "ix_shot_index_not_at_rest",
        "shot_index",
        ["key"],
        sqlite_where=_NOT_AT_REST,
        postgresql_where=_NOT_AT_REST,
    )
    op.create_index("ix_shot_index_gone_at", "shot_index", ["gone_at"], sqlite_where=_GONE, postgresql_where=_GONE)
