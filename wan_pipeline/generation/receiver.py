"""The receiver of ShortAPI's callbacks, as an ASGI application: each is a hint at what became of a submission.

A callback proves little: its payload is undocumented and unsigned. The URL alone ties it to one attempt, by a token that
only who holds the ShortAPI key can make. So what it names is written down as a hint, and the engine's next look, which it
makes due at once, verifies the hint by a poll. What does not belong here: believing anything, and serving (cli/).
"""

from __future__ import annotations

import logging
from typing import Any

from pydantic import SecretStr
from sqlalchemy.exc import DBAPIError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from wan_pipeline.providers.callback import is_genuine, job_ids_in
from wan_pipeline.providers.words import parse_json
from wan_pipeline.spend.ledger import Ledger

_LARGEST_BODY_BYTES = 64 << 10
_LONGEST_ATTEMPT_ID = 64
_log = logging.getLogger(__name__)


class _TooLargeError(Exception):
    """The body is larger than any callback."""


def receiver_app(ledger: Ledger, key: SecretStr) -> Starlette:
    """Takes `POST <anything>/shortapi/<attempt_id>/<token>`: 204 once the hint is in the ledger (said again: once more),
    404 for a token that is not the attempt's or an attempt that the ledger does not know, 413 beyond 64 KiB, 503 where the
    ledger cannot be written, so that the caller may call again. The token is in no log and no answer."""

    async def take(request: Request) -> Response:
        attempt_id = _attempt(request.url.path, key)
        if attempt_id is None:
            return Response(status_code=404)
        try:
            body = await _body(request)
        except _TooLargeError:
            return Response(status_code=413)
        except ClientDisconnect:
            return Response(status_code=400)
        ids = job_ids_in(_payload(body))
        try:
            known = await run_in_threadpool(ledger.add_callback, attempt_id, ids)
        except DBAPIError as error:
            _log.warning("a callback for attempt %s could not be written down: %s", attempt_id, type(error).__name__)
            return Response(status_code=503, headers={"Retry-After": "30"})
        if not known:
            _log.warning("a genuine callback for attempt %s, which this ledger does not have", attempt_id)
            return Response(status_code=404)
        _log.info("a callback for attempt %s names %s", attempt_id, ", ".join(ids) or "no job")
        return Response(status_code=204)

    return Starlette(routes=[Route("/{path:path}", take, methods=["POST"])])


def _attempt(path: str, key: SecretStr) -> str | None:
    """The attempt that this path was made for; None where it was made for none, or by somebody else."""
    match path.strip("/").split("/")[-3:]:
        case ["shortapi", attempt_id, token] if 0 < len(attempt_id) <= _LONGEST_ATTEMPT_ID:
            return attempt_id if is_genuine(key, attempt_id, token) else None
        case _:
            return None


async def _body(request: Request) -> bytes:
    """Raises _TooLargeError as soon as it is clear, whatever the caller says of its length."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BODY_BYTES:
            raise _TooLargeError
    return bytes(body)


def _payload(body: bytes) -> Any:
    """What cannot be read names no job, and tells all the same that this attempt has become one."""
    try:
        return parse_json(body)
    except ValueError:
        return None
