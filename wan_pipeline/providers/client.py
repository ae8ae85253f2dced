"""What the three providers' clients share. A provider's own file says its paths, and reads its answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import ClassVar, Self

import httpx
from pydantic import SecretStr

from wan_pipeline.providers.base import (
    JsonObject,
    Model,
    PollError,
    PollOutcome,
    ProviderLimits,
    SubmitOutcome,
    Succeeded,
)
from wan_pipeline.providers.http import Answer, Patience, ProviderHttp
from wan_pipeline.providers.words import url_in


class HttpProviderClient(ABC):
    """Implements `base.ProviderClient` over HTTP. `async with` it inside one event loop.

    `transport` takes the place of the network (demo mode: the simulator in process) and stays its owner's to close.
    Raises ConfigurationError for a key or base URL that cannot be one.
    """

    NAME: ClassVar[str]

    def __init__(
        self,
        base_url: str,
        key: SecretStr,
        limits: ProviderLimits,
        transport: httpx.AsyncBaseTransport | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._limits = limits
        self._http = ProviderHttp(self.NAME, base_url, key, limits, transport, patience)

    @property
    def name(self) -> str:
        return self.NAME

    @property
    def limits(self) -> ProviderLimits:
        return self._limits

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def submit(self, model: Model, body: JsonObject, attempt_id: str) -> SubmitOutcome:
        """See `base.ProviderClient.submit`. Raises ValueError, before anything is sent, for another provider's model."""
        self._own(model)
        answer = await self._http.post(self._submit_path(model), body, self._submit_headers(attempt_id))
        return self._read_submission(answer) if isinstance(answer, Answer) else answer

    async def poll(self, model: Model, provider_job_id: str) -> PollOutcome:
        """See `base.ProviderClient.poll`."""
        self._own(model)
        path, params = self._poll_request(provider_job_id)
        answer = await self._http.get(path, params)
        return self._read_poll(answer) if isinstance(answer, Answer) else answer

    def _own(self, model: Model) -> None:
        if model.provider != self.NAME:
            raise ValueError(f"{model.id} is not bought from {self.NAME}")

    # --- what each provider's file says ---

    @abstractmethod
    def _submit_path(self, model: Model) -> str: ...

    def _submit_headers(self, attempt_id: str) -> Mapping[str, str]:
        del attempt_id
        return {}

    @abstractmethod
    def _read_submission(self, answer: Answer) -> SubmitOutcome: ...

    @abstractmethod
    def _poll_request(self, provider_job_id: str) -> tuple[str, Mapping[str, str]]: ...

    @abstractmethod
    def _read_poll(self, answer: Answer) -> PollOutcome: ...

    # --- what they share ---

    def _words(self, text: object) -> str:
        return self._http.words(str(text))

    def _finished(self, holder: object, seconds_at_provider: float | None = None, extra: str = "") -> PollOutcome:
        """The result, where the answer holds its URL; a job that is said to be complete without one is asked again."""
        url = url_in(holder)
        if url is None:
            return PollError(f"{self.NAME} says the job is complete, and gives no URL of a video{extra}")
        return Succeeded(url, seconds_at_provider=seconds_at_provider)
