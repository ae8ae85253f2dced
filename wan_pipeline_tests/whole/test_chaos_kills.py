"""kill -9 under `dagster dev` with a batch in flight: of the run worker, the code server, the daemon, and of everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from wan_pipeline_tests.whole.chaos import chaos


@pytest.mark.timeout(600)
@pytest.mark.long
def test_whatever_is_killed_with_a_batch_in_flight_every_shot_is_made_and_charged_once(tmp_path: Path) -> None:
    with chaos(tmp_path) as it:
        it.put("worker", 12)
        it.wait_until_sent("worker", 6)
        assert it.kill("worker") >= 1

        it.put("code", 12)
        it.wait_until_sent("code", 6)
        assert it.kill("code") == 1  # the inner one of the code server's two processes, which has the code

        it.put("server", 6)
        it.wait_until_sent("server", 3)
        assert it.kill("code server", "code") >= 2

        it.put("daemon", 12)
        it.wait_until_sent("daemon", 6)
        assert it.kill("daemon") == 1
        it.until_ended()  # `dagster dev` does not go on without it
        it.keep_up()

        it.put("everything", 12)
        it.wait_until_sent("everything", 6)
        assert it.kill("everything") >= 4
        it.start()

        it.wait_until_stored()
        it.assert_the_books_agree()
        it.assert_it_was_told_plainly()
