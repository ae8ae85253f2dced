"""The ledger's side of a period: its jobs, what was given back of them, and which job a reference names. Set-wise SQL.

A reference in a provider's books is its own id of the job; in an invoice it may be our job's or our attempt's too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from wan_pipeline.money import Money
from wan_pipeline.providers.catalog import catalog
from wan_pipeline.reconciliation.sides import CLOCK_SKEW, GivenBack, OurJob
from wan_pipeline.reports.period import Period
from wan_pipeline.spend.audit_records import StatementLine
from wan_pipeline.spend.audit_tables import statement_lines
from wan_pipeline.spend.records import Basis, EntryKind, JobState
from wan_pipeline.spend.statements import newest, to_line
from wan_pipeline.spend.tables import attempts, jobs, money_entries

_AT_ONCE = 500
_COLUMNS = (
    jobs.c.id,
    jobs.c.shot,
    jobs.c.take,
    jobs.c.model,
    jobs.c.state,
    jobs.c.provider_job_id,
    jobs.c.attempt_id,
    jobs.c.billed_nanos,
    jobs.c.basis,
    jobs.c.quoted_low_nanos,
    jobs.c.quoted_high_nanos,
    jobs.c.video_uri,
    jobs.c.claimed_at,
    jobs.c.sent_at,
    jobs.c.submitted_at,
    jobs.c.generated_at,
    jobs.c.updated_at,
)
_SETTLED_WHEN_CHANGED = frozenset({JobState.FAILED, JobState.LOST, JobState.WRITTEN_OFF})


@dataclass(frozen=True, slots=True)
class Corrected:
    """An entry by which a job's bill was brought to what a provider's books say."""

    job_id: str
    shot: str
    kind: EntryKind
    amount: Money
    at: datetime
    note: str


@dataclass(slots=True)
class LedgerSide:
    """What is known of a provider's jobs; grows as references are looked up."""

    engine: Engine
    provider: str
    simulated: bool
    period: Period
    jobs: dict[str, OurJob] = field(default_factory=dict[str, OurJob])
    known: dict[str, str] = field(default_factory=dict[str, str])
    ambiguous: tuple[OurJob, ...] = ()
    _asked: set[str] = field(default_factory=set[str])

    @classmethod
    def read(cls, engine: Engine, provider: str, period: Period, *, simulated: bool) -> LedgerSide:
        """The jobs that were submitted in the period, and those of which something was given back in it."""
        side = cls(engine, provider, simulated, period)
        back_at = sa.func.coalesce(money_entries.c.effective_at, money_entries.c.at)
        refunded = sa.select(money_entries.c.job_id).where(
            money_entries.c.kind == EntryKind.REFUND.value,
            back_at >= period.since,
            back_at < period.until,
            money_entries.c.at >= period.since - CLOCK_SKEW,  # written after it took place; what is older has an index
        )
        with engine.connect() as connection:
            side._add(connection, [submitted_in(period)])
            side._add(connection, [jobs.c.id.in_(refunded)])
            where = [jobs.c.state == JobState.AMBIGUOUS.value, *side._mine()]
            rows = connection.execute(sa.select(*_COLUMNS).where(*where).order_by(jobs.c.id)).mappings()
            side.ambiguous = tuple(_job(row) for row in rows)
        return side

    def lines_of_jobs(self) -> list[StatementLine]:
        """The kept lines of the provider's books that name a job submitted in the period, whenever they were entered."""
        query = (
            sa.select(statement_lines)
            .where(
                statement_lines.c.provider == self.provider,
                statement_lines.c.simulated == self.simulated,
                statement_lines.c.reference.in_(
                    sa.select(jobs.c.provider_job_id).where(*self._mine(), submitted_in(self.period))
                ),
                newest(),
            )
            .order_by(statement_lines.c.at, statement_lines.c.id)
        )
        with self.engine.connect() as connection:
            return [to_line(row) for row in connection.execute(query).mappings()]

    def look_up(self, references: Iterable[str]) -> None:
        """Finds the jobs that these references name, as the provider's id, our job's or our attempt's."""
        unknown = sorted(set(references) - self.known.keys() - self._asked)
        self._asked.update(unknown)
        with self.engine.connect() as connection:
            for some in _chunks(unknown):
                self._add(connection, [jobs.c.provider_job_id.in_(some)])
                rest = [each for each in some if each not in self.known]
                if rest:
                    self._add_by_our_ids(connection, rest)

    def tie(self, attempts_by_reference: Mapping[str, str]) -> None:
        """These references are these attempts', by the provider's own word."""
        wanted = {ref: attempt for ref, attempt in attempts_by_reference.items() if ref not in self.known}
        self.look_up(wanted.values())
        for reference, attempt in wanted.items():
            if attempt in self.known:
                self.known[reference] = self.known[attempt]

    def unknown(self, references: Iterable[str]) -> list[str]:
        """Those that name no job of the ledger, as far as they were looked up."""
        return [each for each in references if each not in self.known]

    def corrected(self) -> list[Corrected]:
        """Every correction and every refund by a provider's books of the period's jobs, in the order in which they were
        written."""
        query = (
            sa.select(
                money_entries.c.job_id,
                jobs.c.shot,
                money_entries.c.kind,
                money_entries.c.amount_nanos,
                money_entries.c.at,
                money_entries.c.note,
            )
            .join(jobs, jobs.c.id == money_entries.c.job_id)
            .where(
                *self._mine(),
                submitted_in(self.period),
                money_entries.c.basis == Basis.INVOICED.value,
            )
            .order_by(money_entries.c.id)
        )
        with self.engine.connect() as connection:
            return [
                Corrected(row[0], row[1], EntryKind(row[2]), Money(int(row[3])), row[4], row[5])
                for row in connection.execute(query)
            ]

    def _mine(self) -> list[sa.ColumnElement[bool]]:
        return [jobs.c.provider == self.provider, jobs.c.simulated == self.simulated]

    def _add_by_our_ids(self, connection: Connection, ids: Sequence[str]) -> None:
        self._add(connection, [jobs.c.id.in_(ids)])
        query = sa.select(attempts.c.id, attempts.c.job_id).where(attempts.c.id.in_(ids))
        tried: dict[str, str] = {row[0]: row[1] for row in connection.execute(query)}
        self._add(connection, [jobs.c.id.in_(sorted(set(tried.values())))])
        for attempt, job_id in tried.items():
            job = self.jobs.get(job_id)
            if job is not None:
                self.known[attempt] = job_id
                self.jobs[job_id] = replace(job, attempts=(*job.attempts, attempt)) if job.attempts else job

    def _add(self, connection: Connection, where: Collection[sa.ColumnElement[bool]]) -> None:
        rows = connection.execute(sa.select(*_COLUMNS).where(*self._mine(), *where)).mappings().all()
        found = {row["id"]: _job(row) for row in rows if row["id"] not in self.jobs}
        sent_as: dict[str, str | None] = {row["id"]: row["attempt_id"] for row in rows}
        back = self._given_back(connection, where) if found else {}
        for job_id, job in found.items():
            self.jobs[job_id] = replace(job, refunds=tuple(back[job_id])) if job_id in back else job
            self.known[job_id] = job_id
            if (attempt := sent_as[job_id]) is not None:
                self.known[attempt] = job_id
            if job.provider_job_id is not None:
                self.known[job.provider_job_id] = job_id

    def _given_back(
        self, connection: Connection, where: Collection[sa.ColumnElement[bool]]
    ) -> dict[str, list[GivenBack]]:
        query = (
            sa.select(
                money_entries.c.job_id, money_entries.c.amount_nanos, money_entries.c.at, money_entries.c.effective_at
            )
            .join(jobs, jobs.c.id == money_entries.c.job_id)
            .where(*self._mine(), *where, money_entries.c.kind == EntryKind.REFUND.value)
            .order_by(money_entries.c.id)
        )
        found: dict[str, list[GivenBack]] = {}
        for job_id, nanos, at, effective_at in connection.execute(query):
            back = GivenBack(Money(int(nanos)), effective_at or at, told=effective_at is not None)
            found.setdefault(job_id, []).append(back)
        return found


