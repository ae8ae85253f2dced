"""Puts errors into a provider's books, and says which: what a reconciliation has to find and name, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from wan_pipeline_tests.reports.year import Year
from wan_pipeline_tests.reports.year_books import INVOICED, SOURCES, BookLine
from wan_pipeline_tests.reports.year_jobs import YearJob

MISSING, DOUBLED, A_NANO_OFF, WRONG_DAY, FOREIGN = ERRORS = (
    "missing line",
    "doubled line",
    "amount off by a nano-dollar",
    "wrong day at midnight UTC",
    "foreign line",
)
_SETTLED = timedelta(days=7)  # before the year's end: younger lines may still be on their way
_TICK = timedelta(microseconds=1)
_DAY = timedelta(days=1)


class Planted(NamedTuple):
    """One error. `job_id` None: the line is nobody's. `day`: the UTC day that the error belongs to."""

    error: str
    provider: str
    job_id: str | None
    line_id: str
    day: date


def plant(
    year: Year, jobs: Iterable[YearJob], lines: Sequence[BookLine], *, of_each: int, seed: int = 1
) -> tuple[list[BookLine], list[Planted]]:
    """The lines with `of_each` errors of each sort for each provider put in, and what was put in. No job has two."""
    chosen = random.Random(seed)
    moments = {job.id: job.submitted_at or job.claimed_at for job in jobs}
    by_provider = _single_charges(year, lines, moments)
    replaced: dict[int, list[BookLine]] = {}
    planted: list[Planted] = []
    for provider in (INVOICED, *SOURCES):
        places = by_provider.get(provider, [])
        at_midnight = [place for place in places if _is_near_midnight(moments[lines[place].job_id or ""])]
        wrong_days = chosen.sample(at_midnight, min(of_each, len(at_midnight)))
        rest = chosen.sample([place for place in places if place not in set(wrong_days)], 4 * of_each)
        for place in wrong_days:
            line = lines[place]
            moment = moments[line.job_id or ""]
            replaced[place] = [line._replace(at=_over_midnight(moment, provider))]
            planted.append(Planted(WRONG_DAY, provider, line.job_id, line.line_id, moment.date()))
        for number, place in enumerate(rest):
            line, error = lines[place], (MISSING, DOUBLED, A_NANO_OFF, FOREIGN)[number % 4]
            wrong = _wrong(line, error, number // 4)
            replaced[place] = [] if wrong is None else [wrong] if error == A_NANO_OFF else [line, wrong]
            found = wrong or line
            moment = line.at if error == FOREIGN else moments[line.job_id or ""]
            planted.append(Planted(error, provider, found.job_id, found.line_id, moment.date()))
    with_errors = [line for place, old in enumerate(lines) for line in replaced.get(place, [old])]
    return with_errors, planted


def _single_charges(year: Year, lines: Sequence[BookLine], moments: dict[str, datetime]) -> dict[str, list[int]]:
    """By provider, where the lines are that are all that their books have of a job, old enough to have come."""
    count: dict[str | None, int] = {}
    for line in lines:
        count[line.job_id] = count.get(line.job_id, 0) + 1
    found: dict[str, list[int]] = {}
    for place, line in enumerate(lines):
        single = line.job_id is not None and count[line.job_id] == 1 and line.kind == "charge"
        if single and moments[line.job_id or ""] < year.end - _SETTLED:
            found.setdefault(line.provider, []).append(place)
    return found


def _is_near_midnight(moment: datetime) -> bool:
    return (moment + 5 * _TICK).time() < time(0, 0, 2)


def _over_midnight(moment: datetime, provider: str) -> datetime:
    """On the other side of the midnight nearby. Books whose charges are entered when they are entered are only wrong where
    the day cannot be right: three days later, at midnight sharp."""
    midnight = datetime.combine((moment + 5 * _TICK).date(), time())
    if provider != INVOICED:
        return midnight + 3 * _DAY
    return midnight if moment < midnight else midnight - _TICK


def _wrong(line: BookLine, error: str, number: int) -> BookLine | None:
    if error == DOUBLED:  # in a file the same row may stand twice, in books each line has an id of its own
        same = line.provider == INVOICED and number % 2 == 0
        return line if same else line._replace(line_id=f"{line.line_id}-again", at=line.at + _TICK)
    if error == A_NANO_OFF:
        return line._replace(nanos=line.nanos + (1 if number % 2 else -1))
    if error == FOREIGN:
        return line._replace(
            line_id=f"{line.line_id}-foreign", reference=f"{line.reference or ''}ffff"[4:], job_id=None
        )
    return None
