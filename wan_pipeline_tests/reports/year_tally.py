"""What the generated year comes to, added up from its jobs alone: the second reading that reports and views are held to.

No SQL and nothing of wan_pipeline is in it. Which day money belongs to: charges, adjustments and all else of a job to its
submission (its claim, where it was never accepted), refunds to the moment at which they took place. All of a job that is
wasted is on the job's day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from wan_pipeline_tests.reports.year_jobs import YearJob

DIMENSIONS = ("provider", "model", "resolution", "sound", "campaign")
COUNTS = ("jobs", "takes", "failed", "ambiguous", "in_flight", "seconds")
AMOUNTS = (
    *("quoted_low", "quoted", "charged", "refunded", "held", "unknown"),
    *("wasted_failed", "wasted_lost", "wasted_duplicate", "wasted_unused"),
)
FIELDS = (*COUNTS, *AMOUNTS)

Key = tuple[str | None, ...]
Sums = dict[str, int]  # by name of FIELDS; amounts in nano-dollars

_SOUND = {True: "sound", False: "silent", None: "not said"}
_IN_FLIGHT = {"submitted", "generated"}
_FAILED = {"failed", "lost", "rejected"}


def _nothing() -> defaultdict[Key, defaultdict[str, int]]:
    return defaultdict(lambda: defaultdict(int))


@dataclass(slots=True)
class Tally:
    """Sums by day and all five dimensions. Jobs are added in the order of their takes."""

    days: defaultdict[date, defaultdict[Key, defaultdict[str, int]]] = field(
        default_factory=lambda: defaultdict(_nothing)
    )
    _newest: dict[str, tuple[date, Key, int]] = field(
        default_factory=dict
    )  # by shot: its newest video, used here alone
    _allowed: dict[str, tuple[date, Key, int]] = field(default_factory=dict)  # by request: it may be bought once more

    @classmethod
    def of(cls, jobs: Iterable[YearJob]) -> Tally:
        tally = cls()
        for job in jobs:
            tally.add(job)
        return tally

    def add(self, job: YearJob) -> None:
        offer = job.offer
        key = (offer.provider, offer.model, offer.resolution, _SOUND[offer.has_audio], job.campaign)
        cell = self.days[job.day][key]
        cell["jobs"] += 1
        cell["takes"] += job.state == "stored"
        cell["failed"] += job.state in _FAILED
        cell["ambiguous"] += job.state == "ambiguous"
        cell["in_flight"] += job.state in _IN_FLIGHT
        cell["seconds"] += offer.duration_s if job.state == "stored" else 0
        cell["quoted_low"] += offer.quoted_low
        cell["quoted"] += offer.quoted_high
        cell["unknown" if job.state == "ambiguous" else "held"] += job.held
        for entry in job.entries:
            if entry.kind in ("charge", "adjustment"):
                cell["charged"] += entry.nanos
            elif entry.kind == "refund":
                self.days[entry.took_place_at.date()][key]["refunded"] += entry.nanos
        self._waste(job, key, job.billed or 0)

    def _waste(self, job: YearJob, key: Key, billed: int) -> None:
        first = self._allowed.pop(job.request_hash, None)
        was_duplicate = first is not None and billed > 0  # bought once more, and both are billed
        if first is not None and was_duplicate:
            self.days[first[0]][first[1]]["wasted_duplicate"] += first[2]
        if job.state == "stored":
            older = self._newest.pop(job.shot, None)
            if older is not None and not was_duplicate:
                self.days[older[0]][older[1]]["wasted_unused"] += older[2]
            if job.duplicate_allowed is not None:
                self._allowed[job.request_hash] = job.day, key, billed
            if job.reused_by is None:
                self._newest[job.shot] = job.day, key, billed
        elif job.state == "failed":
            self.days[job.day][key]["wasted_failed"] += billed
        elif job.state in ("lost", "written_off"):
            self.days[job.day][key]["wasted_lost"] += billed

    def total(self, since: date | None = None, until: date | None = None) -> Sums:
        """Of the days from `since` up to, not including, `until`."""
        return self.by((), since, until).get((), dict.fromkeys(FIELDS, 0))

    def by(self, dimensions: Iterable[str], since: date | None = None, until: date | None = None) -> dict[Key, Sums]:
        """By these dimensions; a key without anything is left out."""
        places = [DIMENSIONS.index(each) for each in dimensions]
        found: dict[Key, Sums] = {}
        for day, cells in self.days.items():
            if (since is None or day >= since) and (until is None or day < until):
                for key, cell in cells.items():
                    sums = found.setdefault(tuple(key[place] for place in places), dict.fromkeys(FIELDS, 0))
                    for name, number in cell.items():
                        sums[name] += number
        return found
