"""The ledger's door for what was left behind: orphans, ambiguous jobs, the search for them, and how it ends.

What belongs here: transactions around those steps (orphans.py, resolution.py). What does not: searching, and deciding.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from wan_pipeline.money import Money
from wan_pipeline.spend import orphans, resolution, rows
from wan_pipeline.spend.records import Job, JobState, Look
from wan_pipeline.spend.transacting import CLAIMS, Transacting

_AT_THE_PROVIDER = frozenset({JobState.SUBMITTED, JobState.GENERATED})


class Ambiguities(Transacting):
    """The part of the ledger's door for recovery, for the search, and for a person's word. `said` is who says so, and why;
    every end raises LedgerError unless the job is ambiguous."""

    # --- jobs whose holder is gone ---

    def orphans(self, *, simulated: bool, now: datetime | None = None) -> list[Job]:
        """Open jobs that no living process holds; nearest deadline first. Changes nothing."""
        return self._read(
            lambda connection: orphans.find(
                connection, self._holder.id, now or self._database.now(connection), simulated=simulated
            )
        )

    def settle_orphans(self, *, simulated: bool, now: datetime | None = None) -> list[Job]:
        """What was never sent becomes rejected (retryable), what was being sent ambiguous, each in its own transaction.
        Gives the orphans that are at the provider or generated, to be collected: nearest deadline first. Those with a
        `next_fetch_at` in the future are among them."""
        found = self.orphans(simulated=simulated, now=now)
        for job in found:
            if job.state not in _AT_THE_PROVIDER:
                job_id = job.id
                self._step(lambda step, job_id=job_id: orphans.settle(step, job_id), now, lock=CLAIMS)
        return [job for job in found if job.state in _AT_THE_PROVIDER]

    # --- the search ---

    def ambiguous(self, *, simulated: bool, due: bool = False, now: datetime | None = None) -> list[Job]:
        """The oldest doubt first; `due`: only those that are to be looked for now."""
        return self._read(
            lambda connection: rows.find_ambiguous(
                connection,
                simulated=simulated,
                due_at=(now or self._database.now(connection)) if due else None,
            )
        )

    def record_look(
        self, job_id: str, looks: Sequence[Look], next_look_at: datetime | None, now: datetime | None = None
    ) -> Job:
        """What the witnesses said, and when to ask them again (None: nobody asks by himself). Of a job that is not
        ambiguous any more, only the testimonies are kept."""
        return self._step(lambda step: resolution.record_look(step, job_id, looks, next_look_at), now)

    def looks(self, job_id: str) -> list[Look]:
        """All testimonies about a job, the first one first."""
        return self._read(lambda connection: rows.find_looks(connection, job_id))

    def add_callback(self, attempt_id: str, provider_job_ids: Sequence[str], now: datetime | None = None) -> bool:
        """A genuine callback for this attempt names these jobs: a hint, followed at once where its job is ambiguous.
        Where the job was released or written off, it is ambiguous again. Said again, nothing changes. False: there is no
        such attempt."""
        return self._step(lambda step: resolution.add_callback(step, attempt_id, provider_job_ids), now, lock=CLAIMS)

    def hints(self, attempt_id: str) -> list[str]:
        """The ids that callbacks have named for this attempt; the earliest first."""
        return self._read(lambda connection: rows.find_hints(connection, attempt_id))

    # --- its ends ---

    def resolve_found(
        self,
        job_id: str,
        provider_job_id: str,
        said: str,
        reported: Money | None = None,
        now: datetime | None = None,
    ) -> Job:
        """-> submitted: it is collected like any other, by this holder until it lets go."""
        return self._step(
            lambda step: resolution.found(step, job_id, provider_job_id, said, reported), now, lock=CLAIMS
        )

    def resolve_absent(self, job_id: str, said: str, now: datetime | None = None) -> Job:
        """-> released, retryable: the hold is given back, and a later claim buys the request as a new job."""
        return self._step(lambda step: resolution.absent(step, job_id, said), now)

    def resolve_not_charged(
        self, job_id: str, said: str, duplicate_up_to: Money | None = None, now: datetime | None = None
    ) -> Job:
        """-> released: the hold is given back. With `duplicate_up_to` a later claim buys the request as a new job where
        its quote is not above that."""
        return self._step(lambda step: resolution.not_charged(step, job_id, said, duplicate_up_to), now)

    def resolve_write_off(
        self, job_id: str, said: str, duplicate_up_to: Money | None = None, now: datetime | None = None
    ) -> Job:
        """-> written_off: it counts as spent. `duplicate_up_to` as in resolve_not_charged."""
        return self._step(lambda step: resolution.write_off(step, job_id, said, duplicate_up_to), now)
