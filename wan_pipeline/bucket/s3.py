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
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

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
from wan_pipeline.problems import ConfigurationError

if TYPE_CHECKING:
    from s3fs import S3FileSystem

_BUCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{1,253}")  # names of old, and access points' ARNs
_PART_BYTES = 8 << 20  # S3 takes 5 MiB to 5 GiB and at most 10,000 parts: objects up to 80 GB
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
        self._is_there = False

    @property
    def url(self) -> str:
        return f"s3://{self._name}/{self._prefix}".rstrip("/")

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
    def writer(self, key: str, content_type: str) -> Generator[_PartsWriter]:
        require_portable(key, self.url)
        writer = _PartsWriter(self, key, content_type)
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
            return self._connected[1]

    def _run(self, action: Callable[[S3FileSystem], Awaitable[_T]], key: str | None) -> _T:
        """The action on s3fs' own loop, whose thread serves all callers; its errors explained."""
        import aiohttp
        from botocore.exceptions import BotoCoreError
        from fsspec.asyn import sync

        fs = self._fs()
        try:
            return cast("_T", sync(fs.loop, action, fs))
        except (OSError, BotoCoreError, aiohttp.ClientError) as error:
            if key is not None and error_code(error) in _GONE and self._bucket_is_there():
                raise not_found(key, self.url) from None
            raise BucketError(explain(error, self._name, self.url, key, _endpoint(fs))) from error

    def _call(self, method: str, key: str | None = None, **arguments: Any) -> dict[str, Any]:
        if key is not None:
            arguments["Key"] = self._prefix + key

        async def call(fs: S3FileSystem) -> dict[str, Any]:
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


class _PartsWriter:
    """See `BucketWriter`. Small objects go up in one PUT, larger ones in parts; either shows all at once or not at all."""

    def __init__(self, bucket: S3Bucket, key: str, content_type: str) -> None:
        self._bucket = bucket
        self._key = key
        self._content_type = content_type
        self._buffer = bytearray()
        self._upload_id: str | None = None
        self._parts: list[dict[str, Any]] = []
        self.size_bytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> int:
        with memoryview(data) as view, view.cast("B") as octets:
            for begin in range(0, len(octets), _PART_BYTES):
                self._buffer += octets[begin : begin + _PART_BYTES]
                if len(self._buffer) > _PART_BYTES:
                    self._send(bytes(self._buffer[:_PART_BYTES]))
                    del self._buffer[:_PART_BYTES]
            self.size_bytes += len(octets)
            return len(octets)

    def publish(self) -> None:
        if self._upload_id is None:
            body = bytes(self._buffer)
            self._bucket._call("put_object", self._key, Body=body, ContentType=self._content_type)  # pyright: ignore[reportPrivateUsage]
            return
        self._send(bytes(self._buffer))
        try:
            self._bucket._call(  # pyright: ignore[reportPrivateUsage]
                "complete_multipart_upload",
                self._key,
                UploadId=self._upload_id,
                MultipartUpload={"Parts": self._parts},
            )
        except BucketError as error:
            # s3fs repeats a call whose answer was lost; the repetition finds no upload where the first one had worked
            if error_code(error.__cause__) != "NoSuchUpload" or not self._is_published():
                raise

    def abort(self, error: BaseException) -> None:
        if self._upload_id is None:
            return
        try:
            self._bucket._call("abort_multipart_upload", self._key, UploadId=self._upload_id)  # pyright: ignore[reportPrivateUsage]
        except BucketError as second:
            if error_code(second.__cause__) != "NoSuchUpload":
                error.add_note(f"its unfinished upload stays on the server: {second}")

    def _send(self, body: bytes) -> None:
        bucket = self._bucket
        if self._upload_id is None:
            upload = bucket._call("create_multipart_upload", self._key, ContentType=self._content_type)  # pyright: ignore[reportPrivateUsage]
            self._upload_id = cast("str", upload["UploadId"])
        number = len(self._parts) + 1
        part = bucket._call("upload_part", self._key, UploadId=self._upload_id, PartNumber=number, Body=body)  # pyright: ignore[reportPrivateUsage]
        self._parts.append({"PartNumber": number, "ETag": part["ETag"]})

    def _is_published(self) -> bool:
        if not self._bucket.exists(self._key):
            return False
        found = self._bucket.stat(self._key)
        return found.size_bytes == self.size_bytes and found.etag.endswith(f"-{len(self._parts)}")


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
