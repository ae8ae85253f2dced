"""The queue in which a bucket's notifications lie: Amazon SQS, or anything that speaks it.

What belongs here: the connection, and its errors in words. What does not: what a message says (event_messages.py), and what
is done about it. A message stays in the queue until it is deleted; one that was received is hidden from others for
`HIDDEN_S`, and then there again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from wan_pipeline.problems import ConfigurationError

VARIABLE = "WAN_BUCKET_EVENTS_URL"
HIDDEN_S = 120  # longer than a tick
# "Typically, event notifications are delivered in seconds but can sometimes take a minute or longer" (AWS, "Amazon S3 Event
# Notifications"), and in any order: what a queue does not tell of yet is known to have been there only that much later.
LATE = timedelta(minutes=1)
_AT_ONCE = 10  # SQS' own limit
_AWS_HOST = re.compile(r"sqs\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?")
_REMEDIES = {
    "QueueDoesNotExist": "Make the queue, or correct the URL.",
    "NonExistentQueue": "Make the queue, or correct the URL.",
    "InvalidAddress": "Correct the URL: it is that of the queue, as `aws sqs get-queue-url` shows it.",
    "AccessDenied": "Allow these keys sqs:ReceiveMessage, sqs:DeleteMessage and sqs:GetQueueAttributes on it.",
    "AccessDeniedException": "Allow these keys sqs:ReceiveMessage, sqs:DeleteMessage and sqs:GetQueueAttributes on it.",
    "InvalidClientTokenId": "That account does not know this access key: correct AWS_ACCESS_KEY_ID.",
    "SignatureDoesNotMatch": "The secret key is not the access key's: correct AWS_SECRET_ACCESS_KEY.",
    "ExpiredToken": "The temporary keys have expired: get new ones.",
}


@dataclass(frozen=True, slots=True)
class Message:
    """`name` is the same each time it comes, `receipt` is what it is deleted by; `sent_at` is the queue's own moment."""

    name: str
    body: str
    receipt: str
    sent_at: datetime


def no_events(bucket_url: str) -> ConfigurationError:
    """What is to be said of a bucket that is not on S3."""
    return ConfigurationError(
        f"{VARIABLE}: only a bucket on S3 sends events, and WAN_BUCKET_URL is {bucket_url}. Leave it out, or set"
        " WAN_BUCKET_URL to a bucket on S3"
    )


class EventQueue:
    """The queue at this URL. Nothing is contacted before the first method; each may raise ConfigurationError, which names
    the variable and the remedy."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._url = url
        self._endpoint = f"{parts.scheme}://{parts.netloc}"
        aws = _AWS_HOST.fullmatch(parts.hostname or "")
        self._region = aws[1] if aws else os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        self._client: Any = None

    def receive(self) -> Iterator[list[Message]]:
        """Those that are there now, answer by answer, until none comes any more. All of an answer are hidden then."""
        while True:
            answer = self._call(
                "receive_message",
                MaxNumberOfMessages=_AT_ONCE,
                VisibilityTimeout=HIDDEN_S,
                WaitTimeSeconds=1,  # asks all of SQS' servers; 0 asks some
                AttributeNames=["SentTimestamp"],
            )
            found = answer.get("Messages", ())
            if not found:
                return
            yield [_message(item) for item in found]

    def delete(self, messages: Iterable[Message]) -> None:
        """They do not come again. What could not be deleted does, and is found to be nothing new."""
        rest = iter(messages)
        while some := list(islice(rest, _AT_ONCE)):
            entries = [{"Id": str(number), "ReceiptHandle": item.receipt} for number, item in enumerate(some)]
            self._call("delete_message_batch", Entries=entries)

    def check(self) -> int:
        """About how many messages lie there."""
        answer = self._call("get_queue_attributes", AttributeNames=["ApproximateNumberOfMessages"])
        return int(answer.get("Attributes", {}).get("ApproximateNumberOfMessages", 0))

    def _call(self, method: str, **arguments: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            if self._client is None:
                self._client = self._connect()
            answer: dict[str, Any] = getattr(self._client, method)(QueueUrl=self._url, **arguments)
            return answer
        except ClientError as error:
            told: Any = error.response.get("Error", {})
            code = str(told.get("Code", "")).rpartition(".")[2].rpartition("#")[2]
            remedy = _REMEDIES.get(code, "See to the queue, or leave the variable out: the bucket is listed then.")
            said = str(told.get("Message", "")).rstrip(". ")[:300]
            raise ConfigurationError(f"{VARIABLE}: the queue answered {code}: {said}. {remedy}") from None
        except (BotoCoreError, ValueError, OSError) as error:
            kind = type(error).__name__
            raise ConfigurationError(
                f"{VARIABLE}: no answer from the queue ({kind}). Is the URL right, can it be reached, and are there keys"
                " (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)?"
            ) from None

    def _connect(self) -> Any:
        from botocore.config import Config
        from botocore.session import Session

        config = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 3})
        session: Any = Session()
        return session.create_client(
            "sqs", region_name=self._region or "us-east-1", endpoint_url=self._endpoint, config=config
        )


def _message(item: dict[str, Any]) -> Message:
    sent_ms = int(item.get("Attributes", {}).get("SentTimestamp", 0))
    sent_at = datetime.fromtimestamp(sent_ms / 1000, UTC)
    return Message(item["MessageId"], item["Body"], item["ReceiptHandle"], sent_at)
