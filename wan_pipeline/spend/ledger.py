"""The ledger's door: every method is one transaction, safe for threads, processes and hosts.

What belongs here: transactions around the steps. What does not: the steps (claim.py, transitions.py, entries.py), the
questions (questions.py), the search for what was lost (ambiguities.py), the connection (database.py).

A Ledger is one holder of jobs from its first claim to `release_owner` or `close`: one batch, one Ledger (or a release
between two batches), or the second batch takes the first one's jobs for its own and waits for nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from wan_pipeline.money import Money
from wan_pipeline.spend import claim, restoring, schema, sending, totals, transitions
from wan_pipeline.spend.alerts import Alerts
from wan_pipeline.spend.ambiguities import Ambiguities
from wan_pipeline.spend.correcting import Corrections
from wan_pipeline.spend.database import Database, parse_url
from wan_pipeline.spend.deferrals import Deferrals
from wan_pipeline.spend.owners import Owner, is_alone
from wan_pipeline.spend.questions import Questions
from wan_pipeline.spend.records import (
    Budgets,
    ClaimOptions,
    ClaimOutcome,
    Job,
    JobRequest,
    Joined,
    OverBudget,
    ProviderBusy,
    RestoredTake,
    Standing,
    StoredVideo,
    SubmitLimits,
)
from wan_pipeline.spend.shot_index import ShotIndex
from wan_pipeline.spend.statements import Statements
from wan_pipeline.spend.transacting import CLAIMS

_log = logging.getLogger(__name__)


class Ledger(Questions, Ambiguities, Corrections):
    """The SQL record of jobs and money."""

    def __init__(self, database: Database, owner: Owner | None = None) -> None:
        super().__init__(database, owner)
        self.index = ShotIndex(database)
        self.deferrals = Deferrals(database)
        self.statements = Statements(database)
        self.alerts = Alerts(database)

    @classmethod
    def open(cls, url: str, *, owner: Owner | None = None, clock: Callable[[], datetime] | None = None) -> Ledger:
        """Opens the ledger, creating or upgrading its tables where need be. Raises ConfigurationError with a remedy.

        `clock` takes the place of the server's time (PostgreSQL) or this host's (SQLite): for tests, in which it jumps.
        """
        parsed = parse_url(url)
        try:
            database = Database(parsed, clock)
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

    def register_mark(self) -> str:
        """Writes this holder down as the mark of a run: it lives as long as the run, and holds no jobs."""
        self._holder.is_mark = True
        return self.register_owner()

    def heartbeat(self, now: datetime | None = None) -> None:
        """Tells other hosts that this holder lives: every owners.HEARTBEAT_EVERY_S while a batch is under way."""
        self._step(lambda step: step.holder.heartbeat(step.connection, step.now), now)

    def is_alone(self) -> bool:
        """Does no other batch, of any process, buy or wait for a place?"""
        return self._read(lambda connection: is_alone(connection, self._holder.id, self._database.now(connection)))

    def release_owner(self, now: datetime | None = None) -> None:
        """The batch has ended: whatever it leaves in flight is anybody's. Claims after it have a new holder."""
        try:
            if self._holder.may_be_registered:
                self._step(_let_go, now)
        finally:
            self._holder.released()

    # --- buying ---

    def claim(
        self,
        request: JobRequest,
        budgets: Budgets,
        options: ClaimOptions | None = None,
        limits: SubmitLimits | None = None,
        account: str | None = None,
        now: datetime | None = None,
    ) -> ClaimOutcome:
        """Decides in one transaction what is to become of this request; after `Bought`, and only then, POST once.
        `limits` are asked only where it would be bought or sent, after the budgets; None: not at all. `account`: the
        fingerprint of the key that it would be sent with, kept with the attempt."""
        memory = claim.Memory()
        chosen = options or ClaimOptions()
        if chosen.collect_only and self._read(lambda connection: claim.is_unknown(connection, request)):
            return claim.not_bought()  # as most looks of a new batch find, without the claims' lock
        return self._step(
            lambda step: claim.Claim(step, request, budgets, chosen, limits, memory, account).decide(), now, lock=CLAIMS
        )

    def take_over(self, job_id: str, now: datetime | None = None) -> Joined | Standing:
        """Holds a job under way whose holder is gone: for one that no shot's present request leads to any more (the shot
        has changed since). `Joined(mine=True)`: poll and collect it; `mine=False`: its holder lives; else it stands."""
        memory = claim.Memory()
        return self._step(lambda step: claim.take_over(step, job_id, memory), now, lock=CLAIMS)

    def begin_attempt(
        self,
        job_id: str,
        limits: SubmitLimits | None = None,
        budgets: Budgets | None = None,
        account: str | None = None,
        now: datetime | None = None,
    ) -> str | ProviderBusy | OverBudget:
        """reserved -> submitting with a new attempt id, durable: POST once. Only for the holder.

        ProviderBusy: nothing was written, ask again. With `budgets`, a job whose hold was asked for on an earlier UTC day
        asks for it again and counts in today's from then on. OverBudget: today has no room; the job is given up
        (`rejected`, retryable, hold released), and the next claim with room opens it again. `account` as in claim.
        """
        again = sending.Again(claim.new_id())
        return self._step(
            lambda step: sending.begin_attempt(step, job_id, limits, budgets, again, account), now, lock=CLAIMS
        )

    # --- the answer to a POST ---

    def mark_refused(self, job_id: str, attempt_id: str, reason: str, now: datetime | None = None) -> Job:
        """Too many requests: back to reserved, hold kept. A job that was given up for not taken meanwhile stays that; the
        other answers that say so do the same."""
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
        self,
        job_id: str,
        result_url: str,
        reported: Money | None = None,
        expires_at: datetime | None = None,
        now: datetime | None = None,
        *,
        known_for_s: float = 0.0,
    ) -> Job:
        """The result can be fetched until `expires_at` (None: nobody has said). The URL is kept without its query, which
        may be signed. `known_for_s`: for how long it is known already that the job is done."""
        told = (job_id, result_url, reported, expires_at, known_for_s)
        return self._step(lambda step: transitions.mark_generated(step, *told), now)

    def mark_fetch_failed(self, job_id: str, reason: str, next_fetch_at: datetime, now: datetime | None = None) -> Job:
        """It could not be collected: counted in `fetches`, not to be tried before `next_fetch_at`; the state stays."""
        return self._step(lambda step: transitions.mark_fetch_failed(step, job_id, reason, next_fetch_at), now)

    def mark_stored(self, job_id: str, video: StoredVideo, now: datetime | None = None) -> Job:
        """The video lies in the bucket. Where nobody reported an amount, the quote's upper bound is charged."""
        return self._step(lambda step: transitions.mark_stored(step, job_id, video), now)

    def mark_failed(self, job_id: str, reason: str, billed: Money | None, now: datetime | None = None) -> Job:
        """The provider says it failed, and charged `billed` for that; None: it does not say."""
        return self._step(lambda step: transitions.mark_failed(step, job_id, reason, billed), now)

    def mark_lost(self, job_id: str, reason: str, kept_key: str | None = None, now: datetime | None = None) -> Job:
        """Paid, and the result cannot be had any more. `kept_key`: what came instead, kept in the bucket."""
        return self._step(lambda step: transitions.mark_lost(step, job_id, reason, kept_key), now)

    # --- from the bucket ---

    def restore(self, rows: Sequence[RestoredTake], now: datetime | None = None) -> list[tuple[str, str | None]]:
        """Adds what manifests tell of paid videos where it is missing, in one transaction; never changes what is there.
        Gives each manifest's key with None, or why it could not be."""
        return self._step(lambda step: restoring.restore(step, rows), now, lock=CLAIMS)

    def rebuild_totals(self) -> None:
        """Adds up all jobs anew for the budgets, in one transaction: for a ledger whose triggers were put off for a while.
        `verify` tells where its totals are not those of its jobs."""
        self._step(lambda step: totals.rebuild(step.connection), None, lock=CLAIMS)


def _let_go(step: transitions.Step) -> None:
    step.holder.release(step.connection, step.now)
    totals.fold(step.connection)  # of a process that ends before its turn comes
