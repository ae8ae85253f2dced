"""What the three providers' clients share. A provider's own file says its paths, and reads its answers."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import ClassVar, Self

import httpx
from pydantic import SecretStr

from wan_pipeline.providers.account import account_of, another_key
from wan_pipeline.providers.base import (
    JsonObject,
    LostSubmission,
    Model,
    PollError,
    PollOutcome,
    ProviderLimits,
    SearchResult,
    Sighting,
    SubmitOutcome,
    Succeeded,
    Testimony,
)
from wan_pipeline.providers.expiry import expiry_of
from wan_pipeline.providers.http import Answer, Patience, ProviderHttp
from wan_pipeline.providers.looking import Pace, together
from wan_pipeline.providers.words import url_in

_LOOK_AT_MOST_S = 300.0
_TESTIMONY_WORDS = 1000
_UPSTREAM_KEEPS = timedelta(hours=24)  # README, "Result URLs"


def utc_now() -> datetime:
    return datetime.now(UTC)


class HttpProviderClient(ABC):
    """Implements `base.ProviderClient` over HTTP. `async with` it inside one event loop.

    `transport` takes the place of the network (demo mode: the simulator in process) and stays its owner's to close.
    `callback_base_url`: where a provider that offers nothing better is to call back. `clock`: tests jump it.
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
        callback_base_url: str | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._limits = limits
        self._key = key
        self._callback_base_url = callback_base_url
        self._clock = clock
        self._pace = Pace()
        self._http = ProviderHttp(self.NAME, base_url, key, limits, transport, patience)

    @property
    def name(self) -> str:
        return self.NAME

    @property
    def limits(self) -> ProviderLimits:
        return self._limits

    @property
    def account(self) -> str:
        return account_of(self._key)

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
        body = self._submit_body(body, attempt_id)
        answer = await self._http.post(self._submit_path(model), body, self._submit_headers(attempt_id))
        return self._read_submission(answer) if isinstance(answer, Answer) else answer

    async def poll(self, model: Model, provider_job_id: str) -> PollOutcome:
        """See `base.ProviderClient.poll`."""
        self._own(model)
        path, params = self._poll_request(provider_job_id)
        answer = await self._http.get(path, params)
        return self._read_poll(answer) if isinstance(answer, Answer) else answer

    async def look_for(self, lost: LostSubmission) -> SearchResult:
        """See `base.ProviderClient.look_for`. Takes at most five minutes."""
        self._own(lost.model)
        try:
            async with asyncio.timeout(_LOOK_AT_MOST_S):
                result = await self._look_for(lost)
        except TimeoutError:
            text = f"looking was given up after {_LOOK_AT_MOST_S:g} s"
            result = together([Testimony(self.NAME, Sighting.UNREACHABLE, text)])
        result = self._as_far_as_its_key_goes(lost, result)
        said = (replace(each, detail=self._http.words(each.detail, _TESTIMONY_WORDS)) for each in result.testimonies)
        return replace(result, testimonies=tuple(said))

    def _as_far_as_its_key_goes(self, lost: LostSubmission, result: SearchResult) -> SearchResult:
        """What this key's account does not show may be in the account of the key that it was sent with. What was found was
        found: a poll has proven it."""
        other = another_key(lost.account, self.account)
        if other is None or result.sighting is Sighting.FOUND:
            return result
        but = f"but {other}, so this proves nothing: set that key again, or decide yourself (wan-pipeline resolve)"
        testimonies = tuple(
            replace(each, sighting=Sighting.UNSURE, detail=f"{each.detail}; {but}")
            if each.sighting is Sighting.ABSENT
            else each
            for each in result.testimonies
        )
        sighting = Sighting.UNSURE if result.sighting is Sighting.ABSENT else result.sighting
        return replace(result, sighting=sighting, testimonies=testimonies)

    def _own(self, model: Model) -> None:
        if model.provider != self.NAME:
            raise ValueError(f"{model.id} is not bought from {self.NAME}")

    # --- what each provider's file says ---

    @abstractmethod
    def _submit_path(self, model: Model) -> str: ...

    def _submit_headers(self, attempt_id: str) -> Mapping[str, str]:
        del attempt_id
        return {}

    def _submit_body(self, body: JsonObject, attempt_id: str) -> JsonObject:
        """The body as it is sent: what it gets beyond the frozen request changes nothing of what is bought."""
        del attempt_id
        return body

    @abstractmethod
    def _read_submission(self, answer: Answer) -> SubmitOutcome: ...

    @abstractmethod
    def _poll_request(self, provider_job_id: str) -> tuple[str, Mapping[str, str]]: ...

    @abstractmethod
    def _read_poll(self, answer: Answer) -> PollOutcome: ...

    @abstractmethod
    async def _look_for(self, lost: LostSubmission) -> SearchResult: ...

    # --- what they share ---

    def _words(self, text: object) -> str:
        return self._http.words(str(text))

    def _finished(
        self,
        holder: object,
        seconds_at_provider: float | None = None,
        extra: str = "",
        keeps_until: datetime | None = None,
    ) -> PollOutcome:
        """The result, where the answer holds its URL; a job that is said to be complete without one is asked again.

        It can be had until its URL expires, where that says so; else until the provider deletes it (`keeps_until`; where
        nobody says, upstream's 24 hours from now, since it was seen).
        """
        url = url_in(holder)
        if url is None:
            return PollError(f"{self.NAME} says the job is complete, and gives no URL of a video{extra}")
        now = self._clock()
        ends = expiry_of(url, now) or keeps_until or now + _UPSTREAM_KEEPS
        return Succeeded(url, seconds_at_provider=seconds_at_provider, expires_at=ends)
