"""A generated year of a ledger: what a team may have bought in 400 days, down to refunds on later days and jobs at midnight.

The same year for the same seed, number of jobs, days and last day. All of it is live money. What is in it: five models, both
kinds of sound, campaigns, new takes, videos that several shots use, refused first attempts, failures (billed, given back at
once or days later), lost videos, rejections, ambiguities in all their ends, duplicates that a person allowed, corrections,
refunds on later days and at midnight sharp, jobs within a microsecond of midnight and of a month's end. What would happen
after the year's end has not happened: some jobs are in flight.

Writing it: year_writing.py. The providers' books of the same year: year_books.py.
"""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from wan_pipeline_tests.reports.year_jobs import Entry, YearJob
from wan_pipeline_tests.reports.year_offers import CAMPAIGNS, REPORTS_AMOUNTS, Offer, offers

_PER_MILLE = {
    "failed": 30,
    "rejected": 20,
    "lost": 4,
    "absent": 3,
    "ambiguous": 2,
    "found_late": 2,
    "not_charged": 1,
    "written_off": 2,
}
_ENDINGS = [fate for fate, count in _PER_MILLE.items() for _ in range(count)]
_FATES = [*_ENDINGS, *["stored"] * (1000 - len(_ENDINGS))]
_SLOW = timedelta(hours=6)  # within this before the year's end, only what ends at once ends
_SECOND = timedelta(seconds=1)
_TICK = timedelta(microseconds=1)
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Year:
    """`jobs` jobs in `days` UTC days, of which `last_day` (default: yesterday) is the last."""

    jobs: int = 1_000_000
    days: int = 400
    seed: int = 1
    last_day: date = field(default_factory=lambda: datetime.now(UTC).date() - timedelta(days=1))

    @property
    def first_day(self) -> date:
        return self.last_day - timedelta(days=self.days - 1)

    @property
    def end(self) -> datetime:
        """The first moment after it, UTC, without a time zone."""
        return datetime.combine(self.last_day, time()) + timedelta(days=1)

    @property
    def every_day(self) -> list[date]:
        return [self.first_day + timedelta(days=number) for number in range(self.days)]

    def batches(self) -> Iterator[Batch]:
        """Day by day, in the order of time."""
        return _Maker(self).batches()

    def each_job(self) -> Iterator[YearJob]:
        """In the order of time; a million are not held at once."""
        return (job for batch in self.batches() for job in batch.jobs)

    def all_jobs(self) -> list[YearJob]:
        """For a small year."""
        return list(self.each_job())


SMALL = Year(jobs=1500, days=45, seed=4, last_day=date(2026, 11, 5))  # over two months' ends: for tests


class Batch(NamedTuple):
    """What was claimed on a day, and the money entries that were written on it, of whatever day's jobs."""

    day: date
    jobs: list[YearJob]
    entries: list[tuple[str, Entry]]  # with the job's id


class _Plan(NamedTuple):
    shot: str
    take: int
    offer: Offer
    campaign: str | None
    request_hash: str
    repeat: int


