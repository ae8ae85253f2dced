"""Reading what a provider wrote: JSON without floats, amounts, URLs, and its words made fit to be shown.

What belongs here: turning foreign text and values into ours, safely. What does not: any provider's field names.
Nothing that leaves this module as words holds a key, the signed part of a URL, or a file written into a data URI.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NoReturn, cast
from urllib.parse import quote, urlsplit, urlunsplit

from wan_pipeline.money import Money
from wan_pipeline.providers.base import JsonObject

MAX_WORDS = 300
_MAX_JOB_ID = 200
_MAX_DEPTH = 6  # of foreign objects within objects: nothing documented is deeper
_LEAST_KEY_CHARS = 8  # shorter ones stand in for a key (demo mode) and may well be part of an id
_JOB_ID = re.compile(r"[!-~]+")  # what can stand in a URL, a table and a log line: printable ASCII without spaces
_URL = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]{0,20}://[^\s\"'<>\\]+")
_DATA_URI = re.compile(r"data:[\w.+/-]*;base64,[A-Za-z0-9+/=_%\\-]*", re.IGNORECASE)
_CALLBACK = re.compile(r"((?:/|%2F)shortapi(?:/|%2F)[^/\s\"'<>]+?(?:/|%2F))[0-9a-f]{32,}", re.IGNORECASE)  # callback.py
_BEARER = re.compile(r"\b(bearer)\s+[^\s\"',;]+", re.IGNORECASE)
_MESSAGE_KEYS = ("message", "msg", "error", "detail", "details", "reason", "errors", "description")


# --- words ---


def without_query(url: str) -> str:
    """The URL without its query, fragment, user and password: what may be shown of a signed one."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    except ValueError:
        return "(a URL that cannot be read)"


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without these secrets, bearer tokens, callback tokens, signed parts of URLs, and files written out as data
    URIs."""
    for secret in sorted((secret for secret in secrets if secret), key=len, reverse=True):
        for shape in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1]):
            text = text.replace(shape, "***")
    text = _DATA_URI.sub("data:…", text)
    text = _URL.sub(lambda match: without_query(match[0]), text)
    text = _CALLBACK.sub(r"\1***", text)
    return _BEARER.sub(r"\1 ***", text)


def shown(text: str, secrets: Iterable[str] = (), at_most: int = MAX_WORDS) -> str:
    """The text as one short line that is fit for a log: redacted, printable, at most so many characters (300)."""
    secrets = tuple(secrets)
    line = " ".join(redact(text, secrets).split())
    line = "".join(char if char.isprintable() else "?" for char in line)
    # Once more: joining lines may have put together what was apart.
    line = redact(line, secrets)
    return line if len(line) <= at_most else line[: at_most - 1] + "…"


def message_in(payload: Any, depth: int = _MAX_DEPTH) -> str:
    """The words in an error's body, wherever this provider puts them; "" where there are none."""
    if isinstance(payload, str):
        return payload
    if depth == 0:
        return ""
    if isinstance(payload, list):
        some = cast("list[Any]", payload)[:5]
        return "; ".join(text for item in some if (text := message_in(item, depth - 1)))
    if not isinstance(payload, dict):  # a number or null: looking for words in it once a key, key by key, took 0.2 s
        return ""
    found: list[str] = []
    for key in _MESSAGE_KEYS:
        text = message_in(as_object(payload).get(key), depth - 1)
        if text and text not in found:
            found.append(text)
    return ": ".join(found)


# --- values ---


def parse_json(data: bytes) -> Any:
    """The JSON in these bytes, its fractions as Decimals. Raises ValueError where it is none."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no JSON")

    try:
        return json.loads(data, parse_float=Decimal, parse_constant=refuse)
    except (RecursionError, ArithmeticError):
        raise ValueError("JSON nested too deeply, or with a number out of all bounds") from None


def as_object(value: Any) -> JsonObject:
    """The value where it is a JSON object, else an empty one: a shape that is missing says nothing."""
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def job_id_in(value: Any, secrets: Iterable[str] = ()) -> str | None:
    """A provider's id of a job, or None where this cannot be one."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > _MAX_JOB_ID or not _JOB_ID.fullmatch(value):
        return None
    return None if any(len(secret) >= _LEAST_KEY_CHARS and secret in value for secret in secrets) else value


def amount_in(value: Any, unit: Money) -> Money | None:
    """`value` times `unit`, exactly (rounded up to the nano-dollar); None where it is no amount of money.

    Takes an int, a Decimal, or either written as a string; never a float, and nothing negative or absurdly large.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        return None
    try:
        number = Decimal(value.strip()) if isinstance(value, str) else Decimal(value)
    except ArithmeticError:
        return None
    if not number.is_finite() or number < 0 or (number and not -30 < number.adjusted() < 15):
        return None
    return unit * number


def seconds_in(milliseconds: Any) -> float | None:
    """A duration given in milliseconds; None for what is none, and for 0 (not measured)."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, (int, Decimal)):
        return None
    if not 0 < milliseconds < 10**9:
        return None
    return float(milliseconds) / 1000


def moment_in(value: Any) -> datetime | None:
    """A moment written in ISO 8601 with its offset, in UTC; None for anything else: without an offset it is nobody's."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        return None if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def is_http_url(value: str) -> bool:
    """Whether this is a URL that can be fetched over HTTP."""
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and not re.search(r"[\s\x00-\x1f\x7f]", value)
    except ValueError:
        return False


def url_in(value: Any, depth: int = _MAX_DEPTH) -> str | None:
    """The first http(s) URL in a value that may be a URL, a list of them, or an object that holds them."""
    if isinstance(value, str):
        return value.strip() if is_http_url(value.strip()) else None
    inside: Iterable[Any] = ()
    if isinstance(value, Mapping):
        inside = cast("Mapping[str, Any]", value).values()
    elif isinstance(value, list):
        inside = cast("list[Any]", value)
    return next((url for item in inside if (url := url_in(item, depth - 1))), None) if depth else None
