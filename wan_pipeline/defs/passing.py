"""Trouble that passes by itself: a database that restarts, a bucket that answers 503, a network that is away.

What belongs here: telling it from what stays, and trying again within one step. What does not: a shot's own troubles (the
engine's), and what is retried as a whole (failures.py).
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from wan_pipeline.spend.database import is_transient

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_S = 120.0  # a database that is restarted, or moved to another host
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0
_SERVER_IS_BUSY = frozenset({429, 500, 502, 503, 504})
# botocore's and aiohttp's, by name: neither is imported where no S3 is used.
_NETWORK_ERRORS = frozenset(
    {
        "EndpointConnectionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "ConnectionClosedError",
        "HTTPClientError",
        "ClientConnectorError",
        "ServerDisconnectedError",
    }
)
_log = logging.getLogger(__name__)


def is_passing(error: BaseException) -> bool:
    """May the same call succeed a little later, with nobody doing anything? Looks at what the error came from too: our
    own errors tell a person what to do, and keep beneath them what happened."""
    return any(_passes(each) for each in _chain(error))


def _passes(error: BaseException) -> bool:
    if isinstance(error, DBAPIError):
        return is_transient(error)
    if isinstance(error, (ConnectionError, TimeoutError, PoolTimeoutError)):
        return True
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & _NETWORK_ERRORS:
        return True
    answer = getattr(error, "response", None)  # botocore's ClientError
    if isinstance(answer, dict):
        metadata = answer.get("ResponseMetadata")
        return isinstance(metadata, dict) and metadata.get("HTTPStatusCode") in _SERVER_IS_BUSY
    return False


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it came from; `from None` hides a context from a reader, not from here."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, each.__context__]


def patiently(call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """The call, tried again while its trouble is a passing one, for PATIENCE_S at most. It must be harmless to repeat."""
    end = time.monotonic() + PATIENCE_S
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return call(*arguments, **named)
        except Exception as error:
            if not is_passing(error) or time.monotonic() + pause_s > end:
                raise
            _log.warning("%s: tried again for %.0f s", _first_line(error), end - time.monotonic())
        time.sleep(pause_s * random.uniform(0.7, 1.0))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {str(cause).partition(chr(10))[0]}"
