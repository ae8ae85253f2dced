"""How an object goes up to S3: a small one in one PUT, a larger one in parts; either shows all at once or not at all.

What is to be read back before it is published lies in a file of this machine meanwhile (in memory while it is small), and
its parts go up from there beside the writing. So the memory of all uploads of a bucket together is that of its slots.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, BinaryIO, Protocol, cast

from wan_pipeline.bucket.base import BucketError
from wan_pipeline.bucket.s3_errors import error_code

PART_BYTES = 8 << 20  # S3 takes 5 MiB to 5 GiB and at most 10,000 parts: objects up to 80 GB
SLOTS = 4  # parts and small objects on their way at once, of all that is written: with asyncio's copy of each, 64 MiB
_IN_MEMORY_BYTES = 4 << 20
_BESIDE = 2  # parts of one object that may be on their way while more is written: a stop has no more to wait for


class Uploads(Protocol):
    """What `S3Bucket` does for its writers."""

    def call(self, method: str, key: str, **arguments: Any) -> dict[str, Any]:
        """S3's answer. Raises BucketError."""
        ...

    def begin(self, method: str, key: str, body: Callable[[], bytes], **arguments: Any) -> Future[dict[str, Any]]:
        """The same in the background, once there is a slot for its body."""
        ...

    def outcome(self, begun: Future[dict[str, Any]], key: str) -> dict[str, Any]:
        """Waits for it. Raises BucketError."""
        ...

    def is_there(self, key: str, size_bytes: int, parts: int) -> bool:
        """Whether the object is, as these parts would make it."""
        ...


class PartsWriter:
    """See `BucketWriter`."""

    def __init__(self, uploads: Uploads, key: str, content_type: str) -> None:
        self._uploads = uploads
        self._key = key
        self._content_type = content_type
        self._buffer = bytearray()
        self._spool: BinaryIO | None = None
        self._upload_id: str | None = None
        self._begun: list[Future[dict[str, Any]]] = []
        self._is_over = False
        self.size_bytes = 0

    def landed(self) -> BinaryIO:
        if self.size_bytes:
            raise ValueError("only what is written later can be read back")
        spool = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - its asker closes it
        self._spool = cast("BinaryIO", spool)
        return self._spool

    def write(self, data: bytes | bytearray | memoryview) -> int:
        with memoryview(data) as view, view.cast("B") as octets:
            if self._spool is not None:
                self._land(octets, self._spool)
            else:
                self._send_on(octets)
            return len(octets)

    def publish(self) -> None:
        if self._upload_id is None:
            read = self._all_of(self._spool) if self._spool is not None else lambda: bytes(self._buffer)
            begun = self._uploads.begin("put_object", self._key, read, ContentType=self._content_type)
            self._uploads.outcome(begun, self._key)
            return
        if self._spool is None:
            self._begin(lambda: bytes(self._buffer))
        else:
            self._begin(self._next_of(self._spool))
        parts = [
            {"PartNumber": number, "ETag": self._uploads.outcome(begun, self._key)["ETag"]}
            for number, begun in enumerate(self._begun, 1)
        ]
        try:
            self._uploads.call(
                "complete_multipart_upload", self._key, UploadId=self._upload_id, MultipartUpload={"Parts": parts}
            )
        except BucketError as error:
            # s3fs repeats a call whose answer was lost; the repetition finds no upload where the first one had worked
            lost = error_code(error.__cause__) == "NoSuchUpload"
            if not lost or not self._uploads.is_there(self._key, self.size_bytes, len(parts)):
                raise

    def abort(self, error: BaseException) -> None:
        """Also while another thread is still in `write`: that one begins nothing any more."""
        self._is_over = True
        for begun in self._begun:
            begun.cancel()
        if self._upload_id is None:
            return
        try:
            self._uploads.call("abort_multipart_upload", self._key, UploadId=self._upload_id)
        except BucketError as second:
            if error_code(second.__cause__) != "NoSuchUpload":
                error.add_note(f"its unfinished upload stays on the server: {second}")

    # --- parts that go up before `write` returns ---

    def _send_on(self, octets: memoryview) -> None:
        for start in range(0, len(octets), PART_BYTES):
            self._buffer += octets[start : start + PART_BYTES]
            if len(self._buffer) > PART_BYTES:
                body = bytes(self._buffer[:PART_BYTES])
                del self._buffer[:PART_BYTES]
                self._uploads.outcome(self._begin(lambda body=body: body), self._key)
        self.size_bytes += len(octets)

    # --- parts that go up beside the writing ---

    def _land(self, octets: memoryview, spool: BinaryIO) -> None:
        spool.write(octets)
        self.size_bytes += len(octets)
        # what is left for `publish`, which knows that it is the last one, is a byte at least
        while self.size_bytes > (len(self._begun) + 1) * PART_BYTES:
            if len(self._begun) >= _BESIDE:
                self._uploads.outcome(self._begun[-_BESIDE], self._key)
            self._begin(self._next_of(spool))

    def _next_of(self, spool: BinaryIO) -> Callable[[], bytes]:
        spool.flush()
        at = len(self._begun) * PART_BYTES
        return lambda: os.pread(spool.fileno(), PART_BYTES, at)

    def _all_of(self, spool: BinaryIO) -> Callable[[], bytes]:
        def read() -> bytes:
            spool.seek(0)
            return spool.read()

        return read

    # --- both ---

    def _begin(self, body: Callable[[], bytes]) -> Future[dict[str, Any]]:
        if self._is_over:
            raise ValueError(f"the writing of {self._key!r} was given up")
        if self._upload_id is None:
            upload = self._uploads.call("create_multipart_upload", self._key, ContentType=self._content_type)
            self._upload_id = cast("str", upload["UploadId"])
        number = len(self._begun) + 1
        begun = self._uploads.begin("upload_part", self._key, body, UploadId=self._upload_id, PartNumber=number)
        self._begun.append(begun)
        return begun
