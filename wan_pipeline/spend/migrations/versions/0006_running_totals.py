"""The running totals that budgets are held against, kept by triggers, and the indexes that they take the place of. Frozen, as
every migration.

The triggers come before the sums: from then on nobody else changes a job until this transaction ends.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_NOT_FOLDED = sa.text("NOT folded")

_SQLITE = (
    """CREATE TRIGGER jobs_counted_insert AFTER INSERT ON jobs WHEN NEW.held_nanos <> 0 OR coalesce(NEW.billed_nanos, 0) <> 0
BEGIN INSERT INTO budget_totals (day, simulated, provider, campaign, held_nanos, billed_nanos, folded) SELECT substr(NEW.claimed_at, 1, 10), NEW.simulated, NEW.provider, NEW.campaign, NEW.held_nanos, coalesce(NEW.billed_nanos, 0), 0 WHERE true; END""",
    """CREATE TRIGGER jobs_counted_delete AFTER DELETE ON jobs WHEN OLD.held_nanos <> 0 OR coalesce(OLD.billed_nanos, 0) <> 0
BEGIN INSERT INTO budget_totals (day, simulated, provider, campaign, held_nanos, billed_nanos, folded) SELECT substr(OLD.claimed_at, 1, 10), OLD.simulated, OLD.provider, OLD.campaign, -OLD.held_nanos, -coalesce(OLD.billed_nanos, 0), 0 WHERE true; END""",
    """CREATE TRIGGER jobs_counted_money AFTER UPDATE OF claimed_at, simulated, provider, campaign, held_nanos, billed_nanos ON jobs
WHEN substr(OLD.claimed_at, 1, 10) = substr(NEW.claimed_at, 1, 10) AND NOT (OLD.simulated IS NOT NEW.simulated OR OLD.provider IS NOT NEW.provider OR OLD.campaign IS NOT NEW.campaign) AND (OLD.held_nanos IS NOT NEW.held_nanos OR OLD.billed_nanos IS NOT NEW.billed_nanos)
BEGIN INSERT INTO budget_totals (day, simulated, provider, campaign, held_nanos, billed_nanos, folded) SELECT substr(NEW.claimed_at, 1, 10), NEW.simulated, NEW.provider, NEW.campaign, NEW.held_nanos - OLD.held_nanos, coalesce(NEW.billed_nanos, 0) - coalesce(OLD.billed_nanos, 0), 0; END""",
    """CREATE TRIGGER jobs_counted_key AFTER UPDATE OF claimed_at, simulated, provider, campaign ON jobs
WHEN NOT (substr(OLD.claimed_at, 1, 10) = substr(NEW.claimed_at, 1, 10) AND NOT (OLD.simulated IS NOT NEW.simulated OR OLD.provider IS NOT NEW.provider OR OLD.campaign IS NOT NEW.campaign))
BEGIN INSERT INTO budget_totals (day, simulated, provider, campaign, held_nanos, billed_nanos, folded) SELECT substr(OLD.claimed_at, 1, 10), OLD.simulated, OLD.provider, OLD.campaign, -OLD.held_nanos, -coalesce(OLD.billed_nanos, 0), 0 WHERE OLD.held_nanos <> 0 OR coalesce(OLD.billed_nanos, 0) <> 0; INSERT INTO budget_totals (day, simulated, provider, campaign, held_nanos, billed_nanos, folded) SELECT substr(NEW.claimed_at, 1, 10), NEW.simulated, NEW.provider, NEW.campaign, NEW.held_nanos, coalesce(NEW.billed_nanos, 0), 0 WHERE NEW.held_nanos <> 0 OR coalesce(NEW.billed_nanos, 0) <> 0; END""",
)

_POSTGRES = (
    """CREATE OR REPLACE FUNCTION wan_ledger.jobs_counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NOT (CAST(OLD.claimed_at AT TIME ZONE 'UTC' AS date) <> CAST(NEW.claimed_at AT TIME ZONE 'UTC' AS date) OR OLD.simulated IS DISTINCT FROM NEW.simulated OR OLD.provider IS DISTINCT FROM NEW.provider OR OLD.campaign IS DISTINCT FROM NEW.campaign) THEN
            INSERT INTO wan_ledger.budget_totals (day, simulated, provider, campaign, held_nanos, billed_nanos, folded) VALUES (CAST(NEW.claimed_at AT TIME ZONE 'UTC' AS date), NEW.simulated, NEW.provider, NEW.campaign,
                NEW.held_nanos - OLD.held_nanos, coalesce(NEW.billed_nanos, 0) - coalesce(OLD.billed_nanos, 0), false);
            RETURN NULL;
        END IF;
    END IF;
    IF TG_OP <> 'INSERT' AND (OLD.held_nanos <> 0 OR coalesce(OLD.billed_nanos, 0) <> 0) THEN
        INSERT INTO wan_ledger.budget_totals (day, simulated, provider, campaign, held_nanos, billed_nanos, folded) VALUES (CAST(OLD.claimed_at AT TIME ZONE 'UTC' AS date), OLD.simulated, OLD.provider, OLD.campaign, -OLD.held_nanos, -coalesce(OLD.billed_nanos, 0), false);
    END IF;
    IF TG_OP <> 'DELETE' AND (NEW.held_nanos <> 0 OR coalesce(NEW.billed_nanos, 0) <> 0) THEN
        INSERT INTO wan_ledger.budget_totals (day, simulated, provider, campaign, held_nanos, billed_nanos, folded) VALUES (CAST(NEW.claimed_at AT TIME ZONE 'UTC' AS date), NEW.simulated, NEW.provider, NEW.campaign, NEW.held_nanos, coalesce(NEW.billed_nanos, 0), false);
    END IF;
    RETURN NULL;
