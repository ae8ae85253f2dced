"""When to ask a provider about a job: seldom early, often when its result is likely to be there.

With enough times seen the moments come from the distribution of the times (schedule.py); else each wait is a share of the
time waited. Pure arithmetic; what does not belong here: asking.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable
from itertools import chain

from wan_pipeline.generation.schedule import Distribution, Schedule, schedule
from wan_pipeline.generation.seen_times import ENOUGH, SeenTimes, differ

_SHORTEST_S = 0.25
_LONGEST_S = 20.0
_BELIEVED_S = 900.0  # times seen beyond it may mislead: those of jobs that were collected a day late, for one
_LONGEST_EARLY_S = 60.0
_SHARE = 0.08  # of the time waited so far: how late a result is found at most, while nothing is known
_OVERDUE_SHARE = 0.25
_WATCHED_SHARE, _WATCHED_S = 0.5, 5.0  # the same, and at least, for a job that a list is read for: it may be wrong
_WATCHED_QUANTILES = (0.8, 0.96)
_QUESTIONS_UNKNOWN = 12.0  # about one job, while nothing is known of its time
_NEWS = 16  # a schedule is made anew when a sixteenth of the times it is made of is new
_OF_A_KIND = 20  # times of one kind of settings, before they may count for themselves


class Pace:
    """The usual times of one kind of job, in seconds from submission to result, and the next moment to ask."""

    def __init__(self, seen_s: Iterable[float] = (), seen: SeenTimes | None = None) -> None:
        self._times = SeenTimes() if seen is None else seen
        for took_s in seen_s:
            self._times.learn(took_s)
        self._distribution: Distribution | None = None
        self._schedule: Schedule | None = None
        self._watched: tuple[float, ...] = ()
        self._made_at = -1

    def learn(self, took_s: float, asked_before_s: float | None = None) -> None:
        """One more job took this long; see `SeenTimes.learn`."""
        self._times.learn(took_s, asked_before_s)

    def next_wait_s(self, waited_s: float, *, watched: bool = False) -> float:
        """How long to wait until the next question about a job submitted `waited_s` ago.

        Until the schedule's next moment. With too few times seen, and beyond the longest one: a share of the time waited.
        `watched`: somebody reads a list in which its end would show, so that this question is only for safety.
        """
        self._renew()
        moments = () if self._schedule is None else self._watched if watched else self._schedule.moments
        following = bisect_right(moments, waited_s + _SHORTEST_S / 2)
        if following < len(moments):
            return max(_SHORTEST_S, self._believed(moments[following] - waited_s, waited_s))
        wait_s = max(_WATCHED_S, waited_s * _WATCHED_SHARE) if watched else waited_s * _SHARE
        if self._schedule is not None and not watched:  # overdue: at first as often as before, then seldomer
            wait_s = min(wait_s, self._schedule.last_gap_s + _OVERDUE_SHARE * (waited_s - self._schedule.moments[-1]))
        return min(_LONGEST_S, max(_SHORTEST_S, wait_s))

    @property
    def distribution(self) -> Distribution | None:
        """Of the times, as far as it is known."""
        self._renew()
        return self._distribution

    @property
    def questions(self) -> float:
        """How many questions find one result."""
        self._renew()
        return _QUESTIONS_UNKNOWN if self._schedule is None else self._schedule.questions

    @staticmethod
    def _believed(wait_s: float, waited_s: float) -> float:
        """A first question that lies far away is not believed to be the first one that is worth asking."""
        return wait_s if wait_s + waited_s <= _BELIEVED_S else min(wait_s, max(_LONGEST_EARLY_S, waited_s))

    def _renew(self) -> None:
        count = self._times.count
        if self._made_at >= 0 and (count - self._made_at) * _NEWS < max(len(self._times), _NEWS):
            return
        if count < ENOUGH:
            return
        self._made_at = count
        self._distribution = distribution = self._times.distribution()
        if distribution is None:
            return
        self._schedule = schedule(distribution)
        found = (distribution.quantile(share) for share in _WATCHED_QUANTILES)
        self._watched = tuple(moment for moment in found if moment is not None)


class UsualTimes:
    """Of one model: by the settings that its jobs were ordered with, where those are seen to take other times than the rest,
    and of all of them else."""

    def __init__(self) -> None:
        self._all = SeenTimes()
        self._pace = Pace(seen=self._all)
        self._kinds: dict[Hashable, tuple[SeenTimes, Pace]] = {}
        self._own: dict[Hashable, tuple[int, bool]] = {}

    def learn(self, kind: Hashable, took_s: float, asked_before_s: float | None = None) -> None:
        """A job of this kind took this long; see `SeenTimes.learn`."""
        self._all.learn(took_s, asked_before_s)
        self._of(kind)[0].learn(took_s, asked_before_s)

    def runs(self, kind: Hashable, job_id: str, for_s: float) -> None:
        """See `SeenTimes.runs`."""
        self._all.runs(job_id, for_s)
        self._of(kind)[0].runs(job_id, for_s)

    def over(self, kind: Hashable, job_id: str) -> None:
        """See `SeenTimes.over`."""
        self._all.over(job_id)
        self._of(kind)[0].over(job_id)

    def pace(self, kind: Hashable) -> Pace:
        """That goes for jobs of this kind at present."""
        times, pace = self._of(kind)
        looked_at, own = self._own.get(kind, (-1, False))
        if times.count >= _OF_A_KIND and (looked_at < 0 or (times.count - looked_at) * 4 > len(times)):
            own = differ(times.newest, self._others(kind))
            self._own[kind] = (times.count, own)
        return pace if own else self._pace

    def _of(self, kind: Hashable) -> tuple[SeenTimes, Pace]:
        if kind not in self._kinds:
            times = SeenTimes()
            self._kinds[kind] = (times, Pace(seen=times))
        return self._kinds[kind]

    def _others(self, kind: Hashable) -> list[float]:
        return list(chain.from_iterable(times.newest for other, (times, _) in self._kinds.items() if other != kind))
