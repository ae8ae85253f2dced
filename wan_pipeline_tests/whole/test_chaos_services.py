"""What the pipeline stands on goes away with a batch in flight, and comes back: the database, the bucket's server."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from wan_pipeline_tests.services.ceph_rgw import ceph_rgw, why_not
from wan_pipeline_tests.services.postgres import PostgresServer, postgres
from wan_pipeline_tests.services.s3 import S3Server, moto_s3
from wan_pipeline_tests.whole.chaos import Chaos, chaos

AWAY_S = 4


@contextmanager
def _on_servers(folder: Path) -> Iterator[tuple[Chaos, PostgresServer, S3Server]]:
    """As in production: ledger and Dagster's storage in PostgreSQL, the bucket on S3, all servers of the test's own."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        ledger, storage = (stack.enter_context(database.database()) for _ in range(2))
        store = stack.enter_context(moto_s3() if why_not() else ceph_rgw())
        os.environ.update(store.environment())
        variables = {"WAN_LEDGER_URL": ledger, "WAN_DAGSTER_STORAGE_URL": storage}
        it = stack.enter_context(chaos(folder, bucket_url=f"s3://{store.make_bucket()}/content", variables=variables))
        yield it, database, store


@pytest.mark.timeout(600)
@pytest.mark.long
def test_database_and_bucket_may_go_and_come_back_at_any_time_and_every_shot_is_made_and_charged_once(
    tmp_path: Path,
) -> None:
    with _on_servers(tmp_path) as (it, database, store):
        it.put("bucket", 12)
        it.wait_until_sent("bucket", 4)  # the providers cannot fetch the inputs of the others
        assert store.stop is not None and store.start is not None
        store.stop()
        it.say("the bucket's server is stopped")
        time.sleep(AWAY_S)
        store.start()
        it.say("and started again")

        it.put("database", 12)
        it.wait_until_sent("database", 6)
        database.stop()
        it.say("the database is stopped")
        time.sleep(AWAY_S)
        database.start()
        it.say("and started again")

        it.put("submitting", 12)
        it.wait_until_sent("submitting", 1)  # its answer is on its way, and others are being sent
        database.stop("immediate")
        it.say("the plug of the database is pulled")
        time.sleep(AWAY_S)
        database.start()
        it.say("and put back")

        it.wait_until_stored()
        it.assert_the_books_agree()
        it.assert_it_was_told_plainly()
