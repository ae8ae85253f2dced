"""What S3's errors mean to the person who set it up, without their secrets."""

from __future__ import annotations

from typing import Any

_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_REMEDIES = {
    "NoSuchBucket": "Make the bucket, or correct WAN_BUCKET_URL; is AWS_ENDPOINT_URL_S3 the right server?",
    "InvalidBucketName": "Correct WAN_BUCKET_URL.",
    "InvalidAccessKeyId": "That server does not know this access key: correct AWS_ACCESS_KEY_ID.",
    "SignatureDoesNotMatch": "The secret key is not the access key's: correct AWS_SECRET_ACCESS_KEY.",
    "AccessDenied": f"Allow these keys to list, read and write there, or set others ({_KEYS}).",
    "403": f"Correct {_KEYS}, or allow these keys to list, read and write there.",
    "404": "Make the bucket, or correct WAN_BUCKET_URL; is AWS_ENDPOINT_URL_S3 the right server?",
    "ExpiredToken": "The temporary keys have expired: get new ones.",
    "RequestTimeTooSkewed": "This machine's clock is wrong: set it.",
    "AuthorizationHeaderMalformed": "The region is wrong: set AWS_REGION to the bucket's.",
    "PermanentRedirect": "The bucket is elsewhere: set AWS_REGION to the bucket's, or AWS_ENDPOINT_URL_S3.",
    "301": "The bucket is elsewhere: set AWS_REGION to the bucket's, or AWS_ENDPOINT_URL_S3.",
    "EntityTooLarge": "S3 copies at most 5 GB in one piece.",
}


def error_code(error: BaseException | None) -> str | None:
    """S3's own code for the error, e.g. `NoSuchKey` (a HEAD answers no code, only `404`); None where S3 did not answer."""
    answer = _answer(error)
    return None if answer is None else str(answer.get("Code", ""))


def explain(error: BaseException, name: str, url: str, key: str | None, endpoint: str | None) -> str:
    """One line: which bucket, what went wrong, what to do. Texts of exceptions that may hold a signed URL are left out."""
    from botocore.exceptions import (
        EndpointConnectionError,
        HTTPClientError,
        NoCredentialsError,
        PartialCredentialsError,
        ProfileNotFound,
    )

    where = f"{url}: {key!r}" if key else url
    at = f" at {endpoint}" if endpoint else ""
    code = error_code(error)
    if code in ("NoSuchBucket", "404"):
        return f"{where}: there is no bucket {name!r}{at}. {_REMEDIES[code]}"
    if code is not None:
        message = str((_answer(error) or {}).get("Message", "")).rstrip(". ")[:300]
        remedy = _REMEDIES.get(code, "Run it again once the server is well.")
        return f"{where}: S3{at} answered {code}: {message}. {remedy}"
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return f"{where}: there are no keys for S3. Set {_KEYS} (or AWS_PROFILE)."
    if isinstance(error, ProfileNotFound):
        return f"{where}: {error}. Correct AWS_PROFILE."
    if isinstance(error, (EndpointConnectionError, HTTPClientError, TimeoutError, ConnectionError)):
        kind = type(error).__name__
        return f"{where}: no answer from S3{at} ({kind}). Is it running, and is AWS_ENDPOINT_URL_S3 right?"
    return f"{where}: {type(error).__name__} while talking to S3{at}. Check the AWS variables, then run it again."


def _answer(error: BaseException | None) -> dict[str, Any] | None:
    from botocore.exceptions import ClientError

    while error is not None:
        if isinstance(error, ClientError):
            return dict(error.response.get("Error", {}))
        error = error.__cause__
    return None
