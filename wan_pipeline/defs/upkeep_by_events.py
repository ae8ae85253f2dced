"""The index brought in line with the bucket by its event notifications, for buckets too large to be listed in each tick.

What a message tells is only which object to look at. A message is deleted once what it told is in the index, so that a tick
that is killed loses nothing. The whole bucket is listed when this process begins, once a day (WAN_BUCKET_LISTING_AT), where
a message is not understood, and where more messages have come than are worth being looked at one by one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock

from wan_pipeline.bucket import S3Bucket
from wan_pipeline.bucket.event_messages import NotUnderstoodError, concerned_keys
from wan_pipeline.bucket.events import LATE, VARIABLE, EventQueue, Message, no_events
from wan_pipeline.bucket.siblings import TooManyError, find_objects
from wan_pipeline.defs.deadline import OutOfTimeError
from wan_pipeline.defs.upkeep import MANY, Upkeep, as_listed
from wan_pipeline.settings import Settings
from wan_pipeline.shots.keys import INBOX
from wan_pipeline.spend.inbox_index import Changes, InboxIndex

_RECEIVE_FOR_S = 15.0
_MOST_NEAR = 2_000  # objects that begin like one that a message names
_log = logging.getLogger(__name__)
_listed: set[str] = set()  # buckets that this process has listed as a whole
_lock = Lock()


@dataclass(slots=True)
class _Told:
    """A message, and what it tells: `keys` without the bucket's prefix, None where it is not understood. `received_at` is
    when it first came to this process."""

    message: Message
    keys: set[str] | None
    received_at: datetime


# By bucket and message what this process has received and the index does not know yet. The queue hides it meanwhile, so that
# the next tick would not have it; a new process lists the whole bucket.
_pending: dict[str, dict[str, _Told]] = {}


def by_events(upkeep: Upkeep, queue: EventQueue) -> bool:
    """Brings the index in line with what the messages tell, or with the listing where that is due. False: the time was not
    enough, and the next tick goes on from here; only a part of the news is known, and nothing is to be taken up on it.

    Raises BucketError, and ConfigurationError where the queue cannot be used.
    """
    opened = upkeep.opened
    bucket, settings, inbox = opened.bucket, opened.settings, opened.ledger.index.inbox
    if not isinstance(bucket, S3Bucket):
        raise no_events(bucket.url)
    began_at = datetime.now(UTC)
    with _lock:
        pending = _pending.setdefault(bucket.url, {})
    # Received before anything is listed: what they tell, a listing after that knows.
    is_all = _receive(queue, bucket, pending, began_at)
    known_at = began_at - LATE if is_all else None
    told = list(pending.values())
    if not _listing_is_due(upkeep, settings, began_at) and _apply(upkeep, told, inbox, known_at):
        _forget(queue, pending, told)
        return is_all
    if not upkeep.by_listing():
        return False
    with _lock:
        _listed.add(bucket.url)
    listed_at = inbox.listing(bucket.url).listed_at
    _forget(queue, pending, [each for each in told if listed_at is not None and each.received_at <= listed_at])
    # The listing was begun by an earlier tick, before these came. Those that are not understood wait for the next one.
    later = list(pending.values())
    if later and _apply(upkeep, later, inbox, known_at):
        _forget(queue, pending, later)
    return True


def _receive(queue: EventQueue, bucket: S3Bucket, pending: dict[str, _Told], began_at: datetime) -> bool:
    """Adds them to those that are pending. False: there may be more that were sent before `began_at`."""
    end = time.monotonic() + _RECEIVE_FOR_S
    received: set[str] = set()
    for answer in queue.receive():
        for message in answer:
            if message.name in pending:
                pending[message.name].message = message  # with a newer receipt
            else:
                pending[message.name] = _Told(message, _keys(message, bucket), datetime.now(UTC))
        # Where uploads never cease there is always one more, and where nothing is hidden for long, the same once more.
        if all(message.sent_at >= began_at or message.name in received for message in answer):
            break
        received |= {message.name for message in answer}
        if time.monotonic() > end:
            return False
    return True


def _keys(message: Message, bucket: S3Bucket) -> set[str] | None:
    try:
        return bucket.own_keys(concerned_keys(message.body, bucket.name))
    except NotUnderstoodError as error:
        _log.warning("%s: a message is not understood (%s); the whole bucket is listed", VARIABLE, error)
        return None


def _forget(queue: EventQueue, pending: dict[str, _Told], told: Sequence[_Told]) -> None:
    queue.delete(each.message for each in told)
    for each in told:
        pending.pop(each.message.name, None)


def _listing_is_due(upkeep: Upkeep, settings: Settings, now: datetime) -> bool:
    known = upkeep.opened.ledger.index.inbox.listing(upkeep.opened.bucket.url)
    if upkeep.opened.bucket.url not in _listed or known.listed_at is None or known.made_by != upkeep.made_by:
        return True
    latest = datetime.combine(now.date(), settings.bucket_listing_at, UTC)
    if latest > now:
        latest -= timedelta(days=1)
    return known.listed_at < latest


def _apply(upkeep: Upkeep, told: Iterable[_Told], inbox: InboxIndex, known_at: datetime | None) -> bool:
    """False where only the listing can tell. `known_at`: with these, all is known that was there then."""
    keys: set[str] = set()
    for each in told:
        if each.keys is None:
            return False
        keys |= each.keys
    if len(keys) > MANY:
        return False
    fresh: dict[str, object] = {}
    if known_at is not None:
        before = inbox.listing(upkeep.opened.bucket.url).fresh_at
        # A listing of a moment ago knew more.
        fresh = {"fresh_at": known_at if before is None else max(known_at, min(before, known_at + LATE))}
    try:
        return upkeep.apply(_changes(upkeep, keys, inbox), **fresh)
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
