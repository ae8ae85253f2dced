"""What a message about a bucket tells: the keys of the objects that it concerns.

What belongs here: the forms that S3's event notifications come in, as S3 sends them to a queue itself, by SNS, and by
EventBridge (AWS' documents "Event message structure" and "EventBridge event message structure"). What does not: the queue
(events.py). Whether an object was made or removed is not looked at: messages come twice and out of order, so what is true
is asked of the bucket.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import unquote_plus

_MOST_WRAPPERS = 3


class NotUnderstoodError(ValueError):
    """The message may tell of something that concerns us, and nobody can say what."""


def concerned_keys(body: str, bucket: str) -> set[str]:
    """The keys of the objects of that bucket of which the message tells; none of a test event and of other buckets.

    Raises NotUnderstoodError.
    """
    message = _as_object(body)
    for _ in range(_MOST_WRAPPERS):
        if isinstance(inner := message.get("Message"), str) and "Records" not in message:  # SNS
            message = _as_object(inner)
    if message.get("Event") == "s3:TestEvent":
        return set()
    try:
        if message.get("source") == "aws.s3" or "detail-type" in message:
            return _of_eventbridge(message, bucket)
        return {key for record in message["Records"] for key in _of_record(record["s3"], bucket)}
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise NotUnderstoodError(f"no S3 event: {type(error).__name__} {error}") from None


def _of_record(told: Mapping[str, Any], bucket: str) -> set[str]:
    """S3 writes keys as in a URL's query: a space is a plus."""
    key = told["object"]["key"]
    return {_text(unquote_plus(key, errors="strict"))} if told["bucket"]["name"] == bucket else set()


def _of_eventbridge(message: Mapping[str, Any], bucket: str) -> set[str]:
    """EventBridge writes keys as they are."""
    detail = message["detail"]
    return {_text(detail["object"]["key"])} if detail["bucket"]["name"] == bucket else set()


def _text(key: object) -> str:
    if not isinstance(key, str) or not key:
        raise TypeError("an object without a key")
    return key


def _as_object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        raise NotUnderstoodError("it is no JSON") from None
    if not isinstance(found, dict):
        raise NotUnderstoodError("it is no JSON object")
    return cast("dict[str, Any]", found)
