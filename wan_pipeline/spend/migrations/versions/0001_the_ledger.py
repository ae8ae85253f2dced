"""The ledger's first tables. Frozen: what is written here is what databases out there have; a change is a new file."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

_Moment = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")

_STATES = (
    "'reserved', 'submitting', 'submitted', 'generated', 'stored', 'lost', 'failed', 'rejected', 'ambiguous',"
    " 'released', 'written_off'"
)
_BASES = "'quoted', 'reported', 'invoiced'"
_KINDS = "'hold', 'release', 'charge', 'refund', 'adjustment'"


def upgrade() -> None:
    op.create_table(
        "owners",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("host_id", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("process_started", sa.Text(), nullable=False),
        sa.Column("registered_at", _Moment, nullable=False),
        sa.Column("heartbeat_at", _Moment, nullable=False),
        sa.Column("released_at", _Moment),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_owners")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("shot", sa.Text(), nullable=False),
        sa.Column("take", sa.Integer(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("repeat", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("own_digest", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.Column("duration_s", sa.Integer(), nullable=False),
        sa.Column("resolution", sa.Text(), nullable=False),
        sa.Column("has_audio", sa.Boolean(), nullable=True),
        sa.Column("campaign", sa.Text()),
        sa.Column("quoted_low_nanos", sa.BigInteger(), nullable=False),
        sa.Column("quoted_high_nanos", sa.BigInteger(), nullable=False),
        sa.Column("held_nanos", sa.BigInteger(), nullable=False),
        sa.Column("billed_nanos", sa.BigInteger()),
        sa.Column("basis", sa.String(16)),
        sa.Column("provider_job_id", sa.Text()),
        sa.Column("attempt_id", sa.String(32)),
        sa.Column("owner", sa.String(32)),
        sa.Column("retryable", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("result_url", sa.Text()),
        sa.Column("video_uri", sa.Text()),
        sa.Column("video_key", sa.Text()),
        sa.Column("video_sha256", sa.String(64)),
        sa.Column("video_bytes", sa.BigInteger()),
        sa.Column("video_duration_s", sa.Float(53)),
        sa.Column("poster_uri", sa.Text()),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("run_id", sa.Text()),
        sa.Column("claimed_at", _Moment, nullable=False),
        sa.Column("submitted_at", _Moment),
        sa.Column("generated_at", _Moment),
        sa.Column("stored_at", _Moment),
        sa.Column("updated_at", _Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_jobs_fingerprint")),
        sa.UniqueConstraint("request_hash", "repeat", name=op.f("uq_jobs_request_hash_repeat")),
        sa.ForeignKeyConstraint(["owner"], ["owners.id"], name=op.f("fk_jobs_owner")),
        sa.CheckConstraint(f"state IN ({_STATES})", name=op.f("ck_jobs_state")),
        sa.CheckConstraint(f"basis IS NULL OR basis IN ({_BASES})", name=op.f("ck_jobs_basis")),
        sa.CheckConstraint("held_nanos >= 0", name=op.f("ck_jobs_held")),
        sa.CheckConstraint("quoted_low_nanos >= 0 AND quoted_low_nanos <= quoted_high_nanos", name=op.f("ck_jobs_quoted")),
        sa.CheckConstraint("repeat >= 1 AND take >= 1", name=op.f("ck_jobs_counted_from_one")),
    )
    op.create_index("ix_jobs_claimed_at", "jobs", ["claimed_at", "simulated", "held_nanos", "billed_nanos"])
    op.create_index("ix_jobs_state", "jobs", ["state", "claimed_at"])
    op.create_index("ix_jobs_shot", "jobs", ["shot", "claimed_at"])
    op.create_index("ix_jobs_submitted_at", "jobs", ["submitted_at"])
    op.create_index("ix_jobs_provider_job_id", "jobs", ["provider_job_id"])
    op.create_table(
        "attempts",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(32), nullable=False),
        sa.Column("began_at", _Moment, nullable=False),
        sa.Column("ended_at", _Moment),
        sa.Column("outcome", sa.String(16)),
        sa.Column("detail", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("job_id", "n", name=op.f("uq_attempts_job_id_n")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_attempts_job_id")),
        sa.ForeignKeyConstraint(["owner"], ["owners.id"], name=op.f("fk_attempts_owner")),
        sa.CheckConstraint(
            "outcome IS NULL OR outcome IN ('accepted', 'refused', 'not_sent', 'rejected', 'ambiguous')",
            name=op.f("ck_attempts_outcome"),
        ),
    )
    op.create_table(
        "takes",
        sa.Column("shot", sa.Text(), nullable=False),
        sa.Column("take", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("own_digest", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("reused", sa.Boolean(), nullable=False),
        sa.Column("video_uri", sa.Text()),
        sa.Column("created_at", _Moment, nullable=False),
        sa.PrimaryKeyConstraint("shot", "take", name=op.f("pk_takes")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_takes_job_id")),
    )
    op.create_index("ix_takes_job_id", "takes", ["job_id"])
    op.create_table(
        "money_entries",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("amount_nanos", sa.BigInteger(), nullable=False),
        sa.Column("basis", sa.String(16)),
        sa.Column("at", _Moment, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_money_entries")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_money_entries_job_id")),
        sa.CheckConstraint(f"kind IN ({_KINDS})", name=op.f("ck_money_entries_kind")),
        sa.CheckConstraint(f"basis IS NULL OR basis IN ({_BASES})", name=op.f("ck_money_entries_basis")),
        sa.CheckConstraint("amount_nanos >= 0 OR kind = 'adjustment'", name=op.f("ck_money_entries_amount")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_money_entries_job_id", "money_entries", ["job_id"])
    op.create_index("ix_money_entries_at", "money_entries", ["at"])
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            """CREATE FUNCTION money_entries_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'money entries are appended, never changed'; END $$"""
        )
        op.execute(
            """CREATE TRIGGER money_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON money_entries
FOR EACH STATEMENT EXECUTE FUNCTION money_entries_append_only()"""
        )
    else:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"""CREATE TRIGGER money_entries_no_{verb.lower()} BEFORE {verb} ON money_entries
BEGIN SELECT RAISE(ABORT, 'money entries are appended, never changed'); END"""
            )
    op.create_table(
        "shot_index",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("taken_up_version", sa.Text()),
        sa.Column("ready", sa.Boolean(), nullable=False),
        sa.Column("problem", sa.Text()),
        sa.Column("not_before", _Moment),
        sa.Column("campaign", sa.Text()),
        sa.Column("model", sa.Text()),
        sa.Column("first_seen_at", _Moment, nullable=False),
        sa.Column("version_seen_at", _Moment, nullable=False),
        sa.Column("gone_at", _Moment),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_shot_index")),
    )
