"""How long a shot's files must stay quiet before it is taken up.

What belongs here: the one rule, and what it needs to remember. What does not: who waits.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from threading import Lock

from wan_pipeline.shots.shot import Shot

_REMEMBERED = 10_000


class _FirstSights:
    """When each file of the future was first seen by this process. The oldest are forgotten."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, datetime], datetime] = OrderedDict()
        self._lock = Lock()

    def of(self, shot: Shot, now: datetime) -> datetime:
        at = (shot.key, shot.last_modified)
        with self._lock:
            first = self._seen.setdefault(at, now)
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        return first


_first_sights = _FirstSights()


def settled(shot: Shot, now: datetime, settle_s: float, seen_at: datetime | None = None) -> float:
    """Seconds until the shot's files have been quiet for `settle_s`; 0 where they have.

    A file whose time lies in the future (another clock wrote it) counts as changed when it was first seen: at `seen_at`
    where the caller knows that (the shot index does), otherwise when this process first asked. So nothing waits longer
    than `settle_s`.
    """
    quiet_since = shot.last_modified
    if quiet_since > now and seen_at is None:
        seen_at = _first_sights.of(shot, now)
    return left_to_settle(quiet_since, now, settle_s, seen_at or now)


def left_to_settle(
    modified_at: datetime, now: datetime, settle_s: float, seen_at: datetime, known_at: datetime | None = None
) -> float:
    """The same of files of which the newest was modified at `modified_at` and first seen at `seen_at`.

    `known_at`: only what was in the bucket then is known, so only until then were the files quiet. That is for an image
    alone: who uploads a yaml that names it, and then the image, has the yaml seen before the image passes for a shot.
    """
    quiet_since = modified_at if modified_at <= now else min(now, seen_at)
    return max(0.0, settle_s - ((known_at or now) - quiet_since).total_seconds())
