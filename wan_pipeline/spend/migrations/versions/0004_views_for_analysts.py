"""The views for analysts, as they were then. Frozen, as every migration is."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

_SQLITE = (
    """CREATE VIEW charge_lines AS
SELECT id AS entry_id, job_id, shot, take, provider, model, resolution, sound, campaign, simulated, kind,
    substr(moment, 1, 10) AS day, substr(moment, 1, 7) AS month, moment,
    amount_nanos, CASE WHEN amount_nanos IS NOT NULL THEN printf('%s%d.%09d', CASE WHEN amount_nanos < 0 THEN '-' ELSE '' END, abs(amount_nanos) / 1000000000, abs(amount_nanos) % 1000000000) END AS amount_usd, basis, duration_s, provider_job_id, note, written_at
FROM (
    SELECT e.id, e.job_id, j.shot, j.take, j.provider, j.model, j.resolution, CASE WHEN j.has_audio IS NULL THEN 'not said' WHEN j.has_audio THEN 'sound' ELSE 'silent' END AS sound, j.campaign,
        j.simulated, e.kind,
        CASE WHEN e.kind = 'refund' THEN coalesce(e.effective_at, e.at)
            ELSE coalesce(j.submitted_at, j.claimed_at) END AS moment,
        CASE WHEN e.kind = 'refund' THEN -e.amount_nanos ELSE e.amount_nanos END AS amount_nanos,
        e.basis, j.duration_s, j.provider_job_id, e.note, e.at AS written_at
    FROM money_entries e JOIN jobs j ON j.id = e.job_id
    WHERE e.kind IN ('charge', 'adjustment', 'refund')
) lines""",
    """CREATE VIEW job_costs AS
SELECT job_id, shot, take, repeat, provider, model, resolution, sound, campaign, simulated, state,
    substr(coalesce(submitted_at, claimed_at), 1, 10) AS day, substr(coalesce(submitted_at, claimed_at), 1, 7) AS month, claimed_at, submitted_at, generated_at, stored_at,
    duration_s, CASE WHEN state = 'stored' THEN duration_s ELSE 0 END AS stored_s,
    quoted_low_nanos, quoted_high_nanos, CASE WHEN quoted_low_nanos IS NOT NULL THEN printf('%s%d.%09d', CASE WHEN quoted_low_nanos < 0 THEN '-' ELSE '' END, abs(quoted_low_nanos) / 1000000000, abs(quoted_low_nanos) % 1000000000) END AS quoted_low_usd, CASE WHEN quoted_high_nanos IS NOT NULL THEN printf('%s%d.%09d', CASE WHEN quoted_high_nanos < 0 THEN '-' ELSE '' END, abs(quoted_high_nanos) / 1000000000, abs(quoted_high_nanos) % 1000000000) END AS quoted_high_usd,
    held_nanos, CASE WHEN held_nanos IS NOT NULL THEN printf('%s%d.%09d', CASE WHEN held_nanos < 0 THEN '-' ELSE '' END, abs(held_nanos) / 1000000000, abs(held_nanos) % 1000000000) END AS held_usd,
    CASE WHEN state = 'ambiguous' THEN held_nanos ELSE 0 END AS unknown_nanos,
    billed_nanos, CASE WHEN billed_nanos IS NOT NULL THEN printf('%s%d.%09d', CASE WHEN billed_nanos < 0 THEN '-' ELSE '' END, abs(billed_nanos) / 1000000000, abs(billed_nanos) % 1000000000) END AS billed_usd, basis,
    charged_nanos, refunded_nanos,
    wasted_kind, CASE WHEN wasted_kind IS NULL THEN 0 ELSE billed_nanos END AS wasted_nanos,
    request_hash, provider_job_id, attempt_id, video_uri, error
