"""HTTP to one provider: what buys is sent once and classified, what merely asks is tried a few times.

`post` buys something. It is sent once, over a connection of its own, follows no redirect, and whatever happens to it
gets its meaning in meaning.py. `get` and `ask` ask, and may be repeated; `ask` is a POST all the same, so it goes to the
paths in QUESTIONS and to no other. What does not belong here: what stands in a provider's bodies; its client knows that.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin

import httpx
from pydantic import SecretStr
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from wan_pipeline.problems import ConfigurationError
from wan_pipeline.providers.account import account_of
from wan_pipeline.providers.base import Ambiguous, Denied, JsonObject, NotSent, PollError, ProviderLimits
from wan_pipeline.providers.download import Downloader
from wan_pipeline.providers.meaning import (
    BEFORE_THE_FIRST_BYTE,
    UNSURE_4XX,
    PostFailure,
    merely_moved,
    refusal,
    retry_after_s,
)
from wan_pipeline.providers.rate import shared_rate
from wan_pipeline.providers.transport import Patience, TooLargeError, open_client, read_all
from wan_pipeline.providers.words import MAX_WORDS, message_in, parse_json, redact, shown, without_query

__all__ = ["Answer", "Downloader", "Patience", "ProviderHttp", "redact", "without_query"]

_MAX_POLL_CONNECTIONS = 100

# The POSTs that buy nothing: WaveSpeed's lists of predictions and of billing records, and its prices (its "Common API").
# `ask` sends to these alone and repeats; `post` sends to anything but these and never repeats. They stand here, and
# whole, so that a path that buys cannot become a question by what a caller hands in.
QUESTIONS = frozenset({"/api/v3/predictions", "/api/v3/billings/search", "/api/v3/model/price"})


@dataclass(frozen=True, slots=True)
class Answer:
    """A 2xx answer that holds JSON."""

    payload: Any
    headers: Mapping[str, str]


class _TryAgainError(Exception):
    """A question that may be asked again."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class ProviderHttp:
    """One provider's HTTP: `async with` it inside one event loop.

    What asks keeps to `limits.asks_per_minute`, together with whoever else in this process asks the same account.

    Two pools underneath. GETs share kept-alive connections. A POST gets a fresh one: a server that closes an idle
    connection just as a request is written on it leaves the request's fate unknown, and an unknown fate costs a person's
    time; a handshake costs milliseconds.

    Raises ConfigurationError for a key or base URL that cannot be one.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        key: SecretStr,
        limits: ProviderLimits,
        transport: httpx.AsyncBaseTransport | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._name = name
        self._base_url = base_url.rstrip("/")
        self._secret = key.get_secret_value().strip()
        self._patience = patience or Patience()
        if not self._secret or not self._secret.isascii() or not self._secret.isprintable():
            raise ConfigurationError(f"the key for {name} is empty or holds characters that no key has: set it anew")
        if not self._base_url.startswith(("http://", "https://")):
            raise ConfigurationError(f"the base URL for {name} does not begin with http:// or https://")
        auth = {"Authorization": f"Bearer {self._secret}", "Accept": "application/json"}
        fresh = httpx.Limits(max_connections=limits.max_in_flight, max_keepalive_connections=0)
        polling = min(limits.max_in_flight, _MAX_POLL_CONNECTIONS)
        kept = httpx.Limits(max_connections=polling, max_keepalive_connections=polling, keepalive_expiry=30)
        self._rate = shared_rate(limits.asks_per_minute, name, self._base_url, account_of(key))
        self._poster = open_client(transport, fresh, self._patience, auth)
        self._getter = open_client(transport, kept, self._patience, auth, many=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._poster.aclose()
        await self._getter.aclose()

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must be in nobody's words."""
        return (self._secret,)

    def words(self, text: str, at_most: int = MAX_WORDS) -> str:
        """Foreign text, fit to be shown."""
        return shown(text, self.secrets, at_most)

    # --- POST ---

    async def post(self, path: str, body: JsonObject, headers: Mapping[str, str] | None = None) -> Answer | PostFailure:
        """Sends the body once. A 2xx answer with JSON is given back to be read; anything else is what it means.

        Raises ValueError for a path of QUESTIONS: nothing is bought there.
        """
        if path in QUESTIONS:
            raise ValueError(f"{path} is a question: ask() it")
        # What can be wrong with our own side raises here, before anything is sent.
        content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        request = self._poster.build_request(
            "POST",
            self._base_url + path,
            content=content,
            headers={"Content-Type": "application/json"} | dict(headers or {}),
        )
        response: httpx.Response | None = None
        data = b""
        try:
            async with asyncio.timeout(self._patience.whole_post_s):
                response = await self._poster.send(request, stream=True, follow_redirects=False)
                try:
                    data = await read_all(response)
                finally:
                    await response.aclose()
        except BEFORE_THE_FIRST_BYTE as error:
            return NotSent(self._trouble("no connection", error))
        except Exception as error:  # noqa: BLE001  whatever it was, the request may have arrived
            # Where the status has come and is a refusal, that it is: the words after it are all that was lost.
            if response is None or response.is_success:
                return Ambiguous(self._trouble("the answer was lost", error))
        return self._meaning(request, response, data)

    def _meaning(self, request: httpx.Request, response: httpx.Response, data: bytes) -> Answer | PostFailure:
        if response.is_success:
            try:
                return Answer(parse_json(data), response.headers)
            except ValueError:
                return Ambiguous(f"no JSON in the answer: {self._said(request, response, data)}")
        reason = self._said(request, response, data)
        if merely_moved(request, response):
            return Denied(f"{reason}. Set the provider's base URL to that address")
        return refusal(response.status_code, reason, retry_after_s(response.headers.get("retry-after")))

    def _said(self, request: httpx.Request, response: httpx.Response, data: bytes) -> str:
        """The status and the provider's words, as a reason."""
        try:
            words = message_in(parse_json(data))
        except ValueError:
            words = ""
        target = ""
        if moved := response.headers.get("location"):
            try:
                target = f" (moved to {urljoin(str(request.url), moved)})"
            except ValueError:
                target = " (moved to an address that cannot be read)"
        words = words or data.decode(errors="replace") or "without a word"
        return self.words(f"{self._name} answered HTTP {response.status_code}{target}: {words}")

    def _trouble(self, what: str, error: Exception) -> str:
        return self.words(f"{what} ({self._name}): {type(error).__name__} {error}")

    # --- what merely asks ---

    async def get(self, path: str, params: Mapping[str, str], ahead_s: float = 0.0) -> Answer | PollError:
        """Asks, a few times within a bounded time, which begins when it is this question's turn (`ahead_s`: see
        `AskingRate.turn`). A status that will not change is not asked for again."""
        return await self._patiently(
            lambda: self._getter.build_request("GET", self._base_url + path, params=params), ahead_s
        )

    async def ask(self, path: str, body: JsonObject, ahead_s: float = 0.0) -> Answer | PollError:
        """A question that the provider wants as a POST, asked as `get` asks. Raises ValueError for a path that is not one
        of QUESTIONS, before anything is sent: a POST to any other may buy something."""
        if path not in QUESTIONS:
            raise ValueError(f"{path} is no question: a POST to it may buy something, and would be repeated here")
        return await self._patiently(
            lambda: self._getter.build_request("POST", self._base_url + path, json=body), ahead_s
        )

    async def _patiently(self, build: Callable[[], httpx.Request], ahead_s: float) -> Answer | PollError:
        await self._rate.turn(ahead_s)
        tries = AsyncRetrying(
            retry=retry_if_exception_type(_TryAgainError),
            stop=self._enough,
            wait=self._wait_s,
            before=self._in_turn,
            reraise=True,
        )
        try:
            async with asyncio.timeout(self._patience.whole_get_s):
                return await tries(self._ask_once, build)
        except _TryAgainError as error:
            return PollError(str(error))
        except TimeoutError:
            return PollError(f"{self._name} did not answer within {self._patience.whole_get_s:g} s")

    async def _in_turn(self, state: RetryCallState) -> None:
        """A further try is one more question."""
        if state.attempt_number > 1:
            await self._rate.turn()

    def _enough(self, state: RetryCallState) -> bool:
        """No further try: there were enough, or the provider asks for a longer wait than is worth staying for."""
        asked_s = _asked_wait_s(state)
        too_long = asked_s is not None and asked_s > self._patience.longest_get_wait_s
        return too_long or stop_after_attempt(self._patience.get_tries)(state)

    def _wait_s(self, state: RetryCallState) -> float:
        grown_s = wait_random_exponential(self._patience.get_wait_s, self._patience.longest_get_wait_s)(state)
        return max(grown_s, _asked_wait_s(state) or 0.0)

    async def _ask_once(self, build: Callable[[], httpx.Request]) -> Answer | PollError:
        request = build()
        try:
            response = await self._getter.send(request, stream=True, follow_redirects=False)
            try:
                data = await read_all(response)
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise _TryAgainError(self._trouble("no answer", error)) from None
        except (httpx.HTTPError, TooLargeError) as error:
            return PollError(self._trouble("an answer that cannot be read", error))
        status = response.status_code
        if status == 429:
            self._rate.refused(retry_after_s(response.headers.get("retry-after")))
        else:
            self._rate.answered()
        if response.is_success:
            try:
                return Answer(parse_json(data), response.headers)
            except ValueError:
                return PollError(f"no JSON in the answer: {self._said(request, response, data)}")
        reason = self._said(request, response, data)
        if status == 429 or status >= 500 or status in UNSURE_4XX:
            raise _TryAgainError(reason, retry_after_s(response.headers.get("retry-after")))
        return PollError(reason, gone=status in (404, 410))


def _asked_wait_s(state: RetryCallState) -> float | None:
    error = state.outcome.exception() if state.outcome else None
    return error.retry_after_s if isinstance(error, _TryAgainError) else None
