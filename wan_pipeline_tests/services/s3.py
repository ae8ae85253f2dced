"""What a test needs to know of an S3 server, whichever it is, and moto's."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

REGION = "us-east-1"


@dataclass(frozen=True)
class S3Server:
    """An S3 server on loopback. `strict`: it checks signatures, expiry and rights as a real one does (moto does not).

    `guest` are the keys of another user, who has no right to anything, where the server has one.
    """

    endpoint_url: str
    access_key: str
    secret_key: str
    strict: bool
    guest: tuple[str, str] | None = None
    stop: Callable[[], None] | None = None  # for a server of the test's own: as if it were switched off,
    start: Callable[[], None] | None = None  # and on again at the same address, with all that it holds

    def environment(self) -> dict[str, str]:
        """The AWS variables with which the project's code finds it."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @cache  # noqa: B019  a server lives as long as its session
    def client(self) -> Any:
        """boto3's client: how tests look behind the project's back."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=REGION,
            config=Config(request_checksum_calculation="when_required", response_checksum_validation="when_required"),
        )

    def make_bucket(self) -> str:
        """A new, empty bucket's name."""
        name = f"wan-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name


@contextmanager
def moto_s3() -> Iterator[S3Server]:
    """moto's server in a thread of this process: quick, and right about listings and multipart uploads."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # one line per request otherwise
    servers = [ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)]
    servers[0].start()
    host, port = servers[0].get_host_and_port()

    def stop() -> None:
        servers.pop().stop()

    def start() -> None:
        # What moto holds is this process's, not the server's.
        servers.append(ThreadedMotoServer(ip_address=host, port=port, verbose=False))
        servers[0].start()

    try:
        yield S3Server(f"http://{host}:{port}", "testkey", "testsecret", strict=False, stop=stop, start=start)
    finally:
        while servers:
            stop()
