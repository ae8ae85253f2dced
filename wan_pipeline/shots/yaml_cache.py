"""Reads the bucket's yamls, each version once.

What belongs here: fetching and remembering. What does not: what a yaml means (spec.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

from wan_pipeline.bucket import Bucket, BucketObject, ObjectNotFoundError
from wan_pipeline.shots.spec import Sidecar, broken_sidecar, parse_sidecar
from wan_pipeline.shots.yaml_reading import MAX_BYTES, Flaw, too_large

_READERS = 16  # a read from S3 is mostly waiting


class YamlCache:
    """Parsed yamls by key, each in its latest version. Whoever lists the same bucket again and again keeps one and hands it
    in each time.

    It holds what the latest listing had and forgets the rest; where two overlap, one of them reads again next time.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, Sidecar]] = {}  # etag and content
        self.reads = 0

    def sidecars(self, bucket: Bucket, objects: Sequence[BucketObject]) -> dict[str, Sidecar]:
        """What each of these yamls says, by key. Raises BucketError where the bucket cannot be read."""
        found = self._read_missing(bucket, objects)
        self._known = {item.key: found[item.key] for item in objects if item.key in found}
        return _by_key(objects, found)

    def some(self, bucket: Bucket, objects: Sequence[BucketObject]) -> dict[str, Sidecar]:
        """The same of a part of a listing: what is known of the rest is not forgotten."""
        self._known = self._read_missing(bucket, objects)
        return _by_key(objects, self._known)

    def _read_missing(self, bucket: Bucket, objects: Sequence[BucketObject]) -> dict[str, tuple[str, Sidecar]]:
        missing = [item for item in objects if self._known.get(item.key, ("",))[0] != item.etag]
        if not missing:
            return self._known
        found = dict(self._known)
        for item in missing:
            found.pop(item.key, None)
        try:
            for item, sidecar in _read_all(bucket, missing):
                self.reads += 1
                if sidecar is not None:
                    found[item.key] = (item.etag, sidecar)
        except BaseException:
            self._known = found  # whoever is interrupted (a tick out of time) goes on from here
            raise
        return found


def _by_key(objects: Sequence[BucketObject], found: dict[str, tuple[str, Sidecar]]) -> dict[str, Sidecar]:
    return {item.key: found[item.key][1] if item.key in found else _gone(item.key) for item in objects}


def _read_all(bucket: Bucket, items: Sequence[BucketObject]) -> Iterator[tuple[BucketObject, Sidecar | None]]:
    """Each with what it says, in their order, as they are read."""
    if len(items) < 2:
        yield from ((item, _read(bucket, item)) for item in items)
        return
    with ThreadPoolExecutor(min(_READERS, len(items)), thread_name_prefix="yaml") as pool:
        yield from zip(items, pool.map(_read, repeat(bucket), items), strict=True)


def _read(bucket: Bucket, item: BucketObject) -> Sidecar | None:
    """None where the file went away after it was listed: nothing to remember."""
    if item.size_bytes > MAX_BYTES:
        return broken_sidecar(item.key, too_large(item.size_bytes).flaw)
    try:
        return parse_sidecar(item.key, bucket.read(item.key))
    except ObjectNotFoundError:
        return None


def _gone(key: str) -> Sidecar:
    """Its shots stay unready until the next listing: their image must not be bought without the settings beside it."""
    flaw = Flaw(
        (), 0, "", "the file was listed, but is gone", "Nothing, if it was just removed: the next listing will tell"
    )
    return broken_sidecar(key, flaw)
