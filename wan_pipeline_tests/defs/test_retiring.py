"""What leaves the partitions, what never does, and that a shot that comes back costs nothing."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from wan_pipeline.defs.partition_order import remove_shots
from wan_pipeline.defs.partitions import SHOTS, add_shots
from wan_pipeline.defs.retiring import GONE_FOR, Retirement, retire
from wan_pipeline.money import ZERO
from wan_pipeline.spend.records import Bought, Budgets, Deferral
from wan_pipeline_tests.defs.lab import RANGE, Lab
from wan_pipeline_tests.spend.samples import request_for

KEYS = ["a", "b", "c", "d"]
LATER = timedelta(days=30)


@pytest.fixture
def made(lab: Lab) -> Lab:
    """Four shots, made, and all of them in the index."""
    lab.put_shots(KEYS)
    requests = lab.tick().run_requests or []
    assert [lab.launch(request).success for request in requests] == [True]
    lab.tick()
    return lab


def _lose(lab: Lab, *keys: str) -> None:
    for key in keys:
        (lab.bucket / f"inbox/{key}.jpg").unlink()
    lab.tick()


def _retire(lab: Lab, after: timedelta = timedelta(0)) -> Retirement:
    with lab.installation.open() as opened:
        return retire(lab.instance, opened, datetime.now(UTC) + after)


def test_a_shot_leaves_a_week_after_its_files_and_its_job_and_take_stay(made: Lab) -> None:
    jobs = made.jobs()
    _lose(made, "b")

    assert _retire(made, GONE_FOR - timedelta(minutes=1)).gone == ()
    assert _retire(made, GONE_FOR + timedelta(minutes=1)).gone == ("b",)

    assert made.partitions == ["a", "c", "d"]
    assert made.jobs() == jobs
    with made.ledger() as ledger:
        assert len(ledger.takes("b")) == 1
        assert ledger.index.load()["b"].gone_at is not None


def test_one_that_comes_back_is_a_partition_again_and_is_not_bought_again(made: Lab) -> None:
    aside = (made.bucket / "inbox/b.jpg").rename(made.home / "b.jpg")
    made.tick()
    _retire(made, LATER)
    charged = made.charged()

    aside.rename(made.bucket / "inbox/b.jpg")
    assert not made.tick().run_requests
    assert _retire(made).back == ("b",)
    assert made.partitions == ["a", "c", "d", "b"]
    result = made.run(["b"])

    assert result.success
    assert made.charged() == charged


def test_one_that_has_changed_is_taken_up_as_a_partition_again(made: Lab) -> None:
    _lose(made, "b")
    _retire(made, LATER)

    made.put("inbox/b.jpg", (made.bucket / "inbox/a.jpg").read_bytes() + b" ")
    (request,) = made.tick().run_requests or []

    assert made.launch(request).success
    assert made.partitions == ["a", "c", "d", "b"]


def test_what_is_in_flight_in_doubt_or_deferred_is_left(made: Lab) -> None:
    _lose(made, *KEYS)
    with made.ledger() as ledger:
        for key in ("a", "b"):
            bought = ledger.claim(request_for(key, f"new {key}", simulated=key == "a"), Budgets(None, None, None))
            assert isinstance(bought, Bought)
            if key == "a":
                ledger.mark_accepted(bought.job.id, bought.attempt_id, f"p-{key}", None)
            else:
                ledger.mark_ambiguous(bought.job.id, bought.attempt_id, "no answer")
        now = datetime.now(UTC)
        ledger.deferrals.defer(
            [Deferral("c", simulated=True, limit="", reason="-", needed=ZERO, provider="wavespeed", campaign=None,
                      since=now, until=None, times=1, decided="")]
        )  # fmt: skip

    assert _retire(made, LATER).gone == ("d",)
    assert made.partitions == ["a", "b", "c"]


def test_what_an_unfinished_run_covers_is_left_and_the_range_stays_what_it_was(made: Lab) -> None:
    _lose(made, *KEYS)
    tags: dict[str, str] = {RANGE[0]: "b", RANGE[1]: "c"}
    run = made.instance.create_run_for_job(made.defs.resolve_job_def("quote_shots"), tags=tags)

    assert _retire(made, LATER).gone == ("a", "d")
    assert made.partitions == ["b", "c"]

    made.instance.report_run_canceled(run)
    assert _retire(made, LATER).gone == ("b", "c")


def test_nothing_is_retired_while_a_backfill_over_shots_is_under_way(made: Lab) -> None:
    _lose(made, "a")
    for asset in ("generated_videos", None):  # None: launched from a job's page
        with _backfill(made, asset) as backfill:
            done = _retire(made, LATER)
            assert (done.gone, done.kept_by) == ((), (backfill,))
            assert backfill in str(done)
    with _backfill(made, "cost_reports"):
        assert _retire(made, LATER).gone == ("a",)


@contextmanager
def _backfill(lab: Lab, asset: str | None) -> Generator[str]:
    backfill = PartitionBackfill(
        backfill_id=f"b{asset}"[:8],
        status=BulkActionStatus.REQUESTED,
        from_failure=False,
        tags={},
        backfill_timestamp=datetime.now(UTC).timestamp(),
        asset_selection=[dg.AssetKey(asset)] if asset else None,
    )
    lab.instance.add_backfill(backfill)
    yield backfill.backfill_id
    lab.instance.update_backfill(backfill.with_status(BulkActionStatus.COMPLETED_SUCCESS))


def test_what_was_finished_long_ago_leaves_where_that_is_asked_for(made: Lab) -> None:
    assert _retire(made, LATER).finished == ()
    made.settings["retire_after_days"] = "20"
    del made.__dict__["defs"]
    assert _retire(made, timedelta(days=19)).finished == ()

    made.put("inbox/b.jpg", (made.bucket / "inbox/b.jpg").read_bytes() + b" ")
    made.tick()  # a new version of b, which nobody has made
    assert _retire(made, LATER).finished == ("a", "c", "d")

    assert made.partitions == ["b"]
    assert _retire(made, LATER).back == ()
    assert made.tick().skip_reason is None or made.partitions == ["b"]


def test_many_are_removed_and_the_order_of_the_others_stays(instance: dg.DagsterInstance) -> None:
    keys = [f"shot{number:05d}" for number in range(25_000)]
    instance.add_dynamic_partitions("others", keys[:5])
    add_shots(instance, keys)

    remove_shots(instance, keys[1::2])

    assert instance.get_dynamic_partitions(SHOTS) == keys[::2]
    assert instance.get_dynamic_partitions("others") == keys[:5]