FROM (
    SELECT j.id AS job_id, j.shot, j.take, j.repeat, j.provider, j.model, j.resolution, CASE WHEN j.has_audio IS NULL THEN 'not said' WHEN j.has_audio THEN 'sound' ELSE 'silent' END AS sound,
        j.campaign, j.simulated, j.state, j.claimed_at, j.submitted_at, j.generated_at, j.stored_at, j.duration_s,
        j.quoted_low_nanos, j.quoted_high_nanos, j.held_nanos, j.billed_nanos, j.basis, j.request_hash,
        j.provider_job_id, j.attempt_id, j.video_uri, j.error,
        (SELECT coalesce(sum(c.amount_nanos), 0) FROM money_entries c
            WHERE c.job_id = j.id AND c.kind IN ('charge', 'adjustment')) AS charged_nanos,
        (SELECT coalesce(sum(r.amount_nanos), 0) FROM money_entries r
            WHERE r.job_id = j.id AND r.kind = 'refund') AS refunded_nanos,
        CASE
            WHEN coalesce(j.billed_nanos, 0) = 0 THEN NULL
            WHEN j.state = 'failed' THEN 'failed'
            WHEN j.state IN ('lost', 'written_off') THEN 'lost'
            WHEN j.duplicate_allowed_nanos IS NOT NULL AND EXISTS (
                SELECT 1 FROM jobs again WHERE again.request_hash = j.request_hash AND again.repeat > j.repeat
                    AND again.billed_nanos > 0) THEN 'duplicate'
            WHEN j.state = 'stored' AND NOT EXISTS (
                SELECT 1 FROM takes t WHERE t.job_id = j.id AND NOT EXISTS (
                    SELECT 1 FROM takes newer JOIN jobs maker ON maker.id = newer.job_id
                    WHERE newer.shot = t.shot AND newer.take > t.take AND newer.video_uri IS NOT NULL
                        AND maker.simulated = j.simulated)) THEN 'unused'
        END AS wasted_kind
    FROM jobs j
) costs""",
    """CREATE VIEW daily_costs AS
SELECT day, month, provider, model, resolution, sound, campaign, simulated, jobs, stored, failed, ambiguous, in_flight, stored_s, quoted_low_nanos, quoted_high_nanos, held_nanos, unknown_nanos, wasted_nanos, wasted_failed_nanos, wasted_lost_nanos, wasted_duplicate_nanos, wasted_unused_nanos, charged_nanos, refunded_nanos, billed_nanos, CASE WHEN billed_nanos IS NOT NULL THEN printf('%s%d.%09d', CASE WHEN billed_nanos < 0 THEN '-' ELSE '' END, abs(billed_nanos) / 1000000000, abs(billed_nanos) % 1000000000) END AS billed_usd, CASE WHEN charged_nanos IS NOT NULL THEN printf('%s%d.%09d', CASE WHEN charged_nanos < 0 THEN '-' ELSE '' END, abs(charged_nanos) / 1000000000, abs(charged_nanos) % 1000000000) END AS charged_usd, CASE WHEN refunded_nanos IS NOT NULL THEN printf('%s%d.%09d', CASE WHEN refunded_nanos < 0 THEN '-' ELSE '' END, abs(refunded_nanos) / 1000000000, abs(refunded_nanos) % 1000000000) END AS refunded_usd, CASE WHEN wasted_nanos IS NOT NULL THEN printf('%s%d.%09d', CASE WHEN wasted_nanos < 0 THEN '-' ELSE '' END, abs(wasted_nanos) / 1000000000, abs(wasted_nanos) % 1000000000) END AS wasted_usd, CASE WHEN unknown_nanos IS NOT NULL THEN printf('%s%d.%09d', CASE WHEN unknown_nanos < 0 THEN '-' ELSE '' END, abs(unknown_nanos) / 1000000000, abs(unknown_nanos) % 1000000000) END AS unknown_usd
FROM (
    SELECT day, month, provider, model, resolution, sound, campaign, simulated, coalesce(sum(jobs), 0) AS jobs, coalesce(sum(stored), 0) AS stored, coalesce(sum(failed), 0) AS failed, coalesce(sum(ambiguous), 0) AS ambiguous, coalesce(sum(in_flight), 0) AS in_flight, coalesce(sum(stored_s), 0) AS stored_s, coalesce(sum(quoted_low_nanos), 0) AS quoted_low_nanos, coalesce(sum(quoted_high_nanos), 0) AS quoted_high_nanos, coalesce(sum(held_nanos), 0) AS held_nanos, coalesce(sum(unknown_nanos), 0) AS unknown_nanos, coalesce(sum(CASE WHEN wasted_kind IS NULL THEN 0 ELSE of_row END), 0) AS wasted_nanos, coalesce(sum(CASE WHEN wasted_kind = 'failed' THEN of_row ELSE 0 END), 0) AS wasted_failed_nanos, coalesce(sum(CASE WHEN wasted_kind = 'lost' THEN of_row ELSE 0 END), 0) AS wasted_lost_nanos, coalesce(sum(CASE WHEN wasted_kind = 'duplicate' THEN of_row ELSE 0 END), 0) AS wasted_duplicate_nanos, coalesce(sum(CASE WHEN wasted_kind = 'unused' THEN of_row ELSE 0 END), 0) AS wasted_unused_nanos, coalesce(sum(of_row + given_back), 0) AS charged_nanos, coalesce(sum(refunded_nanos), 0) AS refunded_nanos, coalesce(sum(of_row + given_back - refunded_nanos), 0) AS billed_nanos
    FROM (
        SELECT day, month, provider, model, resolution, sound, campaign, simulated, wasted_kind, CAST(1 AS bigint) AS jobs, CAST(CASE WHEN state IN ('stored') THEN 1 ELSE 0 END AS bigint) AS stored, CAST(CASE WHEN state IN ('failed', 'lost', 'rejected') THEN 1 ELSE 0 END AS bigint) AS failed, CAST(CASE WHEN state IN ('ambiguous') THEN 1 ELSE 0 END AS bigint) AS ambiguous, CAST(CASE WHEN state IN ('reserved', 'submitting', 'submitted', 'generated') THEN 1 ELSE 0 END AS bigint) AS in_flight, CAST(stored_s AS bigint) AS stored_s, CAST(quoted_low_nanos AS bigint) AS quoted_low_nanos, CAST(quoted_high_nanos AS bigint) AS quoted_high_nanos, CAST(CASE WHEN state = 'ambiguous' THEN 0 ELSE held_nanos END AS bigint) AS held_nanos, CAST(unknown_nanos AS bigint) AS unknown_nanos, CAST(coalesce(billed_nanos, 0) AS bigint) AS of_row, CAST(0 AS bigint) AS given_back, CAST(0 AS bigint) AS refunded_nanos FROM job_costs
        UNION ALL
        SELECT day, month, provider, model, resolution, sound, campaign, simulated, NULL, CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(-amount_nanos AS bigint) FROM charge_lines WHERE kind = 'refund'
        UNION ALL
        SELECT day, month, provider, model, resolution, sound, campaign, simulated, NULL, CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(amount_nanos AS bigint), CAST(0 AS bigint) FROM (
            SELECT j.*, e.amount_nanos FROM money_entries e JOIN job_costs j ON j.job_id = e.job_id WHERE e.kind = 'refund'
        ) refunds
    ) facts
    GROUP BY day, month, provider, model, resolution, sound, campaign, simulated
) sums""",
    """CREATE VIEW shot_costs AS
