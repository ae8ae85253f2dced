"""The product's definitions at a quicker pace: what `dagster dev` loads in the tests that pull plugs.

What belongs here: the pace, and nothing else. Thirty seconds between ticks would make each test minutes long.
"""

from __future__ import annotations

from datetime import timedelta

from wan_pipeline.definitions import defs
from wan_pipeline.defs import lost_runs, recovery
from wan_pipeline.generation import deferring

TICK_SECONDS = 3

lost_runs._UNMARKED_FOR = timedelta(seconds=60)
recovery._TAKEN_UP_FOR = timedelta(seconds=15)
deferring._FIRST = timedelta(seconds=10)

for _sensor in defs.sensors or []:
    _sensor._min_interval = TICK_SECONDS  # Dagster has no other way to change it once it is made
