"""The bucket: where sources come from and videos go, a folder or S3, with the same behaviour.

What belongs here: objects, keys, reading, publishing, URLs for others to fetch. What does not: what the objects mean
(`inbox/`, `videos/`), what is in a media file, and any deletion: nothing of a user's is ever deleted.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from wan_pipeline.bucket.base import Bucket, BucketError, BucketObject, BucketWriter, ObjectNotFoundError
from wan_pipeline.bucket.folder import FolderBucket
from wan_pipeline.bucket.s3 import S3Bucket
from wan_pipeline.problems import ConfigurationError

__all__ = [
    "Bucket",
    "BucketError",
    "BucketObject",
    "BucketWriter",
    "FolderBucket",
    "ObjectNotFoundError",
    "S3Bucket",
    "open_bucket",
]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def open_bucket(url: str, public_base_url: str | None = None) -> Bucket:
    """The bucket at `s3://bucket/prefix`, a folder's path, or a `file://` URL. Nothing is contacted or created yet.

    `public_base_url` is where others fetch the object `key`: at `public_base_url + "/" + key` (quoted), so for
    `s3://bucket/prefix` it stands for the prefix, not for the bucket's root. S3's endpoint and keys come from the AWS
    variables or AWS' own configuration files (AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID, AWS_PROFILE, ...). Raises
    ConfigurationError for a URL that names neither a folder nor S3.
    """
    if url.startswith("s3://"):
        name, _, prefix = url.removeprefix("s3://").partition("/")
        return S3Bucket(name, prefix, public_base_url)
    if url.startswith("file://"):
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost") or parts.query or parts.fragment or not parts.path:
            raise ConfigurationError(f"WAN_BUCKET_URL: {url!r} is no file:///absolute/path")
        return FolderBucket(Path(unquote(parts.path)), public_base_url)
    if _SCHEME.match(url):
        # without the user, password and query that such a URL may carry
        raise ConfigurationError(
            f"WAN_BUCKET_URL: a bucket at {url.partition('://')[0]}:// is not supported. "
            "Write s3://bucket/prefix, or the path of a folder."
        )
    if not url.strip():
        raise ConfigurationError("WAN_BUCKET_URL is empty. Write s3://bucket/prefix, or the path of a folder.")
    return FolderBucket(Path(url).expanduser(), public_base_url)
