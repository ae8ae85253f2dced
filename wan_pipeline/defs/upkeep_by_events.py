"""The index brought in line with the bucket by its event notifications, for buckets too large to be listed in each tick.

What a message tells is only which object to look at. A message is deleted once what it told is in the index, so that a tick
that is killed loses nothing. The whole bucket is listed when this process begins, once a day (WAN_BUCKET_LISTING_AT), where
a message is not understood, and where more messages have come than are worth being looked at one by one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock

from wan_pipeline.bucket import S3Bucket
from wan_pipeline.bucket.event_messages import NotUnderstoodError, concerned_keys
from wan_pipeline.bucket.events import VARIABLE, EventQueue, Message
from wan_pipeline.bucket.siblings import TooManyError, find_objects
from wan_pipeline.defs.deadline import OutOfTimeError
from wan_pipeline.defs.upkeep import MANY, Upkeep, as_listed
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.settings import Settings
from wan_pipeline.shots.keys import INBOX
from wan_pipeline.spend.inbox_index import Changes, InboxIndex

_RECEIVE_FOR_S = 15.0
_MOST_NEAR = 2_000  # objects that begin like one that a message names
_log = logging.getLogger(__name__)
_listed: set[str] = set()  # buckets that this process has listed as a whole
_lock = Lock()


@dataclass
class _Received:
    """`keys` as S3 has them, with the bucket's prefix; `whole`: not all is known that the messages tell."""

    messages: list[Message] = field(default_factory=list[Message])
    keys: set[str] = field(default_factory=set[str])
    whole: bool = False
    is_all: bool = False


def by_events(upkeep: Upkeep, queue: EventQueue) -> bool:
    """Brings the index in line with what the messages tell, or with the listing where that is due. False: the time was not
    enough, and the next tick goes on from here.

    Raises BucketError, and ConfigurationError where the queue cannot be used.
    """
    opened = upkeep.opened
    bucket, settings, inbox = opened.bucket, opened.settings, opened.ledger.index.inbox
    if not isinstance(bucket, S3Bucket):
        raise ConfigurationError(f"{VARIABLE}: only a bucket on S3 sends events, and WAN_BUCKET_URL is {bucket.url}")
    began_at = datetime.now(UTC)
    # Received before anything is listed: what they tell, a listing after that knows.
    received = _receive(queue, bucket)
    if received.whole or _listing_is_due(upkeep, settings, began_at) or not _apply(upkeep, received, inbox, began_at):
        if not upkeep.by_listing():
            return False
        with _lock:
            _listed.add(bucket.url)
        listed_at = inbox.listing(bucket.url).listed_at
        goes_back = (
            listed_at is None or listed_at < began_at
        )  # it was begun by an earlier tick: before the messages came
        if goes_back and (received.whole or not _apply(upkeep, received, inbox, began_at)):
            return True  # the messages will come again
    queue.delete(received.messages)
    return True


def _receive(queue: EventQueue, bucket: S3Bucket) -> _Received:
    received = _Received()
    end = time.monotonic() + _RECEIVE_FOR_S
    for message in queue.receive():
        received.messages.append(message)
        try:
            received.keys |= bucket.own_keys(concerned_keys(message.body, bucket.name))
        except NotUnderstoodError as error:
            _log.warning("%s: a message is not understood (%s); the whole bucket is listed", VARIABLE, error)
            received.whole = True
        if time.monotonic() > end:
            break
    else:
        received.is_all = True
    received.whole |= len(received.keys) > MANY
    return received


def _listing_is_due(upkeep: Upkeep, settings: Settings, now: datetime) -> bool:
    known = upkeep.opened.ledger.index.inbox.listing(upkeep.opened.bucket.url)
    if upkeep.opened.bucket.url not in _listed or known.listed_at is None or known.made_by != upkeep.made_by:
        return True
    latest = datetime.combine(now.date(), settings.bucket_listing_at, UTC)
    if latest > now:
        latest -= timedelta(days=1)
    return known.listed_at < latest


def _apply(upkeep: Upkeep, received: _Received, inbox: InboxIndex, began_at: datetime) -> bool:
    """False where only the listing can tell."""
    try:
        changes = _changes(upkeep, received.keys, inbox)
        return upkeep.apply(changes, **({"fresh_at": began_at} if received.is_all else {}))
    except (TooManyError, OutOfTimeError):
        return False


def _changes(upkeep: Upkeep, keys: Iterable[str], inbox: InboxIndex) -> Changes:
    """How these objects differ now from what is kept of them."""
    wanted = {key for key in keys if key.startswith(INBOX)}
    if not wanted:
        return Changes({}, frozenset())
    kept = inbox.some_objects(wanted)
    now = {key: as_listed(item) for key, item in find_objects(upkeep.opened.bucket, wanted, _MOST_NEAR).items()}
    there = {key: item for key, item in now.items() if kept.get(key) != item}
    return Changes(there, frozenset(kept.keys() - now.keys()))
