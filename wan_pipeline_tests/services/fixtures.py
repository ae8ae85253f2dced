"""The servers as pytest fixtures: started when the first test asks, one per worker, stopped at the session's end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from wan_pipeline_tests.services.ceph_rgw import ceph_rgw, why_not
from wan_pipeline_tests.services.postgres import PostgresServer, postgres
from wan_pipeline_tests.services.s3 import S3Server, moto_s3


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    """moto: quick, accepts any key and signature."""
    with moto_s3() as server:
        yield server


@pytest.fixture(scope="session")
def rgw_server() -> Iterator[S3Server]:
    """Ceph's RADOS Gateway: a real store. The test is skipped where it is not installed."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with ceph_rgw() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The SQLAlchemy URL of a database of the test's own."""
    with postgres_server.database() as url:
        yield url