END $$""",
    """CREATE TRIGGER jobs_counted AFTER INSERT OR DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION wan_ledger.jobs_counted()""",
    """CREATE TRIGGER jobs_counted_update AFTER UPDATE OF claimed_at, simulated, provider, campaign, held_nanos, billed_nanos ON jobs FOR EACH ROW WHEN (OLD.claimed_at IS DISTINCT FROM NEW.claimed_at OR OLD.simulated IS DISTINCT FROM NEW.simulated OR OLD.provider IS DISTINCT FROM NEW.provider OR OLD.campaign IS DISTINCT FROM NEW.campaign OR OLD.held_nanos IS DISTINCT FROM NEW.held_nanos OR OLD.billed_nanos IS DISTINCT FROM NEW.billed_nanos) EXECUTE FUNCTION wan_ledger.jobs_counted()""",
)

_SUMS = """INSERT INTO budget_totals (day, simulated, provider, campaign, held_nanos, billed_nanos, folded)
SELECT {day}, simulated, provider, campaign, sum(held_nanos), sum(coalesce(billed_nanos, 0)), {true}
FROM jobs GROUP BY {day}, simulated, provider, campaign"""


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    op.create_table(
        "budget_totals",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("campaign", sa.Text()),
        sa.Column("held_nanos", sa.BigInteger(), nullable=False),
        sa.Column("billed_nanos", sa.BigInteger(), nullable=False),
        sa.Column("folded", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_totals")),
    )
    for statement in _SQLITE if sqlite else _POSTGRES:
        op.get_bind().exec_driver_sql(statement)
    day = "substr(claimed_at, 1, 10)" if sqlite else "CAST(claimed_at AT TIME ZONE 'UTC' AS date)"
    op.get_bind().exec_driver_sql(_SUMS.format(day=day, true="1" if sqlite else "true"))
    op.create_index("ix_budget_totals_day", "budget_totals", ["day", "simulated"])
    op.create_index("ix_budget_totals_campaign", "budget_totals", ["campaign", "simulated"])
    op.create_index(
        "ix_budget_totals_not_folded",
        "budget_totals",
        ["id"],
        sqlite_where=_NOT_FOLDED,
        postgresql_where=_NOT_FOLDED,
    )
    op.drop_index("ix_jobs_campaign", "jobs")
    op.drop_index("ix_jobs_provider", "jobs")
    op.create_index("ix_jobs_provider", "jobs", ["provider", "simulated", "claimed_at"])
    op.drop_index("ix_jobs_state", "jobs")
    op.create_index("ix_jobs_state", "jobs", ["state", "claimed_at", "provider", "simulated", "fetches", "owner"])