SELECT shot, simulated, jobs, stored, models, stored_s, quoted_high_nanos, held_nanos, unknown_nanos, billed_nanos, wasted_nanos, CASE WHEN billed_nanos IS NOT NULL THEN printf('%s%d.%09d', CASE WHEN billed_nanos < 0 THEN '-' ELSE '' END, abs(billed_nanos) / 1000000000, abs(billed_nanos) % 1000000000) END AS billed_usd, CASE WHEN held_nanos IS NOT NULL THEN printf('%s%d.%09d', CASE WHEN held_nanos < 0 THEN '-' ELSE '' END, abs(held_nanos) / 1000000000, abs(held_nanos) % 1000000000) END AS held_usd, CASE WHEN wasted_nanos IS NOT NULL THEN printf('%s%d.%09d', CASE WHEN wasted_nanos < 0 THEN '-' ELSE '' END, abs(wasted_nanos) / 1000000000, abs(wasted_nanos) % 1000000000) END AS wasted_usd, first_day, last_day
FROM (
    SELECT shot, simulated, count(*) AS jobs, coalesce(sum(CASE WHEN state = 'stored' THEN 1 ELSE 0 END), 0) AS stored, count(DISTINCT model) AS models, coalesce(sum(stored_s), 0) AS stored_s, coalesce(sum(quoted_high_nanos), 0) AS quoted_high_nanos, coalesce(sum(held_nanos), 0) AS held_nanos, coalesce(sum(unknown_nanos), 0) AS unknown_nanos, coalesce(sum(billed_nanos), 0) AS billed_nanos, coalesce(sum(wasted_nanos), 0) AS wasted_nanos,
        min(day) AS first_day, max(day) AS last_day
    FROM job_costs
    GROUP BY shot, simulated
) sums""",
    """CREATE VIEW ambiguous_jobs AS
