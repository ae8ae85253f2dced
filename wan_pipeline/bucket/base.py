"""What a bucket offers, whatever it is made of: the protocol, its errors, and which keys can be.

Keys are S3's: text with "/" in it, compared by their UTF-8 bytes. A key that ends in "/" is a folder's marker, never an
object.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol
from urllib.parse import quote

TEMPORARY_FOLDER = ".wan-tmp"  # at the bucket's root: unfinished files. No key lies in it, on any kind of bucket.
_MAX_KEY_BYTES = 1024  # S3's limit
_MAX_SEGMENT_BYTES = 255  # of the common file systems; only written keys are held to it


class BucketError(RuntimeError):
    """The bucket could not do it. The message names the bucket, the key and the remedy, and holds no secret."""


class ObjectNotFoundError(BucketError):
    """There is no object of this key."""


@dataclass(frozen=True, slots=True)
class BucketObject:
    """An object as the bucket's listing shows it. `etag` changes when the content does."""

    key: str
    size_bytes: int
    modified_at: datetime  # UTC, aware
    etag: str  # S3's; for a folder f"{mtime_ns}-{size}"


class BucketWriter(Protocol):
    """Takes an object's bytes, piece by piece; see `Bucket.writer`."""

    @property
    def size_bytes(self) -> int:
        """How much was written so far."""
        ...

    def write(self, data: bytes | bytearray | memoryview) -> int: ...

    def landed(self) -> BinaryIO:
        """Where what is written from now on can be read back before it is published, and when it is not: a file of this
        machine. To be asked for before the first byte; the caller closes it, once the writer has ended."""
        ...


class Bucket(Protocol):
    """Every method is synchronous and may be called from any thread. Each may raise BucketError."""

    @property
    def url(self) -> str:
        """For a reader; holds no secret."""
        ...

    def list(self, prefix: str = "", start_after: str = "") -> Iterator[BucketObject]:
        """The objects whose key begins with `prefix` and comes behind `start_after`, in the order of the UTF-8 bytes, read
        as they are asked for."""
        ...

    def stat(self, key: str) -> BucketObject:
        """Raises ObjectNotFoundError."""
        ...

    def exists(self, key: str) -> bool: ...

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """The bytes from `start`, at most `length` of them; empty behind the end. Raises ObjectNotFoundError."""
        ...

    def open(self, key: str) -> BinaryIO:
        """For reading here and there: seekable, and it fetches only what is read. Raises ObjectNotFoundError."""
        ...

    def writer(self, key: str, content_type: str) -> AbstractContextManager[BucketWriter]:
        """A new object, or a new content of an old one, published in one step when the `with` block ends.

        If it ends by an exception (any), nothing is published and nothing is left. Memory does not grow with the size.
        """
        ...

    def write(self, key: str, data: bytes, content_type: str) -> BucketObject: ...

    def copy(self, source_key: str, target_key: str) -> None:
        """Within the bucket, without passing through this process on S3. Raises ObjectNotFoundError."""
        ...

    def uri(self, key: str) -> str:
        """Where the object lies, as tools know it: `s3://bucket/prefix/key` as it is, `file:///path` percent-encoded."""
        ...

    def fetch_url(self, key: str, expires_s: int) -> str | None:
        """Where somebody else gets the object over HTTP: below the public base URL where one is set, otherwise presigned
        (S3, SigV4; its query is a secret). None where the bucket has neither."""
        ...

    def check(self) -> None:
        """Can it be read and written? Raises BucketError that says what is wrong and how to put it right."""
        ...


def is_readable_key(key: str) -> bool:
    """Can this be the key of an object in some bucket? What the listing shows, this allows."""
    return bool(key) and not key.endswith("/") and key.partition("/")[0] != TEMPORARY_FOLDER and _encodable(key)


def why_not_portable(key: str) -> str | None:
    """Why this key cannot be an object's in a folder and on S3 alike; None where it can."""
    if not _encodable(key):
        return "it is no valid Unicode text"
    if len(key.encode()) > _MAX_KEY_BYTES:
        return f"it is longer than {_MAX_KEY_BYTES} bytes"
    if "\0" in key:
        return "it holds a NUL character"
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "it has an empty, '.' or '..' part between its slashes"
    if parts[0] == TEMPORARY_FOLDER:
        return f"{TEMPORARY_FOLDER}/ is kept for unfinished files"
    return None


def require_portable(key: str, bucket: str) -> None:
    """Raises BucketError for a key that is not to be written."""
    reason = why_not_portable(key)
    if reason is None and any(len(part.encode()) > _MAX_SEGMENT_BYTES for part in key.split("/")):
        reason = f"a part between its slashes is longer than {_MAX_SEGMENT_BYTES} bytes"
    if reason is not None:
        raise BucketError(f"{bucket}: {key!r} cannot be written: {reason}. Choose another name.")


def not_found(key: str, bucket: str) -> ObjectNotFoundError:
    """The error for a missing object, the same words for every kind of bucket."""
    return ObjectNotFoundError(f"{bucket}: there is no object {key!r}. Upload it, or correct the name.")


def check_range(start: int, length: int | None) -> None:
    """Raises ValueError for a range that no reader can mean."""
    if start < 0 or (length is not None and length < 0):
        raise ValueError(f"a range begins at 0 or later and has no negative length: start={start}, length={length}")


def public_url(base_url: str, key: str) -> str:
    """The key below the base URL, quoted so that '+', '%', '#', '?' and spaces survive any server's reading."""
    return f"{base_url.rstrip('/')}/{quote(key, safe='/~')}"


def _encodable(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:  # a file name that is no UTF-8 shows as lone surrogates
        return False
    return True
