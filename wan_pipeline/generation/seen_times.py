"""The times that jobs of one kind took, as they were seen: the newest few hundred, and how far those that run are.

A time is seen by asking, so it lies somewhere between two questions; and of the jobs of a batch the quickest are seen first,
while the others only tell that they take longer. Both are taken into account, or the times learned would grow with every
batch, and those learned at its beginning be those of the quickest. What does not belong here: when to ask (schedule.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Iterable, Sequence

from wan_pipeline.generation.schedule import Distribution

ENOUGH = 5  # times seen before they are believed
_KEPT = 300
_TIMES_OF_EACH = 3  # for each job that runs at once: those seen last may be the slowest of a batch
_KNOTS = 48
_BETWEEN_QUESTIONS = 0.05  # of a time that the ledger tells: how long before it the question before may have been asked
_FIRST_QUESTION = 0.15  # the same, where it was found at the first question, and may have been there for long
_CLOSEST = 0.002  # knots nearer to each other than this share are one
_GOLDEN = 0.6180339887498949  # its multiples' fractions lie evenly, however many there are
_DIFFERENT = 1.63  # Kolmogorov and Smirnov: of equal distributions one pair in a hundred differs by so much


class SeenTimes:
    """Of one kind of job, in seconds from submission to result."""

    def __init__(self) -> None:
        self.count = 0  # ever learned
        self._seen: deque[float] = deque()
        self._running: dict[str, float] = {}
        self._at_once = 0

    def __len__(self) -> int:
        return len(self._seen)

    @property
    def newest(self) -> Sequence[float]:
        """The oldest of those that are kept first."""
        return self._seen

    def learn(self, took_s: float, asked_before_s: float | None = None) -> None:
        """One more was found after so long; it was asked about in vain `asked_before_s` after its submission. 0: never
        before; None: not known."""
        if asked_before_s is None:
            between_s = took_s * _BETWEEN_QUESTIONS
        else:
            between_s = min(took_s - asked_before_s, took_s * _FIRST_QUESTION)
        self._seen.append(took_s - between_s * (self.count * _GOLDEN % 1.0))
        self.count += 1
        while len(self._seen) > max(_KEPT, _TIMES_OF_EACH * self._at_once):
            self._seen.popleft()

    def runs(self, job_id: str, for_s: float) -> None:
        """This job was not at its end so long after its submission, as its provider says; 0: it has been submitted."""
        self._running[job_id] = for_s
        self._at_once = max(self._at_once, len(self._running))

    def over(self, job_id: str) -> None:
        """Nobody waits for this job any more."""
        self._running.pop(job_id, None)

    def distribution(self) -> Distribution | None:
        """None: too few were seen. Kaplan and Meier's estimate, in which the jobs that run count for as long as they do."""
        if len(self._seen) < ENOUGH:
            return None
        seen = sorted(self._seen)
        running = sorted(self._running.values())
        every = max(1, len(seen) // _KNOTS)
        first = max(seen[0] / 2, seen[0] - (seen[-1] - seen[0]) / len(seen), seen[0] * (1 - _FIRST_QUESTION))
        knots, left = [first], [1.0]
        share = 1.0
        for k, took_s in enumerate(seen):
            at_risk = len(seen) - k + len(running) - bisect_left(running, took_s)
            share *= 1 - 1 / (at_risk + 1)
            if (k % every == 0 or k == len(seen) - 1) and took_s > knots[-1] * (1 + _CLOSEST):
                knots.append(took_s)
                left.append(share)
        left[-1] = share
        return Distribution(tuple(knots), tuple(left)) if len(knots) > 1 else None


def differ(some: Collection[float], others: Collection[float]) -> bool:
    """Whether these are hardly of one distribution, by the greatest distance of the two (Kolmogorov and Smirnov)."""
    if not some or not others:
        return False
    here, there = sorted(some), sorted(others)
    distance = max(
        abs(bisect_left(here, value) / len(here) - bisect_left(there, value) / len(there))
        for value in _steps(here, there)
    )
    return distance > _DIFFERENT * ((len(here) + len(there)) / (len(here) * len(there))) ** 0.5


def _steps(here: Iterable[float], there: Iterable[float]) -> Iterable[float]:
    yield from here
    yield from there
    yield float("inf")
