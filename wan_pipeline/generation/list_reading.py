"""One question about many jobs: where a provider has a list, it is read for all jobs of a lane that are waited for.

It is read as often as keeps results a hundredth of their time late, while so many are about to end that this takes fewer
questions than asking about each. The list is not trusted: it has to show jobs that are known to run before it is read, and
to be the first to tell of some results before anybody relies on it. Then each job is still asked about by itself, but
seldom. A list that fails, or does not show what a poll has found, is left alone for a while, and all are asked about one by
one as if there were none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median

from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.pace import Pace
from wan_pipeline.generation.schedule import Distribution
from wan_pipeline.generation.watch import Watch, Watched
from wan_pipeline.providers.base import Failed, InProgress, ListsJobs, PollError, Succeeded

FEW = 8  # jobs for which no list is read, whatever the arithmetic
_LATE_SHARE = 0.01  # of a job's time that its end is known late, on average: half the time between two readings
_ENDINGS, _LONGER = 2.5, 2.0  # a page that tells of fewer ends than that is read less often, down to half as often
_UNKNOWN_SHARE = 0.04  # of the eldest's age between two readings, while nothing is known of their times
_SHORTEST_S, _LONGEST_S = 0.2, 20.0
_IDLE_S, _STRAGGLERS_S = 0.3, 3.0
_PAGES = 40
_ELDEST_S = 600.0  # of whose times nothing is known: one that is older is asked about by itself
_STRAGGLING = 0.98  # so are those that take longer than this share
_MARGIN = timedelta(seconds=2)
_FIRST_SEEN_S = 0.5  # a job is listed by then
_SHOWN = 40  # jobs half of which the list has to show before it is read
_UNSHOWN, _UNSHOWN_WAIT_S = 8, 1.0  # times that it may show too few of them, and the pause between
_PROVEN = 3  # results that the list has to tell before anybody else
_LAG_S = 1.0  # between a job's end and its row
_STRIKES = 2  # times that it may not know what a poll has found
_FAILED_EVERY = 8  # readings
_OF_THE_RATE = 0.5  # of all questions that may be asked: the others are for single jobs
_AWAY_S, _AWAY_AT_MOST_S = 30.0, 600.0
_ANSWERS_WITHIN_S = 10.0
_log = logging.getLogger(__name__)


def is_worth_reading(endings: float, questions_each: float, pages: int, *, reading: bool) -> bool:
    """Whether a list of so many pages saves more questions than it takes, when so many jobs end between two readings.
    `reading`: it is read already, and is left off only where it clearly does not pay."""
    return endings * questions_each >= (pages / 2 if reading else pages)


class ListReader:
    """Reads the list of one lane, for as long as its batch lives."""

    def __init__(self, desk: Desk, client: ListsJobs, watch: Watch, asks_per_minute: int = 60_000) -> None:
        self._desk = desk
        self._least_gap_s = 60.0 / asks_per_minute / _OF_THE_RATE
        self._client = client
        self._watch = watch
        self._watched = watch.jobs
        self._their_zero = datetime.min.replace(tzinfo=UTC)  # the provider's clock when the loop's was at zero
        self._introduced = self._reading = False
        self._first_told = self._strikes = self._readings = self._aways = self._unshown = 0
        self._pages = 1
        self._away_until_s = 0.0
        self._found_alone: dict[str, tuple[float, float]] = {}

    async def read(self) -> None:
        """Until the batch ends. Raises nothing of its own."""
        wait_s = 0.0
        while not await self._desk.sleep(max(wait_s, _SHORTEST_S / 2)):
            if len(self._watched) < FEW:
                self._leave_off()
                await self._watch.until_there_are(FEW)
            try:
                wait_s = await self._look()
            except Exception:  # noqa: BLE001 - a list is a shortcut: without it every job is asked about by itself
                _log.warning("the list of %s could not be read", self._name, exc_info=True)
                wait_s = self._go_away("it could not be read")

    def found_by_poll(self, watched: Watched) -> None:
        """A poll has found a result of which the list had told nothing: the next reading has to show it."""
        if watched.covered or self._reading:
            self._found_alone[watched.provider_job_id] = (asyncio.get_running_loop().time(), watched.began_s)

    def contradicted(self) -> None:
        """The list showed a job as ended that its provider says is not."""
        self._strike("it shows jobs as ended that are not")

    @property
    def _name(self) -> str:
        return str(getattr(self._client, "name", "the provider"))

    async def _look(self) -> float:
        """Reads where it is worth it; gives the seconds until the next look."""
        loop = asyncio.get_running_loop()
        jobs = [each for each in self._watched.values() if each.listable and each.told is None and not each.hinted]
        away_s = self._away_until_s - loop.time()
        if len(jobs) < FEW or away_s > 0:
            self._leave_off()
            return max(_IDLE_S, away_s)
        jobs, gap_s, endings, questions_each = self._outlook(jobs)
        if not jobs or not is_worth_reading(endings, questions_each, self._pages, reading=self._reading):
            self._leave_off()
            return gap_s
        began_s = loop.time()
        async with asyncio.timeout(max(_ANSWERS_WITHIN_S, 4 * gap_s)):
            if not self._introduced:
                return await self._introduce(jobs)
            self._reading = True
            self._readings += 1
            trouble = await self._sweep(jobs)
            if trouble is None and self._readings % _FAILED_EVERY == 0:
                trouble = await self._failures()
        if trouble is not None:
            return self._go_away(trouble)
        return max(0.0, gap_s - (loop.time() - began_s))

    def _outlook(self, jobs: Sequence[Watched]) -> tuple[list[Watched], float, float, float]:
        """The jobs that a list is worth reading for, the seconds between two readings, how many of the jobs end in those,
        and with how many questions each would be found without a list."""
        usual: list[float] = []
        taken: list[tuple[Watched, float, Distribution | None]] = []
        known: dict[Pace, tuple[Distribution | None, float | None, float | None, float]] = {}
        questions = 0.0
        eldest_s = 0.0
        for each in jobs:
            pace, age_s = each.pace, each.age_s
            if pace not in known:
                found = pace.distribution
                last_s, middle_s = (None, None) if found is None else (found.quantile(_STRAGGLING), found.quantile(0.5))
                known[pace] = (found, last_s, middle_s, pace.questions)
            distribution, last_s, middle_s, questions_each = known[pace]
            if age_s > (_ELDEST_S if last_s is None else last_s):
                each.uncover()
                continue
            taken.append((each, age_s, distribution))
            questions += questions_each
            eldest_s = max(eldest_s, age_s)
            if middle_s is not None:
                usual.append(middle_s)
        if not taken:
            return [], _STRAGGLERS_S, 0.0, 0.0
        gap_s = 2 * _LATE_SHARE * median(usual) if usual else _UNKNOWN_SHARE * eldest_s
        gap_s = max(min(_LONGEST_S, max(_SHORTEST_S, gap_s)), self._pages * self._least_gap_s)
        endings = 0.0
        for _, age_s, distribution in taken:
            left = 0.0 if distribution is None else distribution.left_at(age_s)
            if distribution is None or left <= distribution.left[-1]:
                endings += gap_s / max(age_s, gap_s)
            else:
                endings += 1 - distribution.left_at(age_s + gap_s) / left
        if 0 < endings < _ENDINGS * self._pages:  # less often, as far as results are still known early enough
            longer_s = min(gap_s * _ENDINGS * self._pages / endings, gap_s * _LONGER)
            gap_s, endings = longer_s, endings * longer_s / gap_s
        return [each for each, _, _ in taken], gap_s, endings, questions / len(taken)

    async def _introduce(self, jobs: Sequence[Watched]) -> float:
        """Does the list show what is known to run? Compares the clocks, too."""
        settled = sum(each.age_s >= _FIRST_SEEN_S for each in jobs)
        if not settled:
            return _SHORTEST_S
        about = {each.provider_job_id: each for each in jobs}
        page = await self._client.list_jobs(None, None, 1, about.keys())
        if isinstance(page, PollError):
            return self._go_away(page.reason)
        shown = [row for row in page.rows if isinstance(row.outcome, InProgress | Succeeded | Failed)]
        if len({row.provider_job_id for row in shown}) * 2 < min(settled, _SHOWN):
            # Where hundreds are submitted at once, a page may be full of jobs whose answers have not been heard yet.
            self._unshown += 1
            return _UNSHOWN_WAIT_S if self._unshown < _UNSHOWN else self._go_away("it does not show the newest jobs")
        zeros = sorted(
            row.made_at - timedelta(seconds=about[row.provider_job_id].began_s)
            for row in shown
            if row.made_at is not None
        )
        if not zeros:
            return self._go_away("its rows do not say when they were made")
        # Of a submission the answer came a little later, now and then seconds later: a job is rather taken for too old.
        self._their_zero = zeros[len(zeros) // 20]
        self._introduced = True
        self._unshown = 0
        return 0.0

    async def _sweep(self, jobs: Sequence[Watched]) -> str | None:
        """Reads what has succeeded among the jobs, page by page. Gives what went wrong."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        ages = {each.provider_job_id: each.age_s for each in jobs}
        eldest = self._made(min(each.began_s for each in jobs)) - _MARGIN
        expected = {job_id for job_id, (found_s, _) in self._found_alone.items() if found_s + _LAG_S <= began_s}
        seen: set[str] = set()
        read_until: datetime | None = None
        for number in range(1, _PAGES + 1):
            page = await self._client.list_jobs("succeeded", eldest, number, ages.keys() | expected)
            if isinstance(page, PollError):
                return page.reason
            self._pages = number
            for row in page.rows:
                if isinstance(row.outcome, Succeeded | PollError):
                    seen.add(row.provider_job_id)
                    self._tell(row.provider_job_id, row.outcome if isinstance(row.outcome, Succeeded) else None)
            if page.is_last or (page.oldest_at is not None and page.oldest_at < eldest):
                break
            read_until = page.oldest_at
        else:
            if read_until is None:
                return "its rows do not say when they were made"
            eldest = read_until
        for job_id in expected:
            _, made_s = self._found_alone.pop(job_id)
            if job_id not in seen and self._made(made_s) >= eldest + _MARGIN:
                self._strike("it does not show what polls have found")
        self._cover(jobs, ages, eldest, seen)
        return None

    def _cover(self, jobs: Sequence[Watched], ages: Mapping[str, float], eldest: datetime, seen: set[str]) -> None:
        """These were not at their end when the reading began; what it did not reach is asked about by itself."""
        for each in jobs:
            if each.provider_job_id in seen:
                continue
            if self._made(each.began_s) < eldest:
                each.uncover()
                continue
            each.runs(ages[each.provider_job_id])
            if self._reading and (self._first_told >= _PROVEN or each.pace.distribution is None):
                each.covered = True
            else:
                each.uncover()

    async def _failures(self) -> str | None:
        page = await self._client.list_jobs("failed", None, 1, set(self._watched))
        if isinstance(page, PollError):
            return page.reason
        for row in page.rows:
            if isinstance(row.outcome, Failed):
                self._tell(row.provider_job_id, None)
        return None

    def _tell(self, job_id: str, outcome: Succeeded | None) -> None:
        watched = self._watched.get(job_id)
        if watched is not None and watched.listable and watched.told is None and not watched.hinted:
            self._first_told += outcome is not None
            watched.tell(outcome)

    def _made(self, began_s: float) -> datetime:
        """When the provider says that a job was made that was submitted then, by the loop's clock."""
        return self._their_zero + timedelta(seconds=began_s)

    # --- distrust ---

    def _leave_off(self) -> None:
        """It is not read at present."""
        if self._reading:
            self._reading = False
            for each in self._watched.values():
                each.uncover()

    def _strike(self, reason: str) -> None:
        self._strikes += 1
        if self._strikes >= _STRIKES:
            self._go_away(reason)

    def _go_away(self, reason: str) -> float:
        """Leaves the list alone for a while, ever longer."""
        away_s = min(_AWAY_AT_MOST_S, _AWAY_S * 2**self._aways)
        _log.info("the list of %s is left alone for %g s: %s", self._name, away_s, reason)
        self._aways += 1
        self._away_until_s = asyncio.get_running_loop().time() + away_s
        self._leave_off()
        self._introduced = False
        self._first_told = self._strikes = self._unshown = 0
        self._found_alone.clear()
        return _IDLE_S
