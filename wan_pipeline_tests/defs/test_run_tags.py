"""What a run's tags allow: a person's click may retry, nobody's rerun buys again."""

from __future__ import annotations

import dagster._core.storage.tags as dagster_tags
import pytest

from wan_pipeline.defs import run_tags
from wan_pipeline.defs.run_tags import claim_options
from wan_pipeline.problems import ProblemsError
from wan_pipeline.spend.records import ClaimOptions

PARENT = {"dagster/parent_run_id": "0123"}


@pytest.mark.parametrize(
    ("tags", "options"),
    [
        pytest.param({}, ClaimOptions(retry_failed=True), id="a click in the UI names the shot"),
        pytest.param({"dagster/backfill": "abc"}, ClaimOptions(retry_failed=True), id="so does a backfill"),
        pytest.param({"wan/asked_by": "sensor"}, ClaimOptions(), id="the sensor retries nothing"),
        pytest.param({"wan/asked_by": "schedule"}, ClaimOptions(), id="nor does a schedule"),
        pytest.param(
            {"wan/asked_by": "recovery", "wan/collect_only": "true"},
            ClaimOptions(collect_only=True),
            id="recovery never buys",
        ),
        pytest.param({"wan/asked_by": "run"}, ClaimOptions(), id="`run` says what it wants"),
        pytest.param(
            {"wan/asked_by": "run", "wan/retry_failed": "true"}, ClaimOptions(retry_failed=True), id="and gets it"
        ),
        pytest.param({"wan/new_take": "1"}, ClaimOptions(retry_failed=True, new_take=True), id="1 is yes"),
        pytest.param({"wan/new_take": "True"}, ClaimOptions(retry_failed=True, new_take=True), id="True is yes"),
        pytest.param({"wan/quoted_usd": "1.00"}, ClaimOptions(retry_failed=True), id="what a parent run has written"),
        pytest.param({"wan/new_take": "false"}, ClaimOptions(retry_failed=True), id="false is no"),
        pytest.param({"wan/outdated": "true"}, ClaimOptions(retry_failed=True, outdated=True), id="outdated"),
        pytest.param(
            {"wan/collect_only": "true"}, ClaimOptions(retry_failed=True, collect_only=True), id="collect only"
        ),
        pytest.param(
            PARENT | {"wan/new_take": "true"},
            ClaimOptions(retry_failed=True),
            id="a re-execution takes no second new take",
        ),
        pytest.param(
            {"dagster/parent_backfill_id": "abc", "wan/new_take": "true"},
            ClaimOptions(retry_failed=True),
            id="nor does the retry of a backfill",
        ),
        pytest.param(
            PARENT | {"wan/asked_by": "sensor"},
            ClaimOptions(retry_failed=True),
            id="a person re-executes the sensor's run",
        ),
        pytest.param(
            PARENT | {"dagster/retry_number": "1"}, ClaimOptions(), id="Dagster's own retry of a run is no person's"
        ),
    ],
)
def test_tags_decide(tags: dict[str, str], options: ClaimOptions) -> None:
    assert claim_options(tags) == options


@pytest.mark.parametrize(
    ("tags", "field"),
    [
        ({"wan/new_take": "maybe"}, "wan/new_take"),
        ({"wan/newtake": "true"}, "wan/newtake"),
        ({"wan/asked_by": "me"}, "wan/asked_by"),
    ],
)
def test_a_tag_that_cannot_be_meant_is_refused_before_any_money(tags: dict[str, str], field: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        claim_options(tags)
    assert [problem.field for problem in caught.value.problems] == [field]


def test_the_tags_read_are_those_that_dagster_writes() -> None:
    assert run_tags.PARENT_RUN_ID_TAG == dagster_tags.PARENT_RUN_ID_TAG
    assert run_tags.PARENT_BACKFILL_ID_TAG == dagster_tags.PARENT_BACKFILL_ID_TAG
    assert run_tags.RETRY_NUMBER_TAG == dagster_tags.RETRY_NUMBER_TAG
    assert run_tags.MAX_RETRIES_TAG == dagster_tags.MAX_RETRIES_TAG
    assert run_tags.RETRY_ON_FAILURE_TAG == dagster_tags.RETRY_ON_ASSET_OR_OP_FAILURE_TAG
    assert run_tags.PRIORITY_TAG == dagster_tags.PRIORITY_TAG
