"""What a POST's fate means for the money, by docs/architecture.md's table: errors of the transport, and statuses.

The question is always the same: can the provider have taken the job? Only a sure no may be sent again or let go.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

import httpx

from wan_pipeline.providers.base import Ambiguous, Denied, NotSent, Refused, Rejected

PostFailure = NotSent | Refused | Rejected | Denied | Ambiguous

# Raised while the connection is being made, so no byte of the request has left. Everything else that httpx raises may
# come after some: WriteError and WriteTimeout (a server can act on a body whose end it reset), ReadError, ReadTimeout,
# RemoteProtocolError (the answer was lost), LocalProtocolError (headers may be out already), DecodingError.
BEFORE_THE_FIRST_BYTE = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)

_DENIED = frozenset({401, 402, 403})
# What a gateway answers on behalf of a server that it has lost sight of: no sure no, though they are 4xx.
UNSURE_4XX = frozenset({408, 499})
# In place of the documented code, where the id is not where it is documented either: an interface that has changed.
_MAY_BE_YES = frozenset({"", "0", "ok", "success", "succeeded", "successful", "accepted", "created", "queued", "true"})
_IS_2XX = re.compile(r"2\d\d")


def refusal(code: int, reason: str, wait_s: float | None = None) -> PostFailure:
    """The meaning of a status that is no success, or of the like code inside a body."""
    if code in _DENIED:
        return Denied(reason)
    if code == 429 or (code == 503 and wait_s is not None):
        return Refused(reason, wait_s)
    if 400 <= code < 500 and code not in UNSURE_4XX:
        return Rejected(reason)
    return Ambiguous(reason)


def refusal_inside(code: object, reason: str) -> PostFailure:
    """The meaning of an error code in the body of an HTTP 200: rejected, unless it is one of the codes that speak of the
    key, the credit or too many requests. A code that may well stand for success is no sure no."""
    text = str(code).strip().lower()
    if type(code) not in (int, str) or text in _MAY_BE_YES or _IS_2XX.fullmatch(text):
        return Ambiguous(reason)
    known = int(code) if isinstance(code, (int, str)) and str(code).isdecimal() and len(str(code)) == 3 else 0
    return refusal(known, reason) if known in _DENIED or known == 429 else Rejected(reason)


def retry_after_s(header: str | None, now: datetime | None = None) -> float | None:
    """The seconds that a Retry-After header asks for, which holds seconds or an HTTP date; None: absent or unreadable."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:  # "-0000", which HTTP does not allow
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def merely_moved(request: httpx.Request, response: httpx.Response) -> bool:
    """Whether a redirect says that nothing was done: 307 and 308 do; 301 and 302 only where they name the same path on
    another host or scheme (http to https). Any other may be the page after a request that was carried out."""
    status, location = response.status_code, response.headers.get("location")
    if location is None or status not in (301, 302, 307, 308):
        return False
    if status in (307, 308):
        return True
    try:
        old, new = urlsplit(str(request.url)), urlsplit(urljoin(str(request.url), location))
    except ValueError:
        return False
    return (old.path, old.query) == (new.path, new.query) and (old.scheme, old.netloc) != (new.scheme, new.netloc)
