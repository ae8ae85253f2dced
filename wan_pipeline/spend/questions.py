"""The ledger's questions: each reads, and changes nothing.

What belongs here: questions of whoever opens the ledger. What does not: their SQL (rows.py, budget.py, verify.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from wan_pipeline.money import Money
from wan_pipeline.spend import budget, precedents, rows, verify
from wan_pipeline.spend.records import (
    Attempt,
    BudgetLine,
    Budgets,
    BudgetUse,
    Difference,
    Job,
    JobState,
    MoneyEntry,
    SentWith,
    Take,
    Wasted,
)
from wan_pipeline.spend.transacting import Transacting


class Questions(Transacting):
    """The part of the ledger's door for those who only look."""

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

    def held(self, state: JobState) -> list[Job]:
        """What this Ledger holds in that state: of all that is in flight, its own part alone is read."""
        return self._read(lambda connection: rows.held(connection, self._holder.id, state))

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

    def sent_with(self, attempt_id: str | None) -> str | None:
        """The fingerprint of the key that this attempt was sent with. None: not known."""
        return self._read(lambda connection: rows.account_of_attempt(connection, attempt_id)) if attempt_id else None

    def senders(self, *, simulated: bool) -> list[SentWith]:
        """With which keys those jobs were sent that are, or may be, at their providers."""
        return self._read(lambda connection: rows.find_senders(connection, simulated=simulated))

    def entries(self, job_id: str | None = None) -> list[MoneyEntry]:
        """The books, of one job or all, in the order they were written."""
        return self._read(lambda connection: rows.find_entries(connection, job_id))

    def budget_use(self, now: datetime | None = None, *, simulated: bool) -> BudgetUse:
        """What the budgets count today and this month (UTC). Simulated and real money are never one sum."""
        return self._read(
            lambda connection: budget.use(connection, now or self._database.now(connection), simulated=simulated)
        )

    def budget_lines(self, budgets: Budgets, *, simulated: bool, now: datetime | None = None) -> list[BudgetLine]:
        """Each budget that is set as it stands: the day's, the month's, each campaign's and each provider's."""
        return self._read(
            lambda connection: budget.lines(
                connection, budgets, now or self._database.now(connection), simulated=simulated
            )
        )

    def used_by_shots(self, shots: Collection[str], *, simulated: bool) -> dict[str, Money]:
        """What of each shot's own budget is held and billed; of those that have any."""
        return self._read(lambda connection: budget.used_by_shots(connection, shots, simulated=simulated))

    def wasted(self, *, simulated: bool, since: datetime | None = None) -> Wasted:
        """What was billed for jobs that failed, were lost or were written off; `since`: claimed at or after it."""
        return self._read(lambda connection: rows.wasted(connection, simulated=simulated, since=since))

    def measured_times(
        self, provider: str, model: str, *, simulated: bool, at_most: int = 300
    ) -> list[precedents.MeasuredTime]:
        """How long the newest jobs of a model took, within precedents.RECENT, the newest first."""
        return self._read(
            lambda connection: precedents.measured_times(
                connection,
                provider,
                model,
                self._database.now(connection) - precedents.RECENT,
                simulated=simulated,
                at_most=at_most,
            )
        )

    def known_provider_jobs(self, provider: str, ids: Collection[str]) -> frozenset[str]:
        """Which of these ids of a provider the ledger has: they are no other job's."""
        return self._read(lambda connection: rows.known_provider_jobs(connection, provider, ids))

    def verify(self) -> list[Difference]:
        """Recomputes what the rows keep; empty: the ledger agrees with itself."""
        return self._read(verify.differences)