SELECT id AS job_id, shot, take, provider, model, resolution, CASE WHEN jobs.has_audio IS NULL THEN 'not said' WHEN jobs.has_audio THEN 'sound' ELSE 'silent' END AS sound, campaign, simulated,
    substr(coalesce(submitted_at, claimed_at), 1, 10) AS day, claimed_at, sent_at, doubted_at, looks, next_look_at,
    held_nanos, CASE WHEN held_nanos IS NOT NULL THEN printf('%s%d.%09d', CASE WHEN held_nanos < 0 THEN '-' ELSE '' END, abs(held_nanos) / 1000000000, abs(held_nanos) % 1000000000) END AS held_usd, attempt_id, error
FROM jobs
WHERE state = 'ambiguous'""",
)

_POSTGRES = (
    """CREATE VIEW charge_lines AS
SELECT id AS entry_id, job_id, shot, take, provider, model, resolution, sound, campaign, simulated, kind,
    CAST(moment AT TIME ZONE 'UTC' AS date) AS day, to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM') AS month, moment,
    amount_nanos, CAST(CAST(amount_nanos AS numeric(38, 0)) * 0.000000001 AS numeric(38, 9)) AS amount_usd, basis, duration_s, provider_job_id, note, written_at
FROM (
    SELECT e.id, e.job_id, j.shot, j.take, j.provider, j.model, j.resolution, CASE WHEN j.has_audio IS NULL THEN 'not said' WHEN j.has_audio THEN 'sound' ELSE 'silent' END AS sound, j.campaign,
        j.simulated, e.kind,
        CASE WHEN e.kind = 'refund' THEN coalesce(e.effective_at, e.at)
            ELSE coalesce(j.submitted_at, j.claimed_at) END AS moment,
        CASE WHEN e.kind = 'refund' THEN -e.amount_nanos ELSE e.amount_nanos END AS amount_nanos,
        e.basis, j.duration_s, j.provider_job_id, e.note, e.at AS written_at
    FROM money_entries e JOIN jobs j ON j.id = e.job_id
    WHERE e.kind IN ('charge', 'adjustment', 'refund')
) lines""",
    """CREATE VIEW job_costs AS
SELECT job_id, shot, take, repeat, provider, model, resolution, sound, campaign, simulated, state,
    CAST(coalesce(submitted_at, claimed_at) AT TIME ZONE 'UTC' AS date) AS day, to_char(coalesce(submitted_at, claimed_at) AT TIME ZONE 'UTC', 'YYYY-MM') AS month, claimed_at, submitted_at, generated_at, stored_at,
    duration_s, CASE WHEN state = 'stored' THEN duration_s ELSE 0 END AS stored_s,
    quoted_low_nanos, quoted_high_nanos, CAST(CAST(quoted_low_nanos AS numeric(38, 0)) * 0.000000001 AS numeric(38, 9)) AS quoted_low_usd, CAST(CAST(quoted_high_nanos AS numeric(38, 0)) * 0.000000001 AS numeric(38, 9)) AS quoted_high_usd,
    held_nanos, CAST(CAST(held_nanos AS numeric(38, 0)) * 0.000000001 AS numeric(38, 9)) AS held_usd,
    CASE WHEN state = 'ambiguous' THEN held_nanos ELSE 0 END AS unknown_nanos,
    billed_nanos, CAST(CAST(billed_nanos AS numeric(38, 0)) * 0.000000001 AS numeric(38, 9)) AS billed_usd, basis,
    charged_nanos, refunded_nanos,
    wasted_kind, CASE WHEN wasted_kind IS NULL THEN 0 ELSE billed_nanos END AS wasted_nanos,
    request_hash, provider_job_id, attempt_id, video_uri, error
