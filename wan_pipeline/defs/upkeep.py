"""The index brought in line with the bucket, within a tick's time and with no more work than there are changes.

A tick walks the listing beside what is kept of it. Where few objects differ, only the shots that they concern are found
anew; where many do, or it cannot be told which (a `_defaults.yaml`, another model by default, a new version of this
program), all of them are. A walk that takes longer than a tick is gone on with by the next one.

What belongs here: how the index is kept. What does not: which shots are taken up (take_up.py, sensors.py), and what a
change means for which shot (shots/affected.py).
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast

import wan_pipeline.providers
import wan_pipeline.shots
from wan_pipeline.bucket import Bucket, BucketError, BucketObject
from wan_pipeline.defs.deadline import OutOfTimeError, ReadableUntil, readable_until
from wan_pipeline.defs.resources import OpenInstallation, installation
from wan_pipeline.defs.take_up import update_listed
from wan_pipeline.shots.affected import Known, affected
from wan_pipeline.shots.inbox import YAML_ENDINGS, composed, stem_of
from wan_pipeline.shots.keys import INBOX
from wan_pipeline.shots.scoped import UncertainError
from wan_pipeline.shots.spec import Sidecar
from wan_pipeline.spend.inbox_index import Changes, InboxIndex, ListedObject

MANY = 2_000  # changed objects; beyond, the shots are found all at once
_TIME_TO_BUILD_S = 30.0  # of a tick are left for that when the yamls are read
_TIME_TO_END_S = 5.0  # when the listing is
_GO_ON_WITHIN = timedelta(minutes=15)  # what was listed before that is listed again


def made_by(opened: OpenInstallation) -> str:
    """What the shots of the index depend on beside the bucket: settings, and the program that reads them."""
    parts = [opened.settings.default_model, opened.simulated, _program()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@cache
def _program() -> str:
    """A digest of the program text that turns files into shots; another for each process where there is no text."""
    digest = hashlib.sha256()
    folders = [Path(folder) for package in (wan_pipeline.shots, wan_pipeline.providers) for folder in package.__path__]
    files = sorted(file for folder in folders for file in folder.glob("*.py"))
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest() if files else secrets.token_hex(16)


@dataclass
class Upkeep:
    """One tick's. `deadline` is of `time.monotonic`."""

    opened: OpenInstallation
    deadline: float

    def __post_init__(self) -> None:
        self._index = self.opened.ledger.index
        self._inbox = self._index.inbox
        self._url = self.opened.bucket.url
        self._bucket = readable_until(self.opened.bucket, self.deadline)
        self._to_list = readable_until(self.opened.bucket, self.deadline - _TIME_TO_END_S)
        self._to_build = ReadableUntil(self.opened.bucket, self.deadline - _TIME_TO_BUILD_S)
        self.made_by = made_by(self.opened)

    def by_listing(self) -> bool:
        """Brings the index in line with the listing. False: the time was not enough, and the next tick goes on from here.

        Raises BucketError.
        """
        known = self._inbox.listing(self._url)
        now = datetime.now(UTC)
        if known.made_by is None and known.began_at is None and _is_recent(known.listed_at, now):
            return self._all(known.listed_at or now)  # an earlier tick has listed it, and had no time for more
        goes_on = known.reached is not None and _is_recent(known.began_at, now)
        began_at = known.began_at if goes_on and known.began_at is not None else now
        walk = _Walk(self._inbox, self._to_list, began_at, known.reached or "" if goes_on else "")
        changes = walk.go()
        end: dict[str, Any]
        if walk.is_over:
            end = {"fresh_at": began_at, "listed_at": began_at, "began_at": None, "reached": None}
        elif walk.reached:
            end = {"began_at": began_at, "reached": walk.reached}
        else:
            return False
        whole = walk.wrote_many or known.made_by != self.made_by
        if not whole:
            try:
                whole = not self.apply(changes, **end)
            except OutOfTimeError:
                return False
        if whole:
            self._inbox.apply(self._url, changes, made_by=None, **{**end, "fresh_at": None})
            return walk.is_over and self._all(began_at)
        return walk.is_over

    def apply(self, changes: Changes, **told: object) -> bool:
        """The index after these changes, if what they concern can be told; and these fields of its listing. False where it
        cannot, or where all shots are found as quickly: nothing was written then."""
        others = self._index.other_than_listed()
        if not changes and not others:
            self._inbox.note(self._url, **told)
            return True
        if len(changes) + len(others) > MANY or not self._index.holds_at_least(installation.LARGE_INBOX):
            return False
        try:
            self._apply_some(changes, others, told)
        except UncertainError:
            return False
        return True

    def _apply_some(self, changes: Changes, others: Collection[str], told: Mapping[str, object]) -> None:
        yamls = {key for key in changes.keys if stem_of(key)[1] in YAML_ENDINGS}
        there = [as_bucket_object(changes.there[key]) for key in sorted(yamls & changes.there.keys())]
        now = self.opened.yamls(there, self._bucket)
        namers = _Namers(self.opened, yamls, now)

        def unchanged(keys: Collection[str]) -> Collection[str]:
            return self._inbox.some_objects(keys).keys() - changes.keys

        before = self._inbox.names_in(yamls)
        keys = affected(changes.keys, before, now, Known(namers, self._index.of_stems, unchanged)) | set(others)
        shots = self.opened.discover_near(keys, namers, self._bucket)
        update_listed(self._index, shots, keys, datetime.now(UTC), simulated=self.opened.simulated)
        names = {file: tuple(now[file].all_named()) if file in now else () for file in yamls}
        self._inbox.apply(self._url, changes, names, **told)

    def _all(self, listed_at: datetime) -> bool:
        """Every shot, from the objects that are kept. False where the time that is left is not enough."""
        try:
            found = self.opened.discover_whole(cast(Bucket, _Kept(self._to_build, self._inbox.objects())))
        except OutOfTimeError:
            return False
        update_listed(self._index, found.shots, None, datetime.now(UTC), simulated=self.opened.simulated)
        self._inbox.replace_names(self._url, found.named, made_by=self.made_by, fresh_at=listed_at)
        return True


