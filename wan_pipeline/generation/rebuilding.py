"""Rebuilding: the ledger's jobs, takes and bills, restored from the manifests that lie beside the videos in the bucket.

What belongs here: going through the bucket, and saying what the manifests cannot tell. What does not: what one must hold
(manifest_reading.py), writing rows (`Ledger.restore` adds what is missing and never changes what is there), and the words
of the command.

A manifest is written when a video is stored, or when what came in its place is kept for inspection. So the manifests know
every video that can be had and what it cost. They know nothing of jobs that failed, were rejected or written off, or that
were in flight or ambiguous when the ledger was lost: those show as holes in a shot's numbering where a later take was
stored, and behind the last one not at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TypeVar

from wan_pipeline.bucket import Bucket, BucketError
from wan_pipeline.generation.manifest_reading import NoManifestError, ReadManifest, read_manifest
from wan_pipeline.generation.places import video_key
from wan_pipeline.providers.words import shown
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import RestoredTake

Item = TypeVar("Item")

_OUTPUTS = "videos/"
_PRODUCT = re.compile(r"videos/(?P<shot>.+)/take-(?P<take>[1-9][0-9]{0,8})(?P<ending>\.json|\.unplayable\.json|\.mp4)")
_LARGEST_MANIFEST_BYTES = 1 << 20
_AT_ONCE = 16  # manifests read at the same time: on S3 each is a wait
_BATCH = 256  # manifests restored in one transaction
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Told:
    """A manifest, or a video without one, of which a person has to know, and why."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class MissingTake:
    """A number in a shot's takes that neither the bucket nor the ledger has. It was given to something that was asked for
    after `since` and before `until` (None: nobody knows), and nothing else is known of it. `providers`: where the takes
    before and after it were bought."""

    shot: str
    take: int
    since: datetime | None
    until: datetime | None
    providers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came of it. `unrestored`: what says of a paid video, and could not be taken for a row of the ledger.
    `wrong_files`: manifests whose rows are in the ledger, while the file that they name is gone or is another one. `newest`:
    when the last job that the manifests know was bought; what came after it they cannot know of."""

    restored: int
    there_already: int
    unrestored: tuple[Told, ...]
    wrong_files: tuple[Told, ...]
    missing: tuple[MissingTake, ...]
    newest: datetime | None


# --- the bucket, manifest by manifest ---


@dataclass(slots=True)
class _Shot:
    """What the bucket has of one shot, by take: the manifest's key, whether there is a video, and when and where it was
    bought, as far as its manifest can be read."""

    manifests: dict[int, str] = field(default_factory=dict[int, str])
    videos: set[int] = field(default_factory=set[int])
    bought: dict[int, tuple[datetime, str]] = field(default_factory=dict[int, tuple[datetime, str]])


def rebuild(
    ledger: Ledger, bucket: Bucket, *, verify_hashes: bool = False, tell: Callable[[int], None] | None = None
) -> Rebuilt:
    """Reads every manifest in the bucket and has the ledger add what it does not have. Buys nothing, changes nothing that
    is there; said again it does nothing. `tell` hears how many manifests are done.

    `verify_hashes`: reads the videos too, each to its end. Raises BucketError where the bucket cannot be listed.
    """
    sizes = {item.key: item.size_bytes for item in bucket.list(_OUTPUTS)}
    shots = _inventory(sizes)
    keys = [key for of_shot in shots.values() for key in of_shot.manifests.values()]
    unrestored: list[Told] = []
    wrong_files: dict[str, str] = {}
    reused: list[RestoredTake] = []
    counts = _Counts()
    done = 0

    def read(key: str) -> ReadManifest | Told:
        try:
            return read_manifest(bucket, key, sizes, verify_hashes=verify_hashes)
        except (NoManifestError, BucketError) as error:
            return Told(key, shown(str(error)))

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="wan-manifests") as pool:
        for some in _batches(keys):
            rows: list[RestoredTake] = []
            for answer in pool.map(read, some):
                if isinstance(answer, Told):
                    unrestored.append(answer)
                    continue
                if answer.wrong_file is not None:
                    wrong_files[answer.row.key] = answer.wrong_file
                if answer.row.reused:
                    reused.append(answer.row)
                else:
                    rows.append(answer.row)
                    shots[answer.row.shot].bought[answer.row.take] = (answer.bought_at, answer.provider)
            counts += _restore(ledger, rows)
            done += len(some)
            if tell is not None:
                tell(done)
        # After those that bought: a job is rather known by its own manifest than by that of a copy.
        for some in _batches(reused):
            counts += _restore(ledger, some)
    unrestored += counts.refused
    missing: list[MissingTake] = []
    for name, of_shot in shots.items():
        known = {take.take for take in ledger.takes(name)} if _has_holes(of_shot) else set[int]()
        missing += _missing(name, of_shot, known)
        unrestored += [
            Told(video_key(name, number), "a video without its manifest: nothing says which job it came from")
            for number in sorted(of_shot.videos - of_shot.manifests.keys() - known)
        ]
    moments = [moment for of_shot in shots.values() for moment, _ in of_shot.bought.values()]
    wrong = [Told(key, reason) for key, reason in wrong_files.items() if key not in {each.key for each in unrestored}]
    return Rebuilt(
        counts.restored, counts.there, tuple(unrestored), tuple(wrong), tuple(missing), max(moments, default=None)
    )


def _inventory(keys: Iterable[str]) -> dict[str, _Shot]:
    shots: dict[str, _Shot] = {}
    for key in keys:
        found = _PRODUCT.fullmatch(key)
        if found is None:
            continue
        of_shot, take = shots.setdefault(found["shot"], _Shot()), int(found["take"])
        match found["ending"]:
            case ".mp4":
                of_shot.videos.add(take)
            case ".json":
                of_shot.manifests[take] = key
            case _:  # what came first was no video; where one came after all, its own manifest counts
                of_shot.manifests.setdefault(take, key)
    return shots


@dataclass(frozen=True, slots=True)
class _Counts:
    restored: int = 0
    there: int = 0
    refused: tuple[Told, ...] = ()

    def __add__(self, other: _Counts) -> _Counts:
        return _Counts(self.restored + other.restored, self.there + other.there, self.refused + other.refused)


def _restore(ledger: Ledger, rows: Sequence[RestoredTake]) -> _Counts:
    known = {shot: {take.take for take in ledger.takes(shot)} for shot in {row.shot for row in rows}}
    refused = tuple(Told(key, shown(problem)) for key, problem in ledger.restore(rows) if problem is not None)
    there = {row.key for row in rows if row.take in known[row.shot]} - {item.key for item in refused}
    return _Counts(len(rows) - len(refused) - len(there), len(there), refused)


def _batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    left = iter(items)
    while some := list(islice(left, _BATCH)):
        yield some


def _has_holes(of_shot: _Shot) -> bool:
    return bool(of_shot.videos - of_shot.manifests.keys()) or len(of_shot.manifests) < max(of_shot.manifests, default=0)


def _missing(shot: str, of_shot: _Shot, known: set[int]) -> list[MissingTake]:
    """The holes below the shot's last take, each between its neighbours."""
    found: list[MissingTake] = []
    there = known | of_shot.manifests.keys() | of_shot.videos
    bought = of_shot.bought
    for number in range(1, max(of_shot.manifests, default=0)):
        if number in there:
            continue
        before = max((other for other in bought if other < number), default=None)
        after = min((other for other in bought if other > number), default=None)
        since, until = (None if other is None else bought[other][0] for other in (before, after))
        providers = {bought[other][1] for other in (before, after) if other is not None}
        found.append(MissingTake(shot, number, since, until, tuple(sorted(providers))))
    return found