FROM (
    SELECT j.id AS job_id, j.shot, j.take, j.repeat, j.provider, j.model, j.resolution, CASE WHEN j.has_audio IS NULL THEN 'not said' WHEN j.has_audio THEN 'sound' ELSE 'silent' END AS sound,
        j.campaign, j.simulated, j.state, j.claimed_at, j.submitted_at, j.generated_at, j.stored_at, j.duration_s,
        j.quoted_low_nanos, j.quoted_high_nanos, j.held_nanos, j.billed_nanos, j.basis, j.request_hash,
        j.provider_job_id, j.attempt_id, j.video_uri, j.error,
        (SELECT CAST(coalesce(sum(c.amount_nanos), 0) AS bigint) FROM money_entries c
            WHERE c.job_id = j.id AND c.kind IN ('charge', 'adjustment')) AS charged_nanos,
        (SELECT CAST(coalesce(sum(r.amount_nanos), 0) AS bigint) FROM money_entries r
            WHERE r.job_id = j.id AND r.kind = 'refund') AS refunded_nanos,
        CASE
            WHEN coalesce(j.billed_nanos, 0) = 0 THEN NULL
            WHEN j.state = 'failed' THEN 'failed'
            WHEN j.state IN ('lost', 'written_off') THEN 'lost'
            WHEN j.duplicate_allowed_nanos IS NOT NULL AND EXISTS (
                SELECT 1 FROM jobs again WHERE again.request_hash = j.request_hash AND again.repeat > j.repeat
                    AND again.billed_nanos > 0) THEN 'duplicate'
            WHEN j.state = 'stored' AND NOT EXISTS (
                SELECT 1 FROM takes t WHERE t.job_id = j.id AND NOT EXISTS (
                    SELECT 1 FROM takes newer JOIN jobs maker ON maker.id = newer.job_id
                    WHERE newer.shot = t.shot AND newer.take > t.take AND newer.video_uri IS NOT NULL
                        AND maker.simulated = j.simulated)) THEN 'unused'
        END AS wasted_kind
    FROM jobs j
) costs""",
    """CREATE VIEW daily_costs AS
SELECT day, month, provider, model, resolution, sound, campaign, simulated, jobs, stored, failed, ambiguous, in_flight, stored_s, quoted_low_nanos, quoted_high_nanos, held_nanos, unknown_nanos, wasted_nanos, wasted_failed_nanos, wasted_lost_nanos, wasted_duplicate_nanos, wasted_unused_nanos, charged_nanos, refunded_nanos, billed_nanos, CAST(CAST(billed_nanos AS numeric(38, 0)) * 0.000000001 AS numeric(38, 9)) AS billed_usd, CAST(CAST(charged_nanos AS numeric(38, 0)) * 0.000000001 AS numeric(38, 9)) AS charged_usd, CAST(CAST(refunded_nanos AS numeric(38, 0)) * 0.000000001 AS numeric(38, 9)) AS refunded_usd, CAST(CAST(wasted_nanos AS numeric(38, 0)) * 0.000000001 AS numeric(38, 9)) AS wasted_usd, CAST(CAST(unknown_nanos AS numeric(38, 0)) * 0.000000001 AS numeric(38, 9)) AS unknown_usd
FROM (
    SELECT day, month, provider, model, resolution, sound, campaign, simulated, CAST(coalesce(sum(jobs), 0) AS bigint) AS jobs, CAST(coalesce(sum(stored), 0) AS bigint) AS stored, CAST(coalesce(sum(failed), 0) AS bigint) AS failed, CAST(coalesce(sum(ambiguous), 0) AS bigint) AS ambiguous, CAST(coalesce(sum(in_flight), 0) AS bigint) AS in_flight, CAST(coalesce(sum(stored_s), 0) AS bigint) AS stored_s, CAST(coalesce(sum(quoted_low_nanos), 0) AS bigint) AS quoted_low_nanos, CAST(coalesce(sum(quoted_high_nanos), 0) AS bigint) AS quoted_high_nanos, CAST(coalesce(sum(held_nanos), 0) AS bigint) AS held_nanos, CAST(coalesce(sum(unknown_nanos), 0) AS bigint) AS unknown_nanos, CAST(coalesce(sum(CASE WHEN wasted_kind IS NULL THEN 0 ELSE of_row END), 0) AS bigint) AS wasted_nanos, CAST(coalesce(sum(CASE WHEN wasted_kind = 'failed' THEN of_row ELSE 0 END), 0) AS bigint) AS wasted_failed_nanos, CAST(coalesce(sum(CASE WHEN wasted_kind = 'lost' THEN of_row ELSE 0 END), 0) AS bigint) AS wasted_lost_nanos, CAST(coalesce(sum(CASE WHEN wasted_kind = 'duplicate' THEN of_row ELSE 0 END), 0) AS bigint) AS wasted_duplicate_nanos, CAST(coalesce(sum(CASE WHEN wasted_kind = 'unused' THEN of_row ELSE 0 END), 0) AS bigint) AS wasted_unused_nanos, CAST(coalesce(sum(of_row + given_back), 0) AS bigint) AS charged_nanos, CAST(coalesce(sum(refunded_nanos), 0) AS bigint) AS refunded_nanos, CAST(coalesce(sum(of_row + given_back - refunded_nanos), 0) AS bigint) AS billed_nanos
    FROM (
        SELECT day, month, provider, model, resolution, sound, campaign, simulated, wasted_kind, CAST(1 AS bigint) AS jobs, CAST(CASE WHEN state IN ('stored') THEN 1 ELSE 0 END AS bigint) AS stored, CAST(CASE WHEN state IN ('failed', 'lost', 'rejected') THEN 1 ELSE 0 END AS bigint) AS failed, CAST(CASE WHEN state IN ('ambiguous') THEN 1 ELSE 0 END AS bigint) AS ambiguous, CAST(CASE WHEN state IN ('reserved', 'submitting', 'submitted', 'generated') THEN 1 ELSE 0 END AS bigint) AS in_flight, CAST(stored_s AS bigint) AS stored_s, CAST(quoted_low_nanos AS bigint) AS quoted_low_nanos, CAST(quoted_high_nanos AS bigint) AS quoted_high_nanos, CAST(CASE WHEN state = 'ambiguous' THEN 0 ELSE held_nanos END AS bigint) AS held_nanos, CAST(unknown_nanos AS bigint) AS unknown_nanos, CAST(coalesce(billed_nanos, 0) AS bigint) AS of_row, CAST(0 AS bigint) AS given_back, CAST(0 AS bigint) AS refunded_nanos FROM job_costs
        UNION ALL
        SELECT day, month, provider, model, resolution, sound, campaign, simulated, NULL, CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(-amount_nanos AS bigint) FROM charge_lines WHERE kind = 'refund'
        UNION ALL
        SELECT day, month, provider, model, resolution, sound, campaign, simulated, NULL, CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(0 AS bigint), CAST(amount_nanos AS bigint), CAST(0 AS bigint) FROM (
            SELECT j.*, e.amount_nanos FROM money_entries e JOIN job_costs j ON j.job_id = e.job_id WHERE e.kind = 'refund'
        ) refunds
    ) facts
    GROUP BY day, month, provider, model, resolution, sound, campaign, simulated
) sums""",
    """CREATE VIEW shot_costs AS