def submitted_in(period: Period) -> sa.ColumnElement[bool]:
    """Jobs whose charge belongs to the period; written so that the indexes of both columns serve."""
    since, until = period.since, period.until
    return sa.or_(
        sa.and_(jobs.c.submitted_at >= since, jobs.c.submitted_at < until),
        sa.and_(jobs.c.submitted_at.is_(None), jobs.c.claimed_at >= since, jobs.c.claimed_at < until),
    )


def _job(row: Any) -> OurJob:
    state = JobState(row["state"])
    ambiguous = state is JobState.AMBIGUOUS
    moment = (row["sent_at"] if ambiguous else row["submitted_at"]) or row["claimed_at"]
    ended_at = row["updated_at"] if state in _SETTLED_WHEN_CHANGED else row["generated_at"]
    model = catalog().get(row["model"])
    billed = row["billed_nanos"]
    return OurJob(
        id=row["id"],
        shot=row["shot"],
        take=row["take"],
        model=row["model"],
        upstream=model.upstream_id if model else row["model"],
        state=state,
        provider_job_id=row["provider_job_id"],
        moment=moment,
        settled_at=max(moment, ended_at or moment),
        billed=None if billed is None else Money(int(billed)),
        basis=None if row["basis"] is None else Basis(row["basis"]),
        quoted_low=Money(int(row["quoted_low_nanos"])),
        quoted_high=Money(int(row["quoted_high_nanos"])),
        refunds=(),
        video_uri=row["video_uri"],
        attempts=(row["attempt_id"],) if ambiguous and row["attempt_id"] else (),
    )


def _chunks(keys: Sequence[str]) -> Iterable[Sequence[str]]:
    for start in range(0, len(keys), _AT_ONCE):
        yield keys[start : start + _AT_ONCE]
