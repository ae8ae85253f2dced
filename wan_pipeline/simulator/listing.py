"""What the providers' listings show of the books: one page at a time, found by an index, cut off in SQL.

Quick with a hundred thousand jobs. What the listings look like, and what they refuse, is in the providers' modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from wan_pipeline.simulator.books import Books
from wan_pipeline.simulator.records import QUEUED_SHARE, Job, State, microseconds, moment

_FAR = 1 << 62  # microseconds: beyond any bound
_BEHIND_JOBS = 1_000_000_000_000  # no job has that number


@dataclass(frozen=True)
class Charged:
    """A finished job, and when the account shows its charge, or what was given back of it. (`at_us`, `number`) is its
    place in the account's order."""

    job_id: str
    number: int
    model: str
    nanos: int
    at_us: int

    @property
    def at(self) -> datetime:
        return moment(self.at_us)


@dataclass(frozen=True)
class Billed:
    """A charge or refund as the account shows it: `at` is when it got there."""

    id: int
    kind: Literal["charge", "refund"]
    nanos: int
    at: datetime
    job: Job


class Listings:
    """Pages over the books of one folder. Times are inclusive where not said otherwise; None: no bound."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def ended(
        self,
        provider: str,
        key: str,
        window: tuple[datetime, datetime],
        kinds: frozenset[Literal["succeeded", "failed"]],
        page: tuple[int, int],
        lag_s: float,
    ) -> tuple[list[Job], int]:
        """The jobs of this key that were created in the window and ended `lag_s` ago, newest first; and how many in all.

        `page`: how many, after how many. Jobs of books that did not know keys yet are everybody's.
        """
        fails = [int(kind == "failed") for kind in sorted(kinds)]
        where = (
            "provider = ? AND created_us BETWEEN ? AND ? AND ready_us <= ? AND (key IS NULL OR key = ?)"
            f" AND fails IN ({_marks(fails)})"
        )
        values = [provider, microseconds(window[0]), microseconds(window[1]), self._now_us() - _us(lag_s), key, *fails]
        return self._page(where, values, page)

    def charged(
        self,
        provider: str,
        since: datetime | None,
        before: datetime | None,
        after: tuple[int, int] | None,
        limit: int,
        lag_s: float,
    ) -> list[Charged]:
        """What finished jobs cost, as it gets into the account `lag_s` after the job's end, newest first.

        A job that fails costs nothing. `before` is exclusive; `after` continues behind that place in the order.
        """
        lag_us = _us(lag_s)
        where, values = ["provider = ?", "fails = 0", "ready_us <= ?"], [provider, self._now_us() - lag_us]
        if since is not None:
            where.append("ready_us >= ?")
            values.append(microseconds(since) - lag_us)
        if before is not None:
            where.append("ready_us < ?")
            values.append(microseconds(before) - lag_us)
        if after is not None:
            where.append("(ready_us, number) < (?, ?)")
            values += [after[0] - lag_us, after[1]]
        rows = self._books.select(
            f"SELECT id, number, model, charged_nanos, ready_us FROM jobs INDEXED BY jobs_by_end WHERE {' AND '.join(where)}"  # noqa: S608
            " ORDER BY ready_us DESC, number DESC LIMIT ?",
            *values,
            limit,
        )
        return [Charged(row[0], row[1], row[2], row[3], row[4] + lag_us) for row in rows]

    def given_back(
        self,
        provider: str,
        since: datetime | None,
        before: datetime | None,
        after: tuple[int, int] | None,
        limit: int,
        lag_s: float,
    ) -> list[Charged]:
        """Refunds of jobs that did not fail, newest first; bounds as for `charged`. Numbered behind all jobs."""
        lag_us = _us(lag_s)
        first, last = since and microseconds(since) - lag_us, before and microseconds(before) - lag_us
        rows = self._books.select(
            "SELECT jobs.id, ? + entries.id, jobs.model, entries.nanos, entries.at_us FROM entries"
            " JOIN jobs ON jobs.id = entries.job_id WHERE entries.provider = ? AND kind = 'refund' AND jobs.fails = 0"
            " AND at_us <= ? AND at_us >= ? AND at_us < ? AND (at_us, ? + entries.id) < (?, ?)"
            " ORDER BY at_us DESC, entries.id DESC LIMIT ?",
            _BEHIND_JOBS,
            provider,
            self._now_us() - lag_us,
            -_FAR if first is None else first,
            _FAR if last is None else last,
            _BEHIND_JOBS,
            *((_FAR, 0) if after is None else (after[0] - lag_us, after[1])),
            limit,
        )
        return [Charged(row[0], row[1], row[2], row[3], row[4] + lag_us) for row in rows]

    def jobs(
        self,
        provider: str,
        created: tuple[datetime | None, datetime | None],
        state: State | None,
        page: tuple[int, int],
        kept_s: float,
    ) -> list[Job]:
        """The jobs created between the two, newest first, of those that are younger than `kept_s`."""
        now_us = self._now_us()
        where, values = "provider = ? AND created_us > ?", [provider, now_us - _us(kept_s)]
        if created[0] is not None:
            where += " AND created_us >= ?"
            values.append(microseconds(created[0]))
        if created[1] is not None:
            where += " AND created_us <= ?"
            values.append(microseconds(created[1]))
        if state in ("completed", "failed"):
            where += f" AND ready_us <= ? AND fails = {int(state == 'failed')}"
            values.append(now_us)
        elif state is not None:
            working = f"created_us + {QUEUED_SHARE} * (ready_us - created_us) <= ?"
            where += f" AND ready_us > ? AND {'' if state == 'generating' else 'NOT '}{working}"
            values += [now_us, now_us]
        return self._page(where, values, page, counted=False)[0]

    def billed(
        self,
        provider: str,
        kind: Literal["charge", "refund"] | None,
        job_ids: Sequence[str] | None,
        between: tuple[datetime | None, datetime | None],
        page: tuple[int, int],
        lag_s: float,
        *,
        oldest_first: bool,
    ) -> tuple[list[Billed], int]:
        """Charges and refunds as they get into the account, `lag_s` after they count; and how many in all."""
        lag_us = _us(lag_s)
        where, values = ["provider = ?", "at_us <= ?"], [provider, self._now_us() - lag_us]
        if kind is not None:
            where.append("kind = ?")
            values.append(kind)
        if job_ids is not None:
            where.append(f"job_id IN ({_marks(job_ids)})")
            values += job_ids
        if between[0] is not None:
            where.append("at_us >= ?")
            values.append(microseconds(between[0]) - lag_us)
        if between[1] is not None:
            where.append("at_us <= ?")
            values.append(microseconds(between[1]) - lag_us)
        by = "entries_by_time" if job_ids is None else "entries_of_job"
        rest = f"FROM entries INDEXED BY {by} WHERE {' AND '.join(where)}"
        order = "ASC" if oldest_first else "DESC"
        count = int(self._books.select(f"SELECT count(*) {rest}", *values)[0][0])
        rows = self._books.select(
            f"SELECT id, kind, nanos, at_us, job_id {rest} ORDER BY at_us {order}, id {order} LIMIT ? OFFSET ?",
            *values,
            *page,
        )
        if not rows:
            return [], count
        of = {job.id: job for job in self._books.select_jobs(f"id IN ({_marks(rows)})", *(row[4] for row in rows))}
        return [Billed(row[0], row[1], row[2], moment(row[3] + lag_us), of[row[4]]) for row in rows], count

    def _page(
        self, where: str, values: Sequence[Any], page: tuple[int, int], *, counted: bool = True
    ) -> tuple[list[Job], int]:
        # The inner query is answered by the index alone, however far into the list the page lies.
        newest = "ORDER BY created_us DESC, number DESC"
        inner = f"SELECT number FROM jobs INDEXED BY jobs_by_creation WHERE {where} {newest} LIMIT ? OFFSET ?"  # noqa: S608
        jobs = self._books.select_jobs(f"number IN ({inner}) {newest}", *values, *page)
        count = f"SELECT count(*) FROM jobs INDEXED BY jobs_by_creation WHERE {where}"  # noqa: S608
        return jobs, int(self._books.select(count, *values)[0][0]) if counted else 0

    def _now_us(self) -> int:
        return round(self._books.now_s() * 1_000_000)


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _marks(values: Sequence[Any]) -> str:
    return ",".join("?" * len(values))
