"""One manifest, read back: checked against itself and against the file that it names, and made a row for the ledger.

A file that is gone, or is another one today, takes nothing from what was paid: the row is restored all the same, or the
next run would buy it again, and the file is told of.

What belongs here: what a manifest must say to be believed. What does not: which manifests there are, and what becomes of
the rows (rebuilding.py); how one is written (manifest.py); what the ledger asks of a job's row (spend/restoring.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from wan_pipeline.bucket import Bucket, ObjectNotFoundError
from wan_pipeline.generation.manifest import MANIFEST_VERSION
from wan_pipeline.generation.places import beside, video_key
from wan_pipeline.money import Money
from wan_pipeline.spend.records import Basis, RestoredTake

KEPT = ".unplayable.json"  # the ending of a manifest of what came in place of a video
_LARGEST_MANIFEST_BYTES = 1 << 20
_CHUNK = 1 << 20


class NoManifestError(Exception):
    """It cannot be taken for a row; the message is the reason."""


@dataclass(frozen=True, slots=True)
class ReadManifest:
    """The row, and when and where its job was bought. `wrong_file`: what is wrong with the file that it names today."""

    row: RestoredTake
    bought_at: datetime
    provider: str
    wrong_file: str | None = None


_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Word = Annotated[str, Field(min_length=1)]
_Count = Annotated[int, Field(ge=1, le=2**31 - 1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Job(_Part):
    shot: _Word
    take: _Count
    provider: _Word
    simulated: bool
    claimed_at: AwareDatetime


class _StoredJob(_Job):
    state: Literal["stored"]
    video_sha256: _Hash


class _LostJob(_Job):
    state: Literal["lost"]
    own_digest: str
    quoted_high: Money
    billed: Money | None


class _File(_Part):
    sha256: _Hash
    size_bytes: int


class _Video(_File):
    key: _Word


class _Kept(_File):
    key: _Word | None  # None: it was too large to be kept


class _Manifest(_Part):
    manifest_version: _Count
    shot: _Word
    take: _Count
    simulated: bool


class _OfVideo(_Manifest):
    own_digest: str
    reused_from: dict[str, Any] | None
    video: _Video
    job: _StoredJob


class _OfKept(_Manifest):
    kept: _Kept
    job: _LostJob


M = TypeVar("M", _OfVideo, _OfKept)


def read_manifest(bucket: Bucket, key: str, sizes: Mapping[str, int], *, verify_hashes: bool) -> ReadManifest:
    """The manifest, checked against itself and against the file that it names. `sizes` are those of the bucket's listing.

    Raises NoManifestError, and BucketError where the bucket cannot be read.
    """
    if sizes[key] > _LARGEST_MANIFEST_BYTES:
        raise NoManifestError(f"is {sizes[key]:,} bytes large, which no manifest is")
    try:
        raw: Any = json.loads(bucket.read(key))
    except (ValueError, RecursionError) as error:  # no JSON, or no UTF-8
        raise NoManifestError(f"is no JSON: {error}") from None
    if key.endswith(KEPT):
        kept = _validated(_OfKept, raw, key)
        wrong = _wrong_with(bucket, kept.kept, sizes, verify_hashes=verify_hashes)
        return replace(_kept_row(kept, raw["job"], key), wrong_file=wrong)
    stored = _validated(_OfVideo, raw, key)
    if (stored.reused_from is None) != (stored.job.shot == stored.shot):
        raise NoManifestError("contradicts itself about whose video it is")
    if stored.job.video_sha256 != stored.video.sha256:
        raise NoManifestError("contradicts itself about the video's SHA-256")
    wrong = _wrong_with(bucket, stored.video, sizes, verify_hashes=verify_hashes)
    return replace(_stored_row(stored, raw["job"], key, bucket), wrong_file=wrong)


def _validated(kind: type[M], raw: Any, key: str) -> M:
    try:
        manifest = kind.model_validate(raw)
    except ValidationError as error:
        raise NoManifestError(_told(error)) from None
    if manifest.manifest_version > MANIFEST_VERSION:
        raise NoManifestError(
            f"is of version {manifest.manifest_version}, which is newer than this program (it knows {MANIFEST_VERSION})"
        )
    ending = KEPT if kind is _OfKept else ".json"
    if key != beside(video_key(manifest.shot, manifest.take), ending):
        raise NoManifestError(f"says that it is of {manifest.shot}, take {manifest.take}, and lies elsewhere")
    if manifest.job.simulated != manifest.simulated:
        raise NoManifestError("contradicts itself about whether it was simulated")
    return manifest


def _wrong_with(bucket: Bucket, file: _Video | _Kept, sizes: Mapping[str, int], *, verify_hashes: bool) -> str | None:
    """None: the file that it names is there, and is the one that was stored, as far as can be told without reading it."""
    if file.key is None:
        return None
    try:
        size_bytes = sizes[file.key] if file.key in sizes else bucket.stat(file.key).size_bytes
        if size_bytes != file.size_bytes:
            return f"{file.key} has {size_bytes:,} bytes, and was stored with {file.size_bytes:,}"
        if verify_hashes and (found := _sha256(bucket, file.key)) != file.sha256:
            return f"{file.key} has the SHA-256 {found}, and was stored with {file.sha256}"
    except ObjectNotFoundError:
        return f"{file.key} is not in the bucket"
    return None


def _stored_row(manifest: _OfVideo, row: dict[str, Any], key: str, bucket: Bucket) -> ReadManifest:
    job, video = manifest.job, manifest.video.key
    # Where the file is today: the bucket may have been copied to another place since.
    there = {"video_key": video, "video_uri": bucket.uri(video)}
    if row.get("poster_uri"):
        there["poster_uri"] = bucket.uri(beside(video, ".webp"))
    reused = (job.shot, job.take) != (manifest.shot, manifest.take)
    take = RestoredTake(key, manifest.shot, manifest.take, manifest.own_digest, reused, row | there)
    return ReadManifest(take, job.claimed_at, job.provider)


def _kept_row(manifest: _OfKept, row: dict[str, Any], key: str) -> ReadManifest:
    """It was written just before the ledger was told that the job is lost: what nobody had billed is billed as quoted."""
    job = manifest.job
    ending: dict[str, Any] = {"kept_key": manifest.kept.key or key}
    if job.billed is None:
        ending |= {"billed": str(job.quoted_high), "basis": Basis.QUOTED.value}
    take = RestoredTake(key, manifest.shot, manifest.take, job.own_digest, False, row | ending)
    return ReadManifest(take, job.claimed_at, job.provider)


def _told(error: ValidationError) -> str:
    """The first things wrong with a manifest, by their fields."""
    lines = [
        f"{'.'.join(str(part) for part in item['loc']) or 'the file'}: {item['msg'].removeprefix('Value error, ')}"
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    more = f"; and {len(lines) - 3} more" if len(lines) > 3 else ""
    return f"is no manifest: {'; '.join(lines[:3])}{more}"


def _sha256(bucket: Bucket, key: str) -> str:
    digest = hashlib.sha256()
    with bucket.open(key) as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