class _Walk:
    """The listing beside what is kept of it."""

    def __init__(self, inbox: InboxIndex, bucket: Bucket, began_at: datetime, reached: str) -> None:
        self._inbox = inbox
        self._bucket = bucket
        self._began_at = began_at
        self.reached = reached
        self.is_over = False
        self.wrote_many = False

    def go(self) -> Changes:
        """What differs. Many changes are written down as they are found (`wrote_many`), and the rest is given back."""
        there: dict[str, ListedObject] = {}
        gone: set[str] = set()
        try:
            for key, item in self._differences():
                if item is None:
                    gone.add(key)
                else:
                    there[key] = item
                if len(there) + len(gone) >= MANY:
                    self.wrote_many = True
                    changes = Changes(there, frozenset(gone))
                    told: dict[str, Any] = {
                        "made_by": None,
                        "fresh_at": None,
                        "began_at": self._began_at,
                        "reached": self.reached or None,
                    }
                    self._inbox.apply(self._bucket.url, changes, **told)
                    there, gone = {}, set()
            self.is_over = True
        except OutOfTimeError:
            pass
        return Changes(there, frozenset(gone))

    def _differences(self) -> Iterator[tuple[str, ListedObject | None]]:
        """Key and object where it is new or changed, key and None where it is gone; `reached` is the last one compared."""
        bucket = self._bucket
        listed = bucket.list(INBOX, self.reached) if self.reached else bucket.list(INBOX)
        kept = self._inbox.objects_behind(self.reached)
        old = next(kept, None)
        for item in listed:
            if item.key <= self.reached:
                raise BucketError(f"{bucket.url} is not listed in the order of its keys: {item.key!r} came too late")
            while old is not None and old.key < item.key:
                yield old.key, None
                old = next(kept, None)
            self.reached = item.key
            if old is None or old.key != item.key:
                yield item.key, as_listed(item)
                continue
            if old.etag != item.etag or old.size_bytes != item.size_bytes or old.modified_at != item.modified_at:
                yield item.key, as_listed(item)
            old = next(kept, None)
        while old is not None:
            yield old.key, None
            old = next(kept, None)


class _Namers:
    """Who names a key: as the index knows it, but for these yamls, of which it is known what they say now."""

    def __init__(self, opened: OpenInstallation, files: Collection[str], now: Mapping[str, Sidecar]) -> None:
        self._inbox = opened.ledger.index.inbox
        self._files = files
        self._now = [(file, named) for file, sidecar in now.items() for named in sidecar.all_named()]

    def __call__(self, keys: Collection[str]) -> list[tuple[str, str]]:
        like = {composed(key) for key in keys}
        now = [(file, named) for file, named in self._now if composed(named) in like]
        return now + [(file, named) for file, named in self._inbox.namers(keys) if file not in self._files]


class _Kept:
    """A bucket whose listing is what is kept of it."""

    def __init__(self, bucket: ReadableUntil, objects: Iterator[ListedObject]) -> None:
        self._bucket = bucket
        self._objects = objects

    def list(self, prefix: str = "") -> Iterator[BucketObject]:
        for item in self._objects:
            self._bucket.check_time()
            if item.key.startswith(prefix):
                yield as_bucket_object(item)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bucket, name)


def as_listed(item: BucketObject) -> ListedObject:
    """An object of the bucket as it is kept."""
    return ListedObject(item.key, item.etag, item.size_bytes, item.modified_at)


def as_bucket_object(item: ListedObject) -> BucketObject:
    """An object as the bucket has shown it."""
    return BucketObject(item.key, item.size_bytes, item.modified_at, item.etag)


def _is_recent(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and abs(now - moment) <= _GO_ON_WITHIN
