"""The Dagster layer: assets, checks, sensors, schedules, resources. Thin: no rule about money, providers or files."""

from __future__ import annotations

import warnings

import dagster as dg

# Backfill policies and partitioned checks are "beta" and "preview", and say so at each start, on every terminal. Dagster
# is pinned to one version (pyproject.toml), so that they change when somebody looks.
for _category in (dg.BetaWarning, dg.PreviewWarning):
    warnings.filterwarnings("ignore", category=_category)