SELECT shot, simulated, jobs, stored, models, stored_s, quoted_high_nanos, held_nanos, unknown_nanos, billed_nanos, wasted_nanos, CAST(CAST(billed_nanos AS numeric(38, 0)) * 0.000000001 AS numeric(38, 9)) AS billed_usd, CAST(CAST(held_nanos AS numeric(38, 0)) * 0.000000001 AS numeric(38, 9)) AS held_usd, CAST(CAST(wasted_nanos AS numeric(38, 0)) * 0.000000001 AS numeric(38, 9)) AS wasted_usd, first_day, last_day
FROM (
    SELECT shot, simulated, count(*) AS jobs, CAST(coalesce(sum(CASE WHEN state = 'stored' THEN 1 ELSE 0 END), 0) AS bigint) AS stored, count(DISTINCT model) AS models, CAST(coalesce(sum(stored_s), 0) AS bigint) AS stored_s, CAST(coalesce(sum(quoted_high_nanos), 0) AS bigint) AS quoted_high_nanos, CAST(coalesce(sum(held_nanos), 0) AS bigint) AS held_nanos, CAST(coalesce(sum(unknown_nanos), 0) AS bigint) AS unknown_nanos, CAST(coalesce(sum(billed_nanos), 0) AS bigint) AS billed_nanos, CAST(coalesce(sum(wasted_nanos), 0) AS bigint) AS wasted_nanos,
        min(day) AS first_day, max(day) AS last_day
    FROM job_costs
    GROUP BY shot, simulated
) sums""",
    """CREATE VIEW ambiguous_jobs AS
SELECT id AS job_id, shot, take, provider, model, resolution, CASE WHEN jobs.has_audio IS NULL THEN 'not said' WHEN jobs.has_audio THEN 'sound' ELSE 'silent' END AS sound, campaign, simulated,
    CAST(coalesce(submitted_at, claimed_at) AT TIME ZONE 'UTC' AS date) AS day, claimed_at, sent_at, doubted_at, looks, next_look_at,
    held_nanos, CAST(CAST(held_nanos AS numeric(38, 0)) * 0.000000001 AS numeric(38, 9)) AS held_usd, attempt_id, error
FROM jobs
WHERE state = 'ambiguous'""",
)


def upgrade() -> None:
    bind = op.get_bind()
    for statement in _POSTGRES if bind.dialect.name == "postgresql" else _SQLITE:
        bind.exec_driver_sql(statement)
