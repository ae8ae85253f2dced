"""The names in Dagster's catalog, said once: asset keys, checks, groups, owners."""

from __future__ import annotations

from typing import Final

import dagster as dg

SOURCE_IMAGES: Final = dg.AssetKey("source_images")
SHOT_QUOTES: Final = dg.AssetKey("shot_quotes")
GENERATED_VIDEOS: Final = dg.AssetKey("generated_videos")
COST_REPORTS: Final = dg.AssetKey("cost_reports")

WITHIN_LIMITS: Final = "within_limits"
PLAYABLE: Final = "playable"
AS_ORDERED: Final = "as_ordered"
BILLED_AS_QUOTED: Final = "billed_as_quoted"

OWNERS: Final = ["team:video"]
POOL: Final = "wan_videos"
