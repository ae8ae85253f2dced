"""What finding out, limits across processes, deferrals and recovery need. Frozen, as every migration is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

_Moment = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    for column in (
        sa.Column("sent_at", _Moment),
        sa.Column("doubted_at", _Moment),
        sa.Column("looks", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("next_look_at", _Moment),
        sa.Column("result_expires_at", _Moment),
        sa.Column("fetches", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("next_fetch_at", _Moment),
        sa.Column("kept_key", sa.Text()),
        sa.Column("duplicate_allowed_nanos", sa.BigInteger()),
    ):
        op.add_column("jobs", column)
    op.add_column("attempts", sa.Column("account", sa.String(12)))
    # Each attempt's row has told since 0001 when it began, and when it was given up for ambiguous.
    op.execute("UPDATE jobs SET sent_at = (SELECT began_at FROM attempts WHERE attempts.id = jobs.attempt_id)")
    op.execute(
        "UPDATE jobs SET doubted_at = coalesce((SELECT max(ended_at) FROM attempts WHERE attempts.job_id = jobs.id"
        " AND attempts.outcome = 'ambiguous'), updated_at) WHERE state IN ('ambiguous', 'released', 'written_off')"
    )
    op.execute("UPDATE jobs SET next_look_at = updated_at WHERE state = 'ambiguous'")  # due
    op.create_index("ix_jobs_campaign", "jobs", ["campaign", "simulated", "held_nanos", "billed_nanos"])
    op.create_index("ix_jobs_provider", "jobs", ["provider", "simulated", "claimed_at", "held_nanos", "billed_nanos"])
    op.create_index("ix_attempts_began_at", "attempts", ["began_at", "job_id"])
    op.create_table(
        "looks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("witness", sa.Text(), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("at", _Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_looks")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_looks_job_id")),
    )
    op.create_index("ix_looks_job_id", "looks", ["job_id"])
    op.create_table(
        "callbacks",
        sa.Column("attempt_id", sa.String(32), nullable=False),
        sa.Column("provider_job_id", sa.String(500), nullable=False),
        sa.Column("at", _Moment, nullable=False),
        sa.PrimaryKeyConstraint("attempt_id", "provider_job_id", name=op.f("pk_callbacks")),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_callbacks_attempt_id")),
    )
    op.create_table(
        "deferrals",
        sa.Column("shot", sa.Text(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("limit_name", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("needed_nanos", sa.BigInteger(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("campaign", sa.Text()),
        sa.Column("since", _Moment, nullable=False),
        sa.Column("until", _Moment),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("decided", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("shot", "simulated", name=op.f("pk_deferrals")),
    )
    for column in (
        sa.Column("finished_version", sa.Text()),
        sa.Column("taken_up_at", _Moment),
        sa.Column("times_taken_up", sa.Integer(), nullable=False, server_default=sa.text("0")),
    ):
        op.add_column("shot_index", column)
    op.execute("UPDATE shot_index SET finished_version = taken_up_version")
