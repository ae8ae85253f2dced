"""The ledger's door: every method is one transaction, safe for threads, processes and hosts.

What belongs here: transactions around the steps. What does not: the steps (claim.py, transitions.py, entries.py), the
questions (rows.py, budget.py, verify.py), the connection (database.py).

A Ledger is one holder of jobs from its first claim to `release_owner` or `close`: one batch, one Ledger (or a release
between two batches), or the second batch takes the first one's jobs for its own and waits for nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar
from uuid import uuid4

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from wan_pipeline.money import Money
from wan_pipeline.spend import budget, claim, resolution, rows, schema, transitions, verify
from wan_pipeline.spend.database import Database, parse_url
from wan_pipeline.spend.owners import Holder, Owner
from wan_pipeline.spend.records import (
    Attempt,
    Budgets,
    BudgetUse,
    ClaimOptions,
    ClaimOutcome,
    Difference,
    Job,
    JobRequest,
    JobState,
    Joined,
    MoneyEntry,
    Standing,
    StoredVideo,
    Take,
)
from wan_pipeline.spend.shot_index import ShotIndex
from wan_pipeline.spend.transitions import Step

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Ledger:
    """The SQL record of jobs and money. `now` is for tests; None is the present (PostgreSQL: by the server's clock)."""

    def __init__(self, database: Database, owner: Owner | None = None) -> None:
        self._database = database
        self._holder = Holder(owner)
        self.index = ShotIndex(database)

    @classmethod
    def open(cls, url: str, *, owner: Owner | None = None) -> Ledger:
        """Opens the ledger, creating or upgrading its tables where need be. Raises ConfigurationError with a remedy."""
        parsed = parse_url(url)
        try:
            database = Database(parsed)
        except OSError as error:
            raise schema.unreachable(parsed, error) from None
        try:
            schema.prepare(database)
        except BaseException:
            database.close()
            raise
        return cls(database, owner)

    @property
    def engine(self) -> Engine:
        """For reports, which read the tables."""
        return self._database.engine

    def check(self) -> None:
        """Raises ConfigurationError unless the ledger answers, can be written to and has this program's version."""
        schema.check(self._database)

    def close(self) -> None:
        """Lets its jobs go and closes the connections. A ledger that cannot be told is only warned about: a holder that
        could not say goodbye is found gone."""
        try:
            self.release_owner()
        except DBAPIError as error:
            _log.warning("the ledger could not be told that %s has ended: %s", self.owner_id, error.orig)
        finally:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- who holds jobs ---

    @property
    def owner_id(self) -> str:
        """This Ledger's id as a holder."""
        return self._holder.id

    def register_owner(self, now: datetime | None = None) -> str:
        """Writes this holder down; a claim does that by itself when it takes something."""
        return self._step(lambda step: step.holder.register(step.connection, step.now), now)

    def heartbeat(self, now: datetime | None = None) -> None:
        """Tells other hosts that this holder lives: every owners.HEARTBEAT_EVERY_S while a batch is under way."""
        self._step(lambda step: step.holder.heartbeat(step.connection, step.now), now)

    def release_owner(self, now: datetime | None = None) -> None:
        """The batch has ended: whatever it leaves in flight is anybody's. Claims after it have a new holder."""
        try:
            if self._holder.may_be_registered:
                self._step(lambda step: step.holder.release(step.connection, step.now), now)
        finally:
            self._holder.released()

    # --- buying ---

    def claim(
        self, request: JobRequest, budgets: Budgets, options: ClaimOptions | None = None, now: datetime | None = None
    ) -> ClaimOutcome:
        """Decides in one transaction what is to become of this request; after `Bought`, and only then, POST once."""
        memory = claim.Memory()
        chosen = options or ClaimOptions()
        return self._step(lambda step: claim.Claim(step, request, budgets, chosen, memory).decide(), now, lock="claims")

    def take_over(self, job_id: str, now: datetime | None = None) -> Joined | Standing:
        """Holds a job under way whose holder is gone: for one that no shot's present request leads to any more (the shot
        has changed since). `Joined(mine=True)`: poll and collect it; `mine=False`: its holder lives; else it stands."""
        memory = claim.Memory()
        return self._step(lambda step: claim.take_over(step, job_id, memory), now, lock="claims")

    def begin_attempt(self, job_id: str, now: datetime | None = None) -> str:
        """reserved -> submitting with a new attempt id, durable: POST once. Only for the holder."""
        attempt_id = uuid4().hex
        self._step(lambda step: transitions.begin_attempt(step, job_id, attempt_id), now)
        return attempt_id

    # --- the answer to a POST ---

    def mark_refused(self, job_id: str, attempt_id: str, reason: str, now: datetime | None = None) -> Job:
        """Too many requests: back to reserved, hold kept."""
        return self._step(lambda step: transitions.mark_sendable(step, job_id, attempt_id, "refused", reason), now)

    def mark_not_sent(self, job_id: str, attempt_id: str, reason: str, now: datetime | None = None) -> Job:
        """No byte left: back to reserved, hold kept."""
        return self._step(lambda step: transitions.mark_sendable(step, job_id, attempt_id, "not_sent", reason), now)

    def mark_accepted(
        self,
        job_id: str,
        attempt_id: str,
        provider_job_id: str,
        reported: Money | None,
        note: str = "",
        now: datetime | None = None,
    ) -> Job:
        """-> submitted. What the provider reports is charged and the hold released; otherwise the hold stays. Works too
        where the job was taken for ambiguous meanwhile: an answer is never lost."""
        return self._step(
            lambda step: transitions.mark_accepted(step, job_id, attempt_id, provider_job_id, reported, note), now
        )

    def mark_rejected(
        self,
        job_id: str,
        attempt_id: str | None,
        reason: str,
        retryable: bool = False,
        now: datetime | None = None,
    ) -> Job:
        """Definitely not accepted: hold released. `attempt_id` None: given up before it was sent (again)."""
        return self._step(lambda step: transitions.mark_rejected(step, job_id, attempt_id, reason, retryable), now)

    def mark_ambiguous(self, job_id: str, attempt_id: str, reason: str, now: datetime | None = None) -> Job:
        """Nobody knows whether it was accepted: hold kept, never sent again by itself."""
        return self._step(lambda step: transitions.mark_ambiguous(step, job_id, attempt_id, reason), now)

    # --- the job at the provider ---

    def mark_generated(
        self, job_id: str, result_url: str, reported: Money | None = None, now: datetime | None = None
    ) -> Job:
        """The result can be fetched. The URL is kept without its query, which may be signed."""
        return self._step(lambda step: transitions.mark_generated(step, job_id, result_url, reported), now)

    def mark_stored(self, job_id: str, video: StoredVideo, now: datetime | None = None) -> Job:
        """The video lies in the bucket. Where nobody reported an amount, the quote's upper bound is charged."""
        return self._step(lambda step: transitions.mark_stored(step, job_id, video), now)

    def mark_failed(self, job_id: str, reason: str, billed: Money | None, now: datetime | None = None) -> Job:
        """The provider says it failed, and charged `billed` for that; None: it does not say."""
        return self._step(lambda step: transitions.mark_failed(step, job_id, reason, billed), now)

    def mark_lost(self, job_id: str, reason: str, now: datetime | None = None) -> Job:
        """Paid, and the result cannot be had any more."""
        return self._step(lambda step: transitions.mark_lost(step, job_id, reason), now)

    # --- what a person has found out about an ambiguous job; `said` is who says so, and why ---

    def resolve_found(self, job_id: str, provider_job_id: str, said: str, now: datetime | None = None) -> Job:
        """-> submitted: it is collected like any other. Raises LedgerError unless it is ambiguous."""
        return self._step(lambda step: resolution.found(step, job_id, provider_job_id, said), now)

    def resolve_not_charged(self, job_id: str, said: str, now: datetime | None = None) -> Job:
        """-> released: the hold is given back. Raises LedgerError unless it is ambiguous."""
        return self._step(lambda step: resolution.not_charged(step, job_id, said), now)

    def resolve_write_off(self, job_id: str, said: str, now: datetime | None = None) -> Job:
        """-> written_off: it counts as spent. Raises LedgerError unless it is ambiguous."""
        return self._step(lambda step: resolution.write_off(step, job_id, said), now)

    # --- questions ---

    def job(self, job_id: str) -> Job:
        """Raises UnknownJobError."""
        return self._read(lambda connection: rows.job(connection, job_id))

    def jobs(
        self,
        state: JobState | Collection[JobState] | None = None,
        shot: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
        *,
        simulated: bool | None = None,
    ) -> list[Job]:
        """Newest first; `since`: claimed at or after that moment; `simulated` None: both kinds."""
        states = [state] if isinstance(state, JobState) else state
        return self._read(
            lambda connection: rows.find_jobs(
                connection, states=states, shot=shot, since=since, simulated=simulated, limit=limit
            )
        )

    def open_jobs(self, shots: Sequence[str] | None = None, *, simulated: bool | None = None) -> list[Job]:
        """In flight: of these shots, or of all; oldest first."""
        return self._read(lambda connection: rows.open_jobs(connection, shots, simulated))

    def takes(self, shot: str) -> list[Take]:
        """The first one first."""
        return self._read(lambda connection: rows.find_takes(connection, shot))

    def current_take(self, shot: str, *, simulated: bool | None = None) -> Take | None:
        """The latest one; `simulated`: the latest one that is (not) simulated."""
        return self._read(lambda connection: rows.current_take(connection, shot, simulated))

    def current_takes(self, *, simulated: bool | None = None) -> dict[str, Take]:
        """Every shot's latest take, in one question."""
        return self._read(lambda connection: rows.current_takes(connection, simulated))

    def attempts(self, job_id: str) -> list[Attempt]:
        """The first one first."""
        return self._read(lambda connection: rows.find_attempts(connection, job_id))

    def entries(self, job_id: str | None = None) -> list[MoneyEntry]:
        """The books, of one job or all, in the order they were written."""
        return self._read(lambda connection: rows.find_entries(connection, job_id))

    def budget_use(self, now: datetime | None = None, *, simulated: bool) -> BudgetUse:
        """What the budgets count today and this month (UTC). Simulated and real money are never one sum."""
        return self._read(
            lambda connection: budget.use(connection, now or self._database.now(connection), simulated=simulated)
        )

    def verify(self) -> list[Difference]:
        """Recomputes what the rows keep; empty: the ledger agrees with itself."""
        return self._read(verify.differences)

    # --- transactions ---

    def _read(self, question: Callable[[Connection], T]) -> T:
        with self._database.read() as connection:
            return question(connection)

    def _step(self, work: Callable[[Step], T], now: datetime | None, lock: str | None = None) -> T:
        def transaction(connection: Connection) -> T:
            if lock is not None:
                self._database.lock(connection, lock)
            # The time is asked for after the lock: claims are dated in the order in which they happen.
            return work(Step(connection, now or self._database.now(connection), self._holder))

        return self._database.write(transaction)
