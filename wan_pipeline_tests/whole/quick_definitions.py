"""The product's definitions, ticking every three seconds: what `dagster dev` loads in the tests that pull plugs.

What belongs here: the pace, and nothing else. Thirty seconds between ticks would make each test minutes long.
"""

from __future__ import annotations

from wan_pipeline.definitions import defs

TICK_SECONDS = 3

for _sensor in defs.sensors or []:
    _sensor._min_interval = TICK_SECONDS  # Dagster has no other way to change it once it is made
