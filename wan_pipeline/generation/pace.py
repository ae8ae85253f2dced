"""When to ask a provider about a job: seldom early, often near the end of the time that its model usually takes.

Pure arithmetic over the times seen so far. What does not belong here: asking.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable

_ENOUGH = 5  # times seen before they are believed
_KEPT = 200
_SHORTEST_S = 0.25
_LONGEST_S = 20.0
_LONGEST_EARLY_S = 60.0  # times seen may mislead: those of jobs that were collected a day late, for one
_SHARE = 0.08  # of the time waited so far: how late a result is found at most, while nothing is known
_OVERDUE_SHARE = 0.25


class Pace:
    """The usual times of one model, in seconds from submission to result, and the next moment to ask."""

    def __init__(self, seen_s: Iterable[float] = ()) -> None:
        self._recent: list[float] = list(seen_s)[-_KEPT:]
        self._sorted = sorted(self._recent)

    def learn(self, took_s: float) -> None:
        """One more job took this long."""
        self._recent.append(took_s)
        insort(self._sorted, took_s)
        if len(self._recent) > _KEPT:
            self._sorted.remove(self._recent.pop(0))

    def next_wait_s(self, waited_s: float) -> float:
        """How long to wait until the next question about a job submitted `waited_s` ago.

        Up to the quickest twentieth of the times seen: until then, or a minute. Between that and the slowest twentieth:
        a tenth of the distance. Beyond: seldomer, the longer it is overdue. With too few times seen: a share of the time
        waited.
        """
        if len(self._sorted) >= _ENOUGH:
            early, late = self._quantile(0.05), self._quantile(0.95)
            if waited_s < early:
                return max(_SHORTEST_S, min(_LONGEST_EARLY_S, early - waited_s))
            overdue_s = max(0.0, waited_s - late)
            return min(_LONGEST_S, max(_SHORTEST_S, (late - early) / 10 + overdue_s * _OVERDUE_SHARE))
        return min(_LONGEST_S, max(_SHORTEST_S, waited_s * _SHARE))

    def _quantile(self, share: float) -> float:
        return self._sorted[round(share * (len(self._sorted) - 1))]
