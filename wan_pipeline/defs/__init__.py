"""The Dagster layer: assets, checks, sensors, schedules, resources. Thin: no rule about money, providers or files."""

from __future__ import annotations

import ctypes
import gc
import warnings
from contextlib import suppress

import dagster as dg

# Backfill policies and partitioned checks are "beta" and "preview", and say so at each start, on every terminal. Dagster
# is pinned to one version (pyproject.toml), so that they change when somebody looks.
for _category in (dg.BetaWarning, dg.PreviewWarning):
    warnings.filterwarnings("ignore", category=_category)

# What a process imports stays to its end. Left to itself, Python looks through all of it for garbage again and again while
# more is imported, and once more when it ends: a third of the CPU of a run's process. What there is by now (Dagster) is left
# alone from here on; definitions.py does the same with what it has imported.
gc.freeze()

# glibc gives each of a run's thirty threads a heap of its own, up to eight for each processor, and what is freed in one is
# of no use to the others: 50 MB of a run over 800 shots. Two are enough for threads that mostly wait (M_ARENA_MAX is -8).
with suppress(AttributeError, OSError):  # another C library
    ctypes.CDLL(None).mallopt(-8, 2)
