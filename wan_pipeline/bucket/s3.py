"""A bucket on S3 or anything that speaks it, through s3fs.

s3fs gives the connection, the retries and the error types; the calls are S3's own (`call_s3`), because s3fs' file-system
view caches listings, shows folders that are not there and reads `?versionId=` in keys. A kill -9 in the middle of a large
upload leaves an unfinished multipart upload on the server: no listing shows it, and a lifecycle rule
(AbortIncompleteMultipartUpload) removes it.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import threading
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from wan_pipeline.bucket import s3_listing
from wan_pipeline.bucket.base import (
    TEMPORARY_FOLDER,
    BucketError,
    BucketObject,
    ObjectNotFoundError,
    check_range,
    is_readable_key,
    not_found,
    public_url,
    require_portable,
)
from wan_pipeline.bucket.ranged import RangedReader
from wan_pipeline.bucket.s3_errors import error_code, explain
from wan_pipeline.bucket.s3_writing import SLOTS, PartsWriter
from wan_pipeline.problems import ConfigurationError

if TYPE_CHECKING:
    from s3fs import S3FileSystem

_BUCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{1,253}")  # names of old, and access points' ARNs
_MAX_EXPIRES_S = 7 * 24 * 3600  # SigV4's limit
_BODY_TRIES = 4
_GONE = frozenset({"NoSuchKey", "404", "NotFound"})
_T = TypeVar("_T")


class S3Bucket:
    """See `Bucket`. `prefix` is text that every key gets in front, a "/" between."""

    def __init__(self, name: str, prefix: str = "", public_base_url: str | None = None) -> None:
        if not _BUCKET_NAME.fullmatch(name):
            raise ConfigurationError(f"WAN_BUCKET_URL: {name!r} is no bucket's name. Write s3://bucket/prefix.")
        self._name = name
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._public_base_url = public_base_url
        self._lock = threading.Lock()
        self._connected: tuple[int, S3FileSystem] | None = None
        self._slots = asyncio.Semaphore(SLOTS)  # of that connection's loop
        self._is_there = False

    @property
    def url(self) -> str:
        return f"s3://{self._name}/{self._prefix}".rstrip("/")

    @property
    def name(self) -> str:
        """The bucket's own, without the prefix."""
        return self._name

    def own_keys(self, keys: Iterable[str]) -> set[str]:
        """Of keys as S3 has them, those below the prefix, as they are called here."""
        found = {key.removeprefix(self._prefix) for key in keys if key.startswith(self._prefix)}
        return {key for key in found if is_readable_key(key)}

    def __repr__(self) -> str:
        return f"S3Bucket({self.url!r})"

    # --- reading ---

    def list(self, prefix: str = "", start_after: str = "") -> Iterator[BucketObject]:
        """See `Bucket`. `start_after`: only what comes behind this key."""
        more = {"StartAfter": self._prefix + start_after} if start_after else {}
        return self._pages({"Prefix": self._prefix + prefix, **more})

    def siblings(self, prefix: str) -> Iterator[BucketObject]:
        """As `list`, without what lies in folders below."""
        return self._pages({"Prefix": self._prefix + prefix, "Delimiter": "/"})

    def _pages(self, arguments: dict[str, str]) -> Iterator[BucketObject]:
        while True:
            page = self._call("list_objects_v2", **arguments)
            for item in page.get("Contents", ()):
                key = item["Key"].removeprefix(self._prefix)
                if is_readable_key(key):
                    yield _object(key, item["Size"], item)
            if not page.get("IsTruncated"):
                return
            arguments = {**arguments, "ContinuationToken": page["NextContinuationToken"]}

    def stat(self, key: str) -> BucketObject:
        self._require_readable(key)
        head = self._call("head_object", key)
        return _object(key, head["ContentLength"], head)

    def exists(self, key: str) -> bool:
        try:
            self.stat(key)
        except ObjectNotFoundError:
            return False
        return True

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        check_range(start, length)
        if length == 0:
            self.stat(key)
            return b""
        return self._get(key, start, length, None)

    def open(self, key: str) -> BinaryIO:
        found = self.stat(key)
        etag = f'"{found.etag}"'  # the whole is read from one version: a change in between is an error
        raw = RangedReader(found.size_bytes, lambda start, length: self._get(key, start, length, etag))
        return cast("BinaryIO", io.BufferedReader(raw, 1 << 16))

    # --- writing ---

    @contextmanager
    def writer(self, key: str, content_type: str) -> Generator[PartsWriter]:
        require_portable(key, self.url)
        writer = PartsWriter(_Uploads(self), key, content_type)
        try:
            yield writer
            writer.publish()
        except BaseException as error:
            writer.abort(error)
            raise

    def write(self, key: str, data: bytes, content_type: str) -> BucketObject:
        with self.writer(key, content_type) as writer:
            writer.write(data)
        return self.stat(key)

    def copy(self, source_key: str, target_key: str) -> None:
        require_portable(target_key, self.url)
        self.stat(source_key)
        if source_key != target_key:
            source = {"Bucket": self._name, "Key": self._prefix + source_key}
            self._call("copy_object", target_key, CopySource=source)

    # --- addresses ---

    def uri(self, key: str) -> str:
        return f"s3://{self._name}/{self._prefix}{key}"

    def fetch_url(self, key: str, expires_s: int) -> str | None:
        """See `Bucket`. A URL signed with temporary keys ends with them, whatever `expires_s` says."""
        if self._public_base_url:
            return public_url(self._public_base_url, key)
        if not 1 <= expires_s <= _MAX_EXPIRES_S:
            raise ValueError(f"a presigned URL lasts 1 to {_MAX_EXPIRES_S} s, not {expires_s}")

        async def sign(fs: S3FileSystem) -> str:
            await fs.set_session()
            client: Any = await fs.get_s3(self._name)
            params = {"Bucket": self._name, "Key": self._prefix + key}
            return await client.generate_presigned_url("get_object", Params=params, ExpiresIn=expires_s)

        return self._run(sign, key)

    def check(self) -> None:
        """Lists, reads a byte, and begins and aborts an upload: that needs the right to write and shows nobody anything."""
        page = self._call("list_objects_v2", Prefix=self._prefix, MaxKeys=10)
        readable = [item["Key"] for item in page.get("Contents", ()) if item["Size"] and not item["Key"].endswith("/")]
        for full_key in readable[:1]:
            self.read(full_key.removeprefix(self._prefix), 0, 1)
        key = f"{TEMPORARY_FOLDER}/check"
        upload = self._call("create_multipart_upload", key)
        self._call("abort_multipart_upload", key, UploadId=upload["UploadId"])

    # --- within ---

    def _fs(self) -> S3FileSystem:
        """One connection per process: neither it nor its loop's thread survives a fork."""
        with self._lock:
            if self._connected is None or self._connected[0] != os.getpid():
                self._connected = (os.getpid(), _connect())
                self._slots = asyncio.Semaphore(SLOTS)
            return self._connected[1]

    def _run(self, action: Callable[[S3FileSystem], Awaitable[_T]], key: str | None) -> _T:
        """The action on s3fs' own loop, whose thread serves all callers; its errors explained."""
        from fsspec.asyn import sync

        fs = self._fs()
        with self._explained(key):
            return cast("_T", sync(fs.loop, action, fs))

    @contextmanager
    def _explained(self, key: str | None) -> Generator[None]:
        """What S3 and the network raise, as BucketErrors."""
        import aiohttp
        from botocore.exceptions import BotoCoreError

        try:
            yield
        except (OSError, BotoCoreError, aiohttp.ClientError) as error:
            if key is not None and error_code(error) in _GONE and self._bucket_is_there():
                raise not_found(key, self.url) from None
            raise BucketError(explain(error, self._name, self.url, key, _endpoint(self._fs()))) from error

    def _begin(self, method: str, key: str, body: Callable[[], bytes], **arguments: Any) -> Future[dict[str, Any]]:
        """A call that goes on beside its caller; `body` is read once there is a slot for it."""
        fs = self._fs()
        arguments |= {"Bucket": self._name, "Key": self._prefix + key}

        async def send() -> dict[str, Any]:
            async with self._slots:
                return await fs._call_s3(method, Body=body(), **arguments)  # pyright: ignore[reportPrivateUsage]

        return asyncio.run_coroutine_threadsafe(send(), cast("asyncio.AbstractEventLoop", fs.loop))

    def _call(self, method: str, key: str | None = None, **arguments: Any) -> dict[str, Any]:
        if key is not None:
            arguments["Key"] = self._prefix + key

        async def call(fs: S3FileSystem) -> dict[str, Any]:
            if method == "list_objects_v2":
                await fs.set_session()
                client: Any = await fs.get_s3(self._name)
                client.meta.events.register(s3_listing.EVENT, s3_listing.read_objects, unique_id=s3_listing.HANDLER)
            return await fs._call_s3(method, Bucket=self._name, **arguments)  # pyright: ignore[reportPrivateUsage]

        answer = self._run(call, key)
        self._is_there = True
        return answer

    def _get(self, key: str, start: int, length: int | None, etag: str | None) -> bytes:
        self._require_readable(key)
        arguments: dict[str, Any] = {"Bucket": self._name, "Key": self._prefix + key}
        if start or length is not None:
            arguments["Range"] = f"bytes={start}-" + ("" if length is None else str(start + length - 1))
        if etag is not None:
            arguments["IfMatch"] = etag

        async def get(fs: S3FileSystem) -> bytes:
            from s3fs.core import S3_RETRYABLE_ERRORS

            for tries in range(1, _BODY_TRIES + 1):
                answer = await fs._call_s3("get_object", **arguments)  # pyright: ignore[reportPrivateUsage]
                try:
                    async with answer["Body"] as body:
                        return await body.read()
                except S3_RETRYABLE_ERRORS:  # the connection broke in the middle of the body, which s3fs does not retry
                    if tries == _BODY_TRIES:
                        raise
                    await asyncio.sleep(0.2 * 2**tries)
            raise AssertionError("unreachable")

        try:
            return self._run(get, key)
        except BucketError as error:
            code = error_code(error.__cause__)
            if code in ("InvalidRange", "416"):
                return b""  # behind the end, as a file answers
            if code in ("PreconditionFailed", "412"):
                raise BucketError(f"{self.url}: {key!r} was changed while it was being read. Run it again.") from error
            raise

    def _require_readable(self, key: str) -> None:
        if not is_readable_key(key):
            raise not_found(key, self.url)

    def _bucket_is_there(self) -> bool:
        """A HEAD answers 404 for a missing object and for a missing bucket alike."""
        if not self._is_there:
            self._call("head_bucket")
        return True


