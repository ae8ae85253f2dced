"""Questions against lateness, computed: how often each way of asking asks about a job, and how late it knows of the end.

A job takes T seconds by a distribution; a way of asking is the moments at which it asks. The ideal knows the distribution
itself: of all schedules with so many questions on average, the one that is least late.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import mean

from wan_pipeline.generation.pace import Pace

GRID = 240  # quantiles of the true distribution, for the ideal
SDK_INTERVAL_S = 1.0  # wavespeed 2.0.5, `run(poll_interval=1.0)`: asks at once, then every second
SCRIPT_INTERVAL_S = 15.0  # AI/ML API's document: asks at once, then every 15 seconds
MIDDLE_S = 20.0

Draw = Callable[[random.Random], float]


def two_humps(source: random.Random) -> float:
    """Half of the jobs wait in a queue for as long as they take."""
    return max(1.0, source.gauss(MIDDLE_S, 0.05 * MIDDLE_S) * (1 if source.random() < 0.5 else 2))


DISTRIBUTIONS: dict[str, Draw] = {
    "uniform +-10 %": lambda source: MIDDLE_S * source.uniform(0.9, 1.1),
    "uniform +-30 %": lambda source: MIDDLE_S * source.uniform(0.7, 1.3),
    "log-normal, 0.1": lambda source: MIDDLE_S * source.lognormvariate(0, 0.1),
    "log-normal, 0.3": lambda source: MIDDLE_S * source.lognormvariate(0, 0.3),
    "two humps": two_humps,
}


@dataclass(frozen=True)
class Asked:
    """By one way of asking: questions for one result, and how late it was known, as shares of the job's time."""

    questions: float
    late: float
    late_p95: float

    @classmethod
    def of(cls, found: Sequence[tuple[int, float]]) -> Asked:
        """`found`: questions and lateness of each job."""
        late = sorted(each for _, each in found)
        return cls(mean(count for count, _ in found), mean(late), late[int(0.95 * (len(late) - 1))])


def every(interval_s: float, took_s: float) -> tuple[int, float]:
    """Asked at once, then at this interval."""
    count, at_s = 1, 0.0
    while at_s < took_s:
        at_s += interval_s
        count += 1
    return count, (at_s - took_s) / took_s


def paced(pace: Pace, took_s: float, *, learns: bool) -> tuple[int, float]:
    """As this pipeline asks about single jobs."""
    count, at_s, before_s = 0, 0.0, 0.0
    while at_s < took_s:
        before_s = at_s
        at_s += pace.next_wait_s(at_s)
        count += 1
    if learns:
        pace.learn(at_s, before_s)
    return count, (at_s - took_s) / took_s


def moments(schedule: Sequence[float], took_s: float) -> tuple[int, float]:
    """At these moments."""
    for count, at_s in enumerate(schedule, 1):
        if at_s >= took_s:
            return count, (at_s - took_s) / took_s
    raise ValueError("the schedule ends before the job does")


def ideal(times_s: Iterable[float], *, questions: float | None = None, late: float | None = None) -> list[float]:
    """The schedule that is least late with so many questions on average, or asks least while it is so late on average."""
    grid = sorted(times_s)
    grid = [grid[round(k * (len(grid) - 1) / GRID)] for k in range(GRID + 1)]
    low, high = 1e-7, 10.0
    best = _cheapest(grid, high)
    for _ in range(24):
        price = (low * high) ** 0.5
        found = _cheapest(grid, price)
        asked = Asked.of([moments(found, took_s) for took_s in grid])
        too_often = asked.questions > questions if questions is not None else asked.late < (late or 0.0)
        if too_often:
            low = price
        else:
            best, high = found, price
    return best


def _cheapest(grid: Sequence[float], price: float) -> list[float]:
    """Where a question costs `price` of a job's time, and so does lateness: over all chains of the grid's moments."""
    size = len(grid)
    ones, parts = [0.0], [0.0]
    for took_s in grid:
        ones.append(ones[-1] + 1)
        parts.append(parts[-1] + 1 / took_s)
    cost, then = [0.0] * (size + 1), [size] * (size + 1)
    for begin in range(size - 1, -1, -1):
        asked, best = price * (size - begin), float("inf")
        for end in range(begin + 1, size + 1):  # asked next when the jobs begin..end-1 have ended
            late = grid[end - 1] * (parts[end] - parts[begin]) - (ones[end] - ones[begin])
            if asked + late >= best:
                break
            if asked + late + cost[end] < best:
                best, then[begin] = asked + late + cost[end], end
        cost[begin] = best
    found, begin = list[float](), 0
    while begin < size:
        begin = then[begin]
        found.append(grid[begin - 1])
    return found


def learned(draw: Draw, samples: int, jobs: int, seed: int) -> Asked:
    """Ours, with so many times seen before; it goes on learning by what it finds."""
    source = random.Random(seed)
    pace = Pace(draw(source) for _ in range(samples))
    return Asked.of([paced(pace, draw(source), learns=True) for _ in range(jobs)])


def drifting(jobs: int, seed: int) -> dict[str, Asked]:
    """Ours, while the times (uniform +-30 %) change: by half as much again little by little, and at once to the half."""
    source = random.Random(seed)

    def ours(factor: Callable[[float], float]) -> Asked:
        pace = Pace(DISTRIBUTIONS["uniform +-30 %"](source) for _ in range(300))
        return Asked.of(
            [
                paced(pace, DISTRIBUTIONS["uniform +-30 %"](source) * factor(number / jobs), learns=True)
                for number in range(jobs)
            ]
        )

    return {
        "drifts to 150 %": ours(lambda part: 1 + part / 2),
        "falls to 50 % at once": ours(lambda part: 1.0 if part < 0.1 else 0.5),
        "rises to 200 % at once": ours(lambda part: 1.0 if part < 0.1 else 2.0),
    }
