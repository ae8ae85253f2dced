"""The product's definitions at a quicker pace: what `dagster dev` loads in the tests that pull plugs.

What belongs here: the pace, and nothing else. Thirty seconds between ticks would make each test minutes long.
"""

from __future__ import annotations

from datetime import timedelta
from types import ModuleType

from wan_pipeline.definitions import defs
from wan_pipeline.defs import lost_runs, recovery, runs_of_shots
from wan_pipeline.generation import deferring, finding

TICK_SECONDS = 3


def _quicken(module: ModuleType, name: str, pace: timedelta | float) -> None:
    if type(getattr(module, name)) is not type(pace):  # also where it is there no more
        raise TypeError(f"{module.__name__}.{name} is no {type(pace).__name__}")
    setattr(module, name, pace)


for _sensor in defs.sensors or []:
    _sensor._min_interval = TICK_SECONDS  # Dagster has no other way to change it once it is made
_quicken(lost_runs, "_UNMARKED_FOR", timedelta(seconds=60))
_quicken(recovery, "_TAKEN_UP_FOR", timedelta(seconds=10))
_quicken(runs_of_shots, "_FIRST_WAIT", timedelta(seconds=5))
_quicken(deferring, "_FIRST", timedelta(seconds=10))
_quicken(finding, "_LOOK_AGAIN_S", 4.0)
