"""The alert sensor tells each alert once, over ticks, restarts and daemons, and the checks on `budgets` show what stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import dagster as dg
import pytest

from wan_pipeline.defs.alerting import Cursor, alert_sensor
from wan_pipeline.defs.budgets import picture
from wan_pipeline.money import Money
from wan_pipeline.reports.causes import KINDS
from wan_pipeline_tests.defs.lab import Lab
from wan_pipeline_tests.services.webhook import SECRET, Webhook, webhook
from wan_pipeline_tests.spend.samples import NO_LIMIT, request_for

QUIET = dict.fromkeys(KINDS, True)


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as opened:
        yield opened


@pytest.fixture
def told(lab: Lab, hook: Webhook) -> Lab:
    """A demo installation with a daily budget of 1 simulated USD, and a webhook."""
    lab.settings |= {"daily_budget_usd": "1", "alert_webhook_url": hook.url}
    return lab


def tick(lab: Lab, cursor: str | None = None) -> dg.SensorResult:
    """One tick, its events reported as Dagster's daemon reports them."""
    with dg.build_sensor_context(lab.instance, cursor, resources={"installation": lab.installation}) as context:
        result = cast(dg.SensorResult, alert_sensor(context))
    for event in result.asset_events:
        lab.instance.report_runless_asset_event(event)
    return result


def hold(lab: Lab, shot: str, amount: str, ago: timedelta = timedelta(), *, doubt: bool = False) -> str:
    """A simulated job that holds so much; with `doubt` ambiguous since then."""
    with lab.ledger() as ledger:
        request = request_for(shot, shot, quoted_low=Money(0), quoted_high=Money.usd(amount), simulated=True)
        now = datetime.now(UTC) - ago
        outcome: Any = ledger.claim(request, NO_LIMIT, now=now)
        if doubt:
            ledger.mark_ambiguous(outcome.job.id, outcome.attempt_id, "read timeout", now=now)
        return outcome.job.id


def checks(lab: Lab) -> dict[str, bool]:
    return {kind: lab.checks("budgets", kind)[None] for kind in KINDS if lab.checks("budgets", kind)}


def evaluated(result: dg.SensorResult) -> list[tuple[str, bool]]:
    events = cast("list[dg.AssetCheckEvaluation]", result.asset_events)
    return [(event.check_name, event.passed) for event in events]


def materialize(lab: Lab) -> dg.ExecuteInProcessResult:
    return lab.defs.get_implicit_global_asset_job_def().execute_in_process(
        instance=lab.instance, asset_selection=[dg.AssetKey("budgets")]
    )


def test_what_stands_is_told_once_over_many_ticks_and_shown_by_its_check(told: Lab, hook: Webhook) -> None:
    first = tick(told)
    assert (hook.told, evaluated(first)) == ([], [(kind, True) for kind in KINDS])
    hold(told, "cat", "0.85")

    second = tick(told, first.cursor)
    later = [tick(told, second.cursor) for _ in range(3)]

    (body,) = hook.told
    assert (body["kind"], body["simulated"]) == ("budget_used", True)
    assert body["text"].startswith(
        "wan-pipeline: simulated, no money was spent: WAN_DAILY_BUDGET_USD is 85 % used: 0.85 of"
    )
    assert evaluated(second) == [("budget_used", False)]
    assert [evaluated(each) for each in later] == [[], [], []]
    assert checks(told) == QUIET | {"budget_used": False}


def test_a_lost_cursor_and_another_daemon_tell_nothing_twice(told: Lab, hook: Webhook) -> None:
    hold(told, "cat", "0.85")
    tick(told)
    assert evaluated(tick(told)) == [(kind, kind != "budget_used") for kind in KINDS]
    tick(told, "{not a cursor")
    assert len(hook.told) == 1


def test_daemons_that_tick_at_once_tell_each_alert_once(told: Lab, hook: Webhook) -> None:
    hold(told, "cat", "0.85")
    for number in range(3):
        hold(told, f"doubt-{number}", "0.01", timedelta(days=2), doubt=True)
    installation, instance = told.installation, told.instance

    def one(_: int) -> None:
        with dg.build_sensor_context(instance, None, resources={"installation": installation}) as context:
            alert_sensor(context)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(one, range(4)))
    assert len(hook.subjects) == len(set(hook.subjects)) == 4


