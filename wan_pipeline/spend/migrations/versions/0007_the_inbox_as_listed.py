"""The inbox as it was last listed, and which yaml names which input. Frozen, as every migration."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"

_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_MOMENT = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    op.add_column("shot_index", sa.Column("modified_at", _MOMENT))
    op.add_column("shot_index", sa.Column("origin", _KEY))
    op.add_column("shot_index", sa.Column("listed_version", sa.Text))
    op.create_index("ix_shot_index_origin", "shot_index", ["origin"])
    op.create_table(
        "inbox_objects",
        sa.Column("key", _KEY, primary_key=True),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("modified_at", _MOMENT, nullable=False),
    )
    op.create_table(
        "named_inputs",
        sa.Column("file", sa.Text, primary_key=True),
        sa.Column("named", sa.Text, primary_key=True),
        sa.Column("composed", sa.Text, nullable=False),
    )
    op.create_index("ix_named_inputs_composed", "named_inputs", ["composed"])
    op.create_table(
        "inbox_listings",
        sa.Column("bucket", sa.Text, primary_key=True),
        sa.Column("made_by", sa.Text),
        sa.Column("fresh_at", _MOMENT),
        sa.Column("listed_at", _MOMENT),
        sa.Column("began_at", _MOMENT),
        sa.Column("reached", sa.Text),
    )
