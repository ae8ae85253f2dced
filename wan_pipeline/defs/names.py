"""The names in Dagster's catalog, said once: asset keys, jobs, checks, groups, owners."""

from __future__ import annotations

from typing import Final

import dagster as dg

SOURCE_IMAGES: Final = dg.AssetKey("source_images")
SHOT_QUOTES: Final = dg.AssetKey("shot_quotes")
GENERATED_VIDEOS: Final = dg.AssetKey("generated_videos")
COST_REPORTS: Final = dg.AssetKey("cost_reports")
MONTHLY_COST_REPORTS: Final = dg.AssetKey("monthly_cost_reports")
RECONCILIATIONS: Final = dg.AssetKey("reconciliations")
FOCUS_EXPORTS: Final = dg.AssetKey("focus_exports")
BUDGETS: Final = dg.AssetKey("budgets")

MAKE_VIDEOS: Final = "make_videos"
QUOTE_SHOTS: Final = "quote_shots"
DAILY_REPORT: Final = "daily_report"
MONTHLY_REPORT: Final = "monthly_report"
RESOLVE_JOB: Final = "resolve_job"
RETIRE_SHOTS: Final = "retire_shots"

WITHIN_LIMITS: Final = "within_limits"
PLAYABLE: Final = "playable"
AS_ORDERED: Final = "as_ordered"
BILLED_AS_QUOTED: Final = "billed_as_quoted"

OWNERS: Final = ["team:video"]
POOL: Final = "wan_videos"
