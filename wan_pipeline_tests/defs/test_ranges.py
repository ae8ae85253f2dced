"""A run is over the shots that it was asked for: where its range has come to span others, it buys nothing and says
nothing of those."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import dagster as dg
import dagster._core.storage.tags as dagster_tags
import pytest
import sqlalchemy as sa
from dagster._core.storage.event_log.schema import DynamicPartitionsTable
from dagster._core.storage.runs.schema import RunsTable

from wan_pipeline.defs import run_tags
from wan_pipeline.defs.partition_order import places_of, remove_shots
from wan_pipeline.defs.partitions import SHOTS, Piece, add_shots
from wan_pipeline.defs.runs_of_shots import RunsOfShots
from wan_pipeline_tests.defs.lab import DEFAULTS, RANGE, Lab

KEYS = ["a", "b", "c", "d", "e"]
OUTDATED = {"wan/outdated": "true"}


@pytest.fixture
def made(lab: Lab) -> Lab:
    """Five shots, made an hour ago, and outdated since."""
    lab.put_shots(KEYS)
    (request,) = lab.tick().run_requests or []
    assert request.tags["wan/partitions"] == "5"
    assert lab.launch(request).success
    lab.put("inbox/_defaults.yaml", DEFAULTS + "seed: 1\n")
    return lab


def _an_hour_passes(instance: dg.DagsterInstance) -> None:
    runs, partitions = cast(Any, instance.run_storage), cast(Any, instance.event_log_storage)
    for connect, table in ((runs.connect, RunsTable), (partitions.index_connection, DynamicPartitionsTable)):
        with connect() as connection:
            for number, moment in connection.execute(sa.select(table.c.id, table.c.create_timestamp)).all():
                earlier = {"create_timestamp": moment - timedelta(hours=1)}
                connection.execute(table.update().where(table.c.id == number).values(**earlier))


def _goes_and_comes_back(instance: dg.DagsterInstance, *keys: str) -> None:
    remove_shots(instance, keys)
    add_shots(instance, keys)


def _again(first: str) -> dict[str, str]:
    """What Dagster adds to the tags of a re-execution."""
    return {"dagster/parent_run_id": first, "dagster/root_run_id": first}


def _cancelled(instance: dg.DagsterInstance) -> set[str]:
    return set(RunsOfShots.read(instance, KEYS, datetime.now(UTC)).cancelled)


@pytest.mark.parametrize("moved", ["ab", "b", "a"])
def test_a_re_execution_whose_range_spans_other_shots_now_is_refused_and_buys_nothing(made: Lab, moved: str) -> None:
    first = made.run(["a", "b"], tags=OUTDATED)
    assert first.success
    charged = made.charged()
    _an_hour_passes(made.instance)
    _goes_and_comes_back(made.instance, *moved)

    again = made.run(["a", "b"], tags=OUTDATED | _again(first.run_id))

    assert not again.success
    assert "may span other shots" in made.failure(again)
    assert made.charged() == charged


def test_the_number_of_shots_tells_it_too_where_all_went_by_in_a_second(made: Lab) -> None:
    first = made.run(["a", "b"], tags=OUTDATED)
    charged = made.charged()
    _goes_and_comes_back(made.instance, "b")

    assert not made.run(["a", "b"], tags=OUTDATED | _again(first.run_id)).success
    assert made.charged() == charged


def test_a_re_execution_whose_ends_have_stayed_goes_on_whatever_moved_elsewhere(made: Lab) -> None:
    first = made.run(["a", "b", "c"], tags=OUTDATED | {"wan/partitions": "3"})
    charged = made.charged()
    _an_hour_passes(made.instance)
    _goes_and_comes_back(made.instance, "b", "e")

    again = made.run(["a", "c"], tags=OUTDATED | {"wan/partitions": "3"} | _again(first.run_id))

    assert again.success
    assert made.charged() == charged


def test_a_re_execution_of_a_run_that_is_not_kept_any_more_is_refused(made: Lab) -> None:
    charged = made.charged()
    assert not made.run(["a", "b"], tags=OUTDATED | _again("deleted")).success
    assert made.charged() == charged


@pytest.mark.parametrize("size", ["2", "two"])
def test_a_range_that_holds_more_shots_than_were_asked_for_is_refused_and_buys_nothing(made: Lab, size: str) -> None:
    charged = made.charged()

    result = made.run(["a", "b", "c"], tags=OUTDATED | {"wan/partitions": size})

    assert not result.success
    assert "as many shots" in made.failure(result)
    assert made.charged() == charged
    assert Piece(("a", "b", "c")).range_tags["wan/partitions"] == "3"  # what each program asks with


@pytest.mark.parametrize("re_executed", [False, True])
def test_a_persons_terminate_says_nothing_about_shots_that_its_range_has_come_to_span(
    lab: Lab, re_executed: bool
) -> None:
    instance = lab.instance
    add_shots(instance, KEYS)

    def run(tags: Sequence[tuple[str, str]] = ()) -> dg.DagsterRun:
        ends = {RANGE[0]: "a", RANGE[1]: "b"}
        return instance.create_run_for_job(lab.defs.resolve_job_def("make_videos"), tags=ends | dict(tags))

    first = run()
    if not re_executed:
        instance.report_run_canceled(first)
        assert _cancelled(instance) == {"a", "b"}
    else:
        instance.report_run_failed(first)
    _an_hour_passes(instance)
    _goes_and_comes_back(instance, "b")
    assert sorted(KEYS, key=places_of(instance, KEYS).__getitem__) == ["a", "c", "d", "e", "b"]
    if re_executed:
        instance.report_run_canceled(run([*_again(first.run_id).items()]))

    assert _cancelled(instance) == {"a", "b"}
    assert instance.get_dynamic_partitions(SHOTS)[-1] == "b"


def test_the_first_run_is_known_by_dagsters_own_tag() -> None:
    assert run_tags.ROOT_RUN_ID_TAG == dagster_tags.ROOT_RUN_ID_TAG
