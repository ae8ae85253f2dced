"""A few objects found without the whole listing: those of some beginnings, and those of some keys.

What belongs here: asking for several at once. What does not: which ones are wanted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Protocol, runtime_checkable

from wan_pipeline.bucket.base import Bucket, BucketObject

_ASKERS = 16  # an answer of S3 is mostly waited for


class TooManyError(Exception):
    """More objects than were meant to be looked at begin like that."""


@runtime_checkable
class _ListsSiblings(Protocol):
    def siblings(self, prefix: str) -> Iterator[BucketObject]:
        """As `list`, without what lies in folders below."""
        ...


@runtime_checkable
class _ListsManySiblings(Protocol):
    def many_siblings(self, prefixes: Collection[str]) -> Iterator[BucketObject]:
        """Those of all these beginnings, each once, in any order."""
        ...


def siblings(bucket: Bucket, prefixes: Collection[str], at_most: int) -> list[BucketObject]:
    """The objects whose keys begin with one of these and have no further "/" behind it, in the order of their keys.

    Raises TooManyError where one beginning has more than `at_most`, BucketError where the bucket cannot be listed.
    """
    if isinstance(bucket, _ListsManySiblings):
        found = {item.key: item for item in islice(bucket.many_siblings(prefixes), at_most * len(prefixes) + 1)}
        if len(found) > at_most * len(prefixes):
            raise TooManyError
        return [found[key] for key in sorted(found)]

    def look(prefix: str) -> list[BucketObject]:
        some = list(islice(_of(bucket, prefix), at_most + 1))
        if len(some) > at_most:
            raise TooManyError(prefix)
        return some

    wanted = sorted(prefixes)
    if len(wanted) < 2:
        parts = [look(prefix) for prefix in wanted]
    else:
        with ThreadPoolExecutor(min(_ASKERS, len(wanted)), thread_name_prefix="siblings") as pool:
            parts = list(pool.map(look, wanted))
    by_key = {item.key: item for part in parts for item in part}
    return [by_key[key] for key in sorted(by_key)]


def find_objects(bucket: Bucket, keys: Collection[str], at_most: int) -> dict[str, BucketObject]:
    """The objects of these keys, as a listing shows them (a HEAD rounds their times). Raises as `siblings`."""
    wanted = frozenset(keys)
    return {item.key: item for item in siblings(bucket, wanted, at_most) if item.key in wanted}


def _of(bucket: Bucket, prefix: str) -> Iterator[BucketObject]:
    if isinstance(bucket, _ListsSiblings):
        return bucket.siblings(prefix)
    items = bucket.list(prefix)
    return (item for item in items if "/" not in item.key[len(prefix) :])
