"""A lane for each provider of a batch: its client, its gate, and the usual times of its models.

Clients are connected when the first shot needs them and closed with the batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.gate import Closed, Gate
from wan_pipeline.generation.pace import Pace
from wan_pipeline.generation.submission import Submitter
from wan_pipeline.generation.waiting import Waiter
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.providers.base import Model, ProviderClient
from wan_pipeline.spend.records import Job, JobState, SubmitLimits

_TIMES_LOOKED_UP = 200
_LOOKS_AT_ONCE = 3
STOPPED = "the batch was stopped"


@dataclass
class Lane:
    """One provider's. `limits` are those of all processes together, which the ledger counts. `looks` holds back those who
    look for lost submissions: the question is not to bring on the refusals that answer a rush."""

    desk: Desk
    client: ProviderClient
    gate: Gate
    submitter: Submitter
    limits: SubmitLimits
    looks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_LOOKS_AT_ONCE))
    _paces: dict[str, Pace] = field(default_factory=dict[str, Pace])

    def waiter(self, model: Model) -> Waiter:
        """Polls jobs of this model, with what was learned of its times."""
        return Waiter(self.desk, self.client, model, self._paces.setdefault(model.id, Pace()))

    def remember(self, jobs: Iterable[Job]) -> None:
        """Usual times from jobs that the ledger has seen through."""
        for job in jobs:
            if job.submitted_at and job.generated_at:
                pace = self._paces.setdefault(job.model, Pace())
                pace.learn((job.generated_at - job.submitted_at).total_seconds())


class Lanes:
    """The lanes of one batch, made as they are needed."""

    def __init__(self, desk: Desk, stack: AsyncExitStack) -> None:
        self._desk = desk
        self._stack = stack
        self._lanes: dict[str, Lane] = {}
        self._errors: dict[str, ConfigurationError] = {}
        self._making = asyncio.Lock()

    async def lane(self, provider: str) -> Lane:
        """The provider's lane. Raises ConfigurationError where it cannot be used as configured (no key)."""
        async with self._making:
            if provider in self._errors:
                raise self._errors[provider]
            if provider not in self._lanes:
                try:
                    lane = self._lanes[provider] = await self._make(provider)
                except ConfigurationError as error:
                    self._errors[provider] = error
                    raise
                if self._desk.stopped.is_set():  # while it was being made, when `stop` could not see it
                    lane.gate.close(STOPPED, Closed.STOPPED)
            return self._lanes[provider]

    async def _make(self, provider: str) -> Lane:
        client = await self._stack.enter_async_context(self._desk.parts.connect(provider))
        gate = Gate(client.limits)
        limits = SubmitLimits(client.limits.max_in_flight, client.limits.submits_per_minute)
        lane = Lane(self._desk, client, gate, Submitter(self._desk, client, gate, limits), limits)
        jobs = await self._desk.record(self._desk.ledger.jobs, state=JobState.STORED, limit=_TIMES_LOOKED_UP)
        lane.remember(job for job in reversed(jobs) if job.provider == provider)
        return lane

    @property
    def busy(self) -> frozenset[str]:
        """The providers at which this batch waits for places that others have."""
        return frozenset(name for name, lane in self._lanes.items() if lane.gate.is_busy)

    def stop(self) -> None:
        """Nothing more is submitted in this batch."""
        for lane in self._lanes.values():
            lane.gate.close(STOPPED, Closed.STOPPED)