class _Maker:
    """Makes one year. Not to be used twice."""

    def __init__(self, year: Year) -> None:
        self._year = year
        self._end = year.end
        self._random = random.Random(year.seed).random
        self._offers = offers()
        self._shots = self._number = 0
        self._wanted_again: defaultdict[date, list[_Plan]] = defaultdict(list)
        self._entries: defaultdict[date, list[tuple[str, Entry]]] = defaultdict(list)
        self._lives = {fate: getattr(self, f"_{fate}") for fate in set(_FATES)}

    def batches(self) -> Iterator[Batch]:
        year = self._year
        weights = [7 if day.weekday() < 5 else 3 for day in year.every_day]  # fewer at the weekend
        made, weight_so_far, in_all = 0, 0, sum(weights)
        for day, weight in zip(year.every_day, weights, strict=True):
            weight_so_far += weight
            jobs = self._day(day, year.jobs * weight_so_far // in_all - made)
            made += len(jobs)
            yield Batch(day, jobs, sorted(self._entries.pop(day, []), key=lambda item: item[1].at))

    def _day(self, day: date, count: int) -> list[YearJob]:
        midnight = datetime.combine(day, time())
        again = self._wanted_again.pop(day, [])
        jobs: list[YearJob] = []
        while len(jobs) < count:
            plan = again.pop() if again else self._new_plan()
            claimed_at = midnight + timedelta(microseconds=int(self._random() * (_DAY_S - 60) * 1e6))
            if day == self._year.last_day and self._random() < 0.1:  # in flight at the end
                claimed_at = self._end - _SECOND * (10 + int(self._random() * 120))
            fate = _FATES[int(self._random() * 1000)]
            if self._end - claimed_at < _SLOW:
                fate = "stored"
            jobs += self._lives[fate](plan, claimed_at)
        self._wanted_again[day + timedelta(days=1)] += again
        for job in jobs:
            for entry in job.entries:
                self._entries[entry.at.date()].append((job.id, entry))
        return sorted(jobs, key=lambda job: job.claimed_at)

    # --- what is asked for ---

    def _new_plan(self) -> _Plan:
        self._shots += 1
        campaign = CAMPAIGNS[self._shots % len(CAMPAIGNS)]
        folder = "misc" if campaign is None else campaign
        return _Plan(f"{folder}/{self._shots:07d}", 1, self._any_offer(), campaign, self._new_hash(), 1)

    def _any_offer(self) -> Offer:
        return self._offers[int(self._random() * len(self._offers))]

    def _new_hash(self) -> str:
        self._number += 1
        return hashlib.sha256(f"{self._year.seed} {self._number}".encode()).hexdigest()

    def _ask_again(self, plan: _Plan, after: datetime, *, changed: bool) -> None:
        """The shot's next take, on a later day: the same request once more, or another one."""
        following = plan._replace(take=plan.take + 1, repeat=plan.repeat + 1)
        if changed:
            following = following._replace(request_hash=self._new_hash(), repeat=1, offer=self._any_offer())
        self._wanted_again[after.date() + timedelta(days=1 + int(self._random() * 20))].append(following)

    # --- lives ---

    def _stored(self, plan: _Plan, claimed_at: datetime, *, may_move: bool = True) -> list[YearJob]:
        claimed_at, submitted_at = self._accepted_at(claimed_at, may_move=may_move)
        generated_at = submitted_at + _SECOND * (60 + int(self._random() * 120))
        stored_at = generated_at + _SECOND * (900 if self._random() < 0.05 else 3)
        entries = self._paid(plan, claimed_at, submitted_at, stored_at, "stored")
        state = "stored" if stored_at < self._end else "generated" if generated_at < self._end else "submitted"
        job = self._job(plan, claimed_at, state, entries, submitted_at=submitted_at, accepted=True)
        job = job._replace(
            generated_at=generated_at if generated_at < self._end else None,
            stored_at=stored_at if state == "stored" else None,
            refused_before=self._random() < 0.03,
        )
        if state != "stored":
            return [job]
        chance = self._random()
        if chance < 0.08:
            self._ask_again(plan, stored_at, changed=chance < 0.04)
        elif chance < 0.09:
            job = job._replace(reused_by=f"{plan.shot}/copy{plan.take}")
        return [self._later(job, stored_at)]

    def _failed(self, plan: _Plan, claimed_at: datetime) -> list[YearJob]:
        claimed_at, submitted_at = self._accepted_at(claimed_at)
        failed_at = submitted_at + _SECOND * (20 + int(self._random() * 120))
        entries = self._paid(plan, claimed_at, submitted_at, failed_at, "failed")
        bill = sum(entry.nanos for entry in entries if entry.kind == "charge")
        chance = self._random()
        if chance < 0.7 and plan.offer.provider == "wavespeed":  # given back within three hours, found out a day later
            back_at = failed_at + _SECOND * int(self._random() * 10_000)
            told_at = back_at + timedelta(days=1)
            entries.append(Entry("refund", bill, "invoiced", told_at, "in WaveSpeed's billing", back_at))
        elif chance < 0.7:
            entries.append(Entry("refund", bill, "reported", failed_at, "failed, billed as the provider says"))
        if chance < 0.4:
            self._ask_again(plan, failed_at, changed=chance < 0.2)
        job = self._job(plan, claimed_at, "failed", entries, submitted_at=submitted_at, accepted=True)
        return [job._replace(error="the provider could not make it")]

    def _lost(self, plan: _Plan, claimed_at: datetime) -> list[YearJob]:
        claimed_at, submitted_at = self._accepted_at(claimed_at)
        lost_at = submitted_at + _SECOND * 7200
        entries = self._paid(plan, claimed_at, submitted_at, lost_at, "lost")
        job = self._job(plan, claimed_at, "lost", entries, submitted_at=submitted_at, accepted=True)
        return [
            self._later(job._replace(generated_at=submitted_at + 90 * _SECOND, error="its URL had expired"), lost_at)
        ]

    def _rejected(self, plan: _Plan, claimed_at: datetime) -> list[YearJob]:
        entries = [self._hold(plan, claimed_at), self._release(plan, claimed_at + _SECOND, "rejected")]
        self._ask_again(plan, claimed_at, changed=True)
        return [self._job(plan, claimed_at, "rejected", entries)._replace(error="the picture is too small")]

    def _ambiguous(self, plan: _Plan, claimed_at: datetime) -> list[YearJob]:
        job = self._job(plan, claimed_at, "ambiguous", [self._hold(plan, claimed_at)])
        return [job._replace(doubted_at=claimed_at + 30 * _SECOND, error="read timeout")]

    def _absent(self, plan: _Plan, claimed_at: datetime) -> list[YearJob]:
        """Looked for, nowhere: given up, and bought anew the same day."""
        job = self._given_up(plan, claimed_at, "absent: not in its books")._replace(retryable=True)
        return [job, *self._bought_anew(plan, claimed_at + timedelta(minutes=61))]

    def _not_charged(self, plan: _Plan, claimed_at: datetime) -> list[YearJob]:
        """A person says that it was not taken."""
        return [self._given_up(plan, claimed_at, "not charged: the account shows nothing")]

    def _given_up(self, plan: _Plan, claimed_at: datetime, words: str) -> YearJob:
        entries = [self._hold(plan, claimed_at), self._release(plan, claimed_at + timedelta(hours=1), words)]
        job = self._job(plan, claimed_at, "released", entries)
        return job._replace(doubted_at=claimed_at + 30 * _SECOND, error=words)

    def _written_off(self, plan: _Plan, claimed_at: datetime) -> list[YearJob]:
        """It may have cost; half of them are bought anew. Whose books a program can read shows within days that it did not:
        corrected to nothing."""
        off_at, has_books = claimed_at + timedelta(hours=2), plan.offer.provider != "shortapi"
        if has_books and self._end - off_at < timedelta(days=6):
            return self._not_charged(plan, claimed_at)
        words = "written off: nobody can tell"
        entries = [
            self._hold(plan, claimed_at),
            Entry("charge", plan.offer.quoted_high, "quoted", off_at, words),
            self._release(plan, off_at, words),
        ]
        if has_books:
            seen_at = off_at + timedelta(days=1 + int(self._random() * 5))
            entries.append(
                Entry("adjustment", -plan.offer.quoted_high, "invoiced", seen_at, "accepted: not in its books")
            )
        job = self._job(plan, claimed_at, "written_off", entries)
        job = job._replace(doubted_at=claimed_at + 30 * _SECOND, error=words)
        if self._random() < 0.5:
            return [job]
        job = job._replace(duplicate_allowed=plan.offer.quoted_high)
        return [job, *self._bought_anew(plan, off_at + 60 * _SECOND)]

    def _found_late(self, plan: _Plan, claimed_at: datetime) -> list[YearJob]:
        """Given up with leave to buy it anew, and found after all: paid twice, both videos are there."""
        midnight = datetime.combine(claimed_at.date(), time())
        claimed_at = midnight + (claimed_at - midnight) / 2  # the whole story on one day
        released_at, found_at = claimed_at + timedelta(hours=1), claimed_at + timedelta(hours=3)
        stored_at = found_at + 60 * _SECOND
        entries = [self._hold(plan, claimed_at), self._release(plan, released_at, "not charged")]
        entries += self._paid(plan, found_at, found_at, stored_at, "stored")
        job = self._job(plan, claimed_at, "stored", entries, submitted_at=found_at, accepted=True)
        job = job._replace(
            generated_at=found_at + 30 * _SECOND,
            stored_at=stored_at,
            doubted_at=claimed_at + 30 * _SECOND,
            duplicate_allowed=plan.offer.quoted_high,
        )
        return [job, *self._bought_anew(plan, released_at + 60 * _SECOND)]

    # --- parts of lives ---

    def _bought_anew(self, plan: _Plan, claimed_at: datetime) -> list[YearJob]:
        """After what it takes the place of, so at no other moment."""
        again = plan._replace(take=plan.take + 1, repeat=plan.repeat + 1)
        return self._stored(again, claimed_at, may_move=False)

    def _accepted_at(self, claimed_at: datetime, *, may_move: bool = True) -> tuple[datetime, datetime]:
        """When it was claimed and when submitted: a second later, or around midnight, where it may be moved there."""
        midnight = datetime.combine(claimed_at.date(), time()) + timedelta(days=1)
        near = 0.3 if midnight.day == 1 else 0.01  # more of them at a month's end
        if midnight == self._end or self._random() >= near or not may_move:
            return claimed_at, claimed_at + timedelta(microseconds=300_000 + int(self._random() * 2_000_000))
        return (
            (midnight - _SECOND, midnight),
            (midnight - _SECOND, midnight - _TICK),
            (midnight - _TICK, midnight + _SECOND),
            (midnight - timedelta(days=1), midnight - timedelta(days=1) + _TICK),
        )[int(self._random() * 4)]

    def _paid(
        self, plan: _Plan, claimed_at: datetime, submitted_at: datetime, ended_at: datetime, end: str
    ) -> list[Entry]:
        """Billed as reported with the submission's answer, or as quoted at its end."""
        entries = [self._hold(plan, claimed_at)]
        if plan.offer.provider in REPORTS_AMOUNTS:
            bill = plan.offer.bills[int(self._random() * len(plan.offer.bills))]
            entries.append(Entry("charge", bill, "reported", submitted_at, "accepted"))
            entries.append(self._release(plan, submitted_at, "billed as reported"))
        elif ended_at < self._end:
            entries.append(Entry("charge", plan.offer.quoted_high, "quoted", ended_at, f"{end}; nothing was reported"))
            entries.append(self._release(plan, ended_at, end))
        return entries

    def _hold(self, plan: _Plan, at: datetime) -> Entry:
        return Entry("hold", plan.offer.quoted_high, "quoted", at, f"claimed by {plan.shot}, take {plan.take}")

    def _release(self, plan: _Plan, at: datetime, note: str) -> Entry:
        return Entry("release", plan.offer.quoted_high, None, at, note)

    def _later(self, job: YearJob, ended_at: datetime) -> YearJob:
        """Now and then the provider's books say something else afterwards, or it gives money back."""
        chance = self._random()
        if chance >= 0.012:
            return job
        billed, day = job.billed or 0, timedelta(days=1)
        moment = ended_at + day * int(self._random() * 30) + _SECOND * int(self._random() * _DAY_S)
        if chance < 0.006:
            amount = (billed, billed // 3, 1)[int(self._random() * 3)]
            if self._random() < 0.25:
                moment = datetime.combine(moment.date(), time()) + day  # at midnight sharp
            told_at = moment + day * int(self._random() * 3)
            entry = Entry("refund", min(amount, billed), "invoiced", told_at, "in the provider's books", moment)
        else:
            amount = (1, -1, billed // 50, -(billed // 7))[int(self._random() * 4)]
            entry = Entry("adjustment", amount or 1, "invoiced", moment, "the provider's books say so")
        return job._replace(entries=(*job.entries, entry)) if entry.at < self._end else job

    def _job(
        self,
        plan: _Plan,
        claimed_at: datetime,
        state: str,
        entries: list[Entry],
        submitted_at: datetime | None = None,
        accepted: bool = False,
    ) -> YearJob:
        fingerprint = hashlib.sha256(f"{plan.request_hash}:{plan.repeat}".encode()).hexdigest()
        return YearJob(
            f"j{fingerprint[-12:]}",
            plan.shot,
            plan.take,
            plan.offer,
            plan.campaign,
            plan.request_hash,
            plan.repeat,
            fingerprint,
            state,
            claimed_at,
            tuple(entry for entry in entries if entry.at < self._end),
            submitted_at=submitted_at,
            accepted=accepted,
        )
