"""One bucket of each kind, with a way to look behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from wan_pipeline.bucket import Bucket, open_bucket
from wan_pipeline_tests.services.s3 import S3Server

PREFIX = "some prefix+ü/below"


@dataclass
class Ground:
    """A bucket and what it stands on. `beside` is a second opening of the same one, as another process has it."""

    kind: str
    bucket: Bucket
    url: str
    folder: Path | None = None
    server: S3Server | None = None
    name: str = ""

    def beside(self, public_base_url: str | None = None) -> Bucket:
        return open_bucket(self.url, public_base_url)

    def remnants(self) -> list[str]:
        """What is there that no listing shows: temporary files, unfinished uploads."""
        if self.folder is not None:
            return [str(path) for path in self.folder.rglob(".*/*")]
        assert self.server is not None
        found = self.server.client().list_multipart_uploads(Bucket=self.name)
        return [each["Key"] for each in found.get("Uploads", [])]


@pytest.fixture(params=["folder", "moto", "rgw"])
def ground(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    if request.param == "folder":
        folder = tmp_path / "the bucket+ü"
        yield Ground("folder", open_bucket(str(folder)), str(folder), folder=folder)
        return
    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    name = server.make_bucket()
    url = f"s3://{name}/{PREFIX}"
    yield Ground(request.param, open_bucket(url), url, server=server, name=name)


@pytest.fixture
def bucket(ground: Ground) -> Bucket:
    return ground.bucket