class _Uploads:
    """See `Uploads`. Bodies wait for a slot before they are read, so that no more of them are in memory."""

    def __init__(self, bucket: S3Bucket) -> None:
        self._bucket = bucket

    def call(self, method: str, key: str, **arguments: Any) -> dict[str, Any]:
        return self._bucket._call(method, key, **arguments)  # pyright: ignore[reportPrivateUsage]

    def begin(self, method: str, key: str, body: Callable[[], bytes], **arguments: Any) -> Future[dict[str, Any]]:
        return self._bucket._begin(method, key, body, **arguments)  # pyright: ignore[reportPrivateUsage]

    def outcome(self, begun: Future[dict[str, Any]], key: str) -> dict[str, Any]:
        with self._bucket._explained(key):  # pyright: ignore[reportPrivateUsage]
            return begun.result()

    def is_there(self, key: str, size_bytes: int, parts: int) -> bool:
        if not self._bucket.exists(key):
            return False
        found = self._bucket.stat(key)
        return found.size_bytes == size_bytes and found.etag.endswith(f"-{parts}")


def _object(key: str, size_bytes: int, answer: dict[str, Any]) -> BucketObject:
    return BucketObject(key, size_bytes, answer["LastModified"].astimezone(UTC), answer["ETag"].strip('"'))


def _connect() -> S3FileSystem:
    from s3fs import S3FileSystem

    own_endpoint = any(os.environ.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return S3FileSystem(
        skip_instance_cache=True,  # that cache is by arguments, and ours come from the environment
        use_listings_cache=False,
        # AWS presigns for the bucket's own region only: look it up. A server of one's own has one region, and any name.
        cache_regions=not own_endpoint,
        client_kwargs={"region_name": region or "us-east-1"} if own_endpoint else {},
        config_kwargs={
            "signature_version": "s3v4",  # the default for presigned URLs is the old SigV2
            "connect_timeout": 10,
            "read_timeout": 60,
            "max_pool_connections": 32,
            "retries": {"total_max_attempts": 2},  # s3fs repeats five times around this
            # not every S3 understands the checksum trailers that botocore sends otherwise
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        },
    )


def _endpoint(fs: S3FileSystem) -> str | None:
    """Where it talks to, for a message; None before it got so far."""
    client = fs._s3  # pyright: ignore[reportPrivateUsage]
    return None if client is None else str(client.meta.endpoint_url)
