"""A lane for each provider of a batch: its client, its gate, and the usual times of its models.

Clients are connected when the first shot needs them and closed with the batch.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from wan_pipeline.generation.accepting import NotingClient
from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.gate import Closed, Gate
from wan_pipeline.generation.list_reading import ListReader
from wan_pipeline.generation.pace import UsualTimes
from wan_pipeline.generation.submission import Submitter
from wan_pipeline.generation.waiting import Waiter
from wan_pipeline.generation.watch import Watch
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.providers.base import ListsJobs, Model, ProviderClient
from wan_pipeline.spend.records import SubmitLimits

_LOOKS_AT_ONCE = 3
STOPPED = "the batch was stopped"
_log = logging.getLogger(__name__)


@dataclass
class Lane:
    """One provider's. `limits` are those of all processes together, which the ledger counts. `looks` holds back those who
    look for lost submissions: the question is not to bring on the refusals that answer a rush."""

    desk: Desk
    client: ProviderClient
    gate: Gate
    submitter: Submitter
    limits: SubmitLimits
    watch: Watch
    reader: ListReader | None = None
    looks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_LOOKS_AT_ONCE))
    _times: dict[str, asyncio.Task[UsualTimes]] = field(default_factory=dict[str, "asyncio.Task[UsualTimes]"])

    def waiter(self, model: Model) -> Waiter:
        """Waits for jobs of this model, with what was learned of its times."""
        return Waiter(self.desk, self.client, model, lambda: self._usual_times(model), self.watch, self.reader)

    async def _usual_times(self, model: Model) -> UsualTimes:
        """Of this model: the ledger is asked once, then they are learned by waiting."""
        if model.id not in self._times:
            self._times[model.id] = asyncio.create_task(self._looked_up(model))
        return await asyncio.shield(self._times[model.id])

    async def _looked_up(self, model: Model) -> UsualTimes:
        times = UsualTimes()
        ledger, simulated = self.desk.ledger, self.desk.parts.simulated
        try:
            newest_first = await self.desk.record(ledger.measured_times, model.provider, model.id, simulated=simulated)
        except Exception:  # noqa: BLE001 - not to know them costs a few polls
            _log.warning("the usual times of %s could not be looked up", model.id, exc_info=True)
            return times
        for each in reversed(newest_first):
            times.learn((each.duration_s, each.resolution, each.has_audio), each.seconds)
        return times


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
        watch = Watch(self._desk)
        reader = None
        if isinstance(client, ListsJobs):
            reader = ListReader(self._desk, client, watch, client.limits.asks_per_minute)
        if reader is not None:
            self._desk.aside(reader.read())
        submitter = Submitter(self._desk, NotingClient(client, watch.accepted), gate, limits)
        return Lane(self._desk, client, gate, submitter, limits, watch, reader)

    @property
    def busy(self) -> frozenset[str]:
        """The providers at which this batch waits for places that others have."""
        return frozenset(name for name, lane in self._lanes.items() if lane.gate.is_busy)

    def set_alone(self, *, alone: bool) -> None:
        """Of all lanes that there are."""
        for lane in self._lanes.values():
            lane.gate.set_alone(alone=alone)

    def stop(self) -> None:
        """Nothing more is submitted in this batch."""
        for lane in self._lanes.values():
            lane.gate.close(STOPPED, Closed.STOPPED)
