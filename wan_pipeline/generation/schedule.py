"""A schedule of questions: when to ask about a job whose time is known as a distribution.

Each question costs, and so does each second that a finished job is not known to be. Asked at t[1] < t[2] < ..., a job that
takes T seconds is asked about until the first t[j] >= T, and is then (t[j] - T) / T of its own time late. The schedule is
the cheapest chain over the distribution's knots: dynamic programming from its end, some thousand steps. Lateness counts
cubed: to be late twice as long is more than twice as bad, which keeps the gaps even. Pure arithmetic; what does not belong
here: where the times come from.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

_LATE_SHARE = 0.028  # of its time that a result is found late, on average: asking more often than that is worth nothing
_QUESTIONS = 6.0  # for one result at most, on average; times that are spread too widely are found later instead
_STEPS = 14  # of halving the interval of what a question weighs
_PRICES = (1e-8, 10.0)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Of the seconds that a job takes: the share `left[k]` takes longer than `knots[k]`, evenly between two knots.

    `left` begins with 1; what is left at the last knot takes longer than was ever seen.
    """

    knots: tuple[float, ...]
    left: tuple[float, ...]

    def left_at(self, seconds: float) -> float:
        """The share that takes longer than this."""
        k = bisect_right(self.knots, seconds) - 1
        if k < 0:
            return 1.0
        if k + 1 >= len(self.knots):
            return self.left[-1]
        begin, end = self.knots[k], self.knots[k + 1]
        return self.left[k] + (self.left[k + 1] - self.left[k]) * (seconds - begin) / (end - begin)

    def quantile(self, share: float) -> float | None:
        """The seconds within which this share has ended; None: longer than was ever seen."""
        for k, (before, after) in enumerate(pairwise(self.left)):
            if after <= 1 - share:
                begin, end = self.knots[k], self.knots[k + 1]
                return end if before == after else begin + (end - begin) * (before - (1 - share)) / (before - after)
        return None


@dataclass(frozen=True, slots=True)
class Schedule:
    """`moments`: seconds after the submission, ascending. `questions` for one result and `late_share` of its time, on
    average, of those results that the distribution has seen."""

    moments: tuple[float, ...]
    questions: float
    late_share: float

    @property
    def last_gap_s(self) -> float:
        """Between the last two moments."""
        return self.moments[-1] - (self.moments[-2] if len(self.moments) > 1 else 0.0)


def schedule(times: Distribution, late_share: float = _LATE_SHARE, questions: float = _QUESTIONS) -> Schedule:
    """The fewest questions that find results `late_share` late; or, where that takes more than `questions`, so many."""
    pieces = _Pieces(times)
    low, high = _PRICES
    best = pieces.cheapest(high)
    for _ in range(_STEPS):
        weight = (low * high) ** 0.5
        found = pieces.cheapest(weight)
        if found.questions > questions or found.late_share < late_share:
            low = weight  # asks too often
            if found.questions <= questions:
                best = found
        else:
            high = weight
            best = found
    return best


class _Pieces:
    """The distribution as running sums, so that the cost of leaving out the questions between two knots is one term."""

    def __init__(self, times: Distribution) -> None:
        self._knots = times.knots
        self._left = times.left
        self._sums = [(0.0,) * 6]
        for k, (begin, end) in enumerate(pairwise(times.knots)):
            mass, m, spread = times.left[k] - times.left[k + 1], (begin + end) / 2, (end - begin) ** 2 / 12
            cubed = mass / m**3
            moments = (cubed, cubed * m, cubed * (m * m + spread), cubed * (m**3 + 3 * m * spread))
            self._sums.append(tuple(a + b for a, b in zip(self._sums[-1], (mass, mass / m, *moments), strict=True)))

    def cheapest(self, weight: float) -> Schedule:
        """Where a question costs as much as it does to be the cube root of `weight` of its time late."""
        knots, left, sums = self._knots, self._left, self._sums
        last = len(knots) - 1
        cost = [0.0] * (last + 1)
        then = [last] * (last + 1)
        for i in range(last - 1, -1, -1):
            asked, best = weight * left[i], float("inf")
            _, _, a, b, c, d = sums[i]
            for j in range(i + 1, last + 1):
                at, (_, _, a_j, b_j, c_j, d_j) = knots[j], sums[j]
                late = ((at * (a_j - a) - 3 * (b_j - b)) * at + 3 * (c_j - c)) * at - (d_j - d)
                if asked + late >= best:
                    break  # it grows with every knot that is left out
                if asked + late + cost[j] < best:
                    best, then[i] = asked + late + cost[j], j
            cost[i] = best
        moments: list[float] = []
        questions = late_share = 0.0
        i = 0
        while i < last:
            j = then[i]
            questions += left[i]
            late_share += knots[j] * (sums[j][1] - sums[i][1]) - (sums[j][0] - sums[i][0])
            moments.append(knots[j])
            i = j
        seen = 1.0 - left[-1]
        # Of those that take longer than was ever seen, nobody knows; the questions about them until then were asked.
        return Schedule(tuple(moments), questions, late_share / seen if seen > 0 else 0.0)
