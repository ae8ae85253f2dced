"""Every form in which S3's notifications come names the same keys; what is not understood is never taken for nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wan_pipeline.bucket.event_messages import NotUnderstoodError, concerned_keys


def record(key: str = "inbox/cat.png", bucket: str = "b", name: str = "ObjectCreated:Put") -> dict[str, Any]:
    """As in AWS' document "Event message structure"."""
    told = {"s3SchemaVersion": "1.0", "bucket": {"name": bucket}, "object": {"key": key, "size": 1, "eTag": "x"}}
    return {"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": name, "s3": told}


def records(*some: dict[str, Any]) -> str:
    return json.dumps({"Records": list(some)})


def eventbridge(key: str = "inbox/cat.png", bucket: str = "b", kind: str = "Object Created") -> str:
    detail = {"version": "0", "bucket": {"name": bucket}, "object": {"key": key}}
    return json.dumps({"version": "0", "detail-type": kind, "source": "aws.s3", "detail": detail})


def by_sns(body: str) -> str:
    return json.dumps({"Type": "Notification", "MessageId": "m", "TopicArn": "arn:x", "Message": body})


@pytest.mark.parametrize(
    ("body", "keys"),
    [
        (records(record()), {"inbox/cat.png"}),
        (records(record("a"), record("b", name="ObjectRemoved:Delete")), {"a", "b"}),
        (records(record("a", name="s3:ObjectCreated:CompleteMultipartUpload")), {"a"}),
        (records(record("inbox/a+b%2Bc%C3%A9%25.png")), {"inbox/a b+cé%.png"}),
        (records(record(bucket="other")), set()),
        (records(), set()),
        (by_sns(records(record())), {"inbox/cat.png"}),
        (eventbridge(), {"inbox/cat.png"}),
        (eventbridge("a+b%2B.png", kind="Object Deleted"), {"a+b%2B.png"}),
        (by_sns(eventbridge()), {"inbox/cat.png"}),
        (eventbridge(bucket="other"), set()),
        (json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}), set()),
        (by_sns(json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"})), set()),
    ],
)
def test_the_keys_are_those_that_the_message_names(body: str, keys: set[str]) -> None:
    assert concerned_keys(body, "b") == keys


@pytest.mark.parametrize(
    "body",
    [
        "",
        "not json",
        "[]",
        "3",
        "{}",
        '{"Records": 3}',
        '{"Records": [{}]}',
        '{"Records": [null]}',
        records(record("")),
        records(record("%ff")),
        records({**record(), "s3": {"bucket": {"name": "b"}, "object": {"key": 3}}}),
        by_sns("not json"),
        json.dumps({"source": "aws.s3", "detail": {}}),
    ],
)
def test_what_is_not_understood_is_told_and_not_taken_for_nothing(body: str) -> None:
    with pytest.raises(NotUnderstoodError):
        concerned_keys(body, "b")
