"""The Dagster layer: assets, checks, sensors, schedules, resources. Thin: no rule about money, providers or files."""

from __future__ import annotations

import gc
import warnings

import dagster as dg

# Backfill policies and partitioned checks are "beta" and "preview", and say so at each start, on every terminal. Dagster
# is pinned to one version (pyproject.toml), so that they change when somebody looks.
for _category in (dg.BetaWarning, dg.PreviewWarning):
    warnings.filterwarnings("ignore", category=_category)

# What a process imports stays to its end. Left to itself, Python looks through all of it for garbage again and again while
# more is imported, and once more when it ends: a third of the CPU of a run's process. What there is by now (Dagster) is left
# alone from here on; definitions.py does the same with what it has imported.
gc.freeze()
