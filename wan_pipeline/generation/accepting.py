"""A lane's client for whoever submits: the moment at which a job was taken is noted as its answer arrives.

To write the answer down may take seconds where hundreds are submitted at once, and questions are timed by the job's age.
"""

from __future__ import annotations

from collections.abc import Callable

from wan_pipeline.providers.base import (
    Accepted,
    JsonObject,
    LostSubmission,
    Model,
    PollOutcome,
    ProviderClient,
    ProviderLimits,
    SearchResult,
    SubmitOutcome,
)


class NotingClient:
    """Implements `ProviderClient` by another one; `accepted` is told the id of each job that its provider takes."""

    def __init__(self, client: ProviderClient, accepted: Callable[[str], None]) -> None:
        self._client = client
        self._accepted = accepted

    @property
    def name(self) -> str:
        return self._client.name

    @property
    def limits(self) -> ProviderLimits:
        return self._client.limits

    @property
    def account(self) -> str:
        return self._client.account

    async def submit(self, model: Model, body: JsonObject, attempt_id: str) -> SubmitOutcome:
        outcome = await self._client.submit(model, body, attempt_id)
        if isinstance(outcome, Accepted):
            self._accepted(outcome.provider_job_id)
        return outcome

    async def poll(self, model: Model, provider_job_id: str) -> PollOutcome:
        return await self._client.poll(model, provider_job_id)

    async def look_for(self, lost: LostSubmission) -> SearchResult:
        return await self._client.look_for(lost)