def test_where_the_cause_is_gone_the_check_is_green_again(told: Lab, hook: Webhook) -> None:
    job = hold(told, "doubt", "0.01", timedelta(days=2), doubt=True)
    first = tick(told)
    assert checks(told) == QUIET | {"ambiguous_money": False}
    with told.ledger() as ledger:
        ledger.resolve_not_charged(job, "somebody")

    second = tick(told, first.cursor)

    assert evaluated(second) == [("ambiguous_money", True)]
    assert checks(told) == QUIET
    assert hook.subjects == [job]


def test_a_webhook_that_is_down_fails_no_tick_and_is_told_when_it_is_up(told: Lab, hook: Webhook) -> None:
    hold(told, "cat", "0.85")
    hook.status = 503
    result = tick(told)
    assert result.skip_reason is not None
    assert "not taken by the webhook: 1 (HTTP 503)" in str(result.skip_reason.skip_message)
    assert checks(told)["budget_used"] is False
    hook.status = 200
    with told.ledger() as ledger:
        later = ledger.now() + timedelta(minutes=2)
        (due,) = ledger.alerts.unsent(later, simulated=True)
        ledger.alerts.mark_unsent([due.id], "HTTP 503", ledger.now())
    tick(told, result.cursor)
    assert hook.subjects[-1].startswith("WAN_DAILY_BUDGET_USD")
    with told.ledger() as ledger:
        assert ledger.alerts.failing(simulated=True) == []


def test_without_a_webhook_the_catalog_tells_alone(lab: Lab) -> None:
    lab.settings |= {"daily_budget_usd": "1"}
    hold(lab, "cat", "0.85")
    tick(lab)
    assert checks(lab) == QUIET | {"budget_used": False}


def test_materializing_the_budgets_looks_anew_and_lists_the_alerts(told: Lab, hook: Webhook) -> None:
    hold(told, "cat", "0.85")

    assert materialize(told).success

    assert checks(told) == QUIET | {"budget_used": False}
    filters = dg.AssetRecordsFilter(asset_key=dg.AssetKey("budgets"))
    record = told.instance.fetch_materializations(filters, limit=1).records[0]
    metadata = cast("Mapping[str, Any]", record.asset_materialization and record.asset_materialization.metadata)
    (row,) = metadata["alerts"].value.records
    assert row.data["kind"] == "budget_used"
    assert "simulated USD" in row.data["what"]
    tick(told)  # which sends it
    assert len(hook.told) == 1


def test_an_evaluation_by_the_sensor_is_one_of_the_newest_materialization(told: Lab) -> None:
    """Otherwise the check's page says that it was not executed."""
    assert materialize(told).success
    hold(told, "cat", "0.85")
    result = tick(told, Cursor().write())
    filters = dg.AssetRecordsFilter(asset_key=dg.AssetKey("budgets"))
    newest = told.instance.fetch_materializations(filters, limit=1).records[0]
    for event in cast("list[dg.AssetCheckEvaluation]", result.asset_events):
        assert event.target_materialization_data is not None
        assert event.target_materialization_data.storage_id == newest.storage_id
        assert event.severity is dg.AssetCheckSeverity.WARN


def test_an_alert_changes_the_budgets_picture_so_that_it_is_shown(told: Lab) -> None:
    hold(told, "doubt", "0.01", timedelta(days=2), doubt=True)
    with told.installation.open() as opened:
        before = picture(opened).digest
    tick(told)
    with told.installation.open() as opened:
        assert picture(opened).digest != before


def test_waste_is_summed_now_and_then_and_not_in_each_tick(told: Lab) -> None:
    first = tick(told)
    second = tick(told, first.cursor)
    asked = [Cursor.read(result.cursor).waste_at for result in (first, second)]
    assert asked[0] == asked[1] is not None
    early = Cursor.read(first.cursor)
    old = Cursor(early.entry, cast(datetime, early.waste_at) - timedelta(minutes=10), early.shown)
    again = Cursor.read(tick(told, old.write()).cursor).waste_at
    assert again is not None
    assert again > cast(datetime, early.waste_at)


def test_the_webhooks_url_is_nowhere_in_the_catalog(told: Lab) -> None:
    hold(told, "cat", "0.85")
    result = tick(told)
    assert materialize(told).success
    said = repr(result) + str(result.skip_reason) + repr(told.instance.all_logs(told.instance.get_runs()[0].run_id))
    assert not any(part in said for part in SECRET.split("/"))
    assert SECRET not in repr(told.installation.settings)
