"""The month's FOCUS export in the catalog: its figures are the ledger's, its files are in the bucket, or it says why not."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
import pyarrow.parquet as pq
import pytest

from wan_pipeline.defs.focus import changed_exports, monthly_focus_export
from wan_pipeline.defs.resources import BucketResource
from wan_pipeline.money import Money
from wan_pipeline_tests.defs.lab import Lab
from wan_pipeline_tests.reports.ledgers import LedgerJob, write


def test_the_running_months_export_has_each_simulated_charge_in_files_of_its_own(lab: Lab) -> None:
    lab.overrides["bucket"] = BucketResource(public_base_url="http://127.0.0.1:9")
    lab.put_shots(["a", "b"])
    assert lab.run(["a", "b"]).success
    month = f"{lab.jobs()[0].claimed_at:%Y-%m}"

    result = lab.defs.resolve_job_def("focus_export").execute_in_process(instance=lab.instance, partition_key=month)

    assert result.success
    shown = {name: entry.value for name, entry in lab.materialization("focus_exports", month).metadata.items()}
    assert shown["sim_rows"] == 2
    assert Money.usd(str(shown["sim_effective_cost_usd"])) == lab.charged() == lab.billed()
    assert shown["sim_billed_cost_usd"] == shown["sim_effective_cost_usd"]
    assert shown["sim_ambiguous_jobs_left_out"] == 0
    assert "the month is not over" in str(shown["as_of"])
    folder = lab.bucket / "reports" / month[:4] / month[5:]
    assert sorted(file.name for file in folder.iterdir()) == [
        f"focus-{month}-simulated.csv",
        f"focus-{month}-simulated.parquet",
    ]
    assert shown["file_csv"] == (folder / f"focus-{month}-simulated.csv").as_uri()
    assert shown["export"] == f"http://127.0.0.1:9/reports/{month[:4]}/{month[5:]}/focus-{month}-simulated.csv"
    table = pq.read_table(folder / f"focus-{month}-simulated.parquet")
    assert sorted(table["ResourceName"].to_pylist()) == ["a", "b"]


def test_an_export_that_breaks_a_rule_is_a_failure_that_says_which_and_nothing_is_there(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lab.ledger() as ledger:
        write(ledger.engine, LedgerJob(simulated=True))
    monkeypatch.setattr("wan_pipeline.reports.focus.checks.currencies", lambda: frozenset({"EUR"}))

    result = lab.defs.resolve_job_def("focus_export").execute_in_process(
        instance=lab.instance, partition_key="2026-03", raise_on_error=False
    )

    assert not result.success
    assert "breaks the rule BillingCurrency" in lab.failure(result)
    assert not (lab.bucket / "reports").exists()


def test_an_exported_months_new_report_has_it_exported_anew_once_and_no_other_month_is(lab: Lab) -> None:
    def tick(cursor: str | None) -> tuple[list[str | None], str | None]:
        resources = {"installation": lab.installation}
        with dg.build_sensor_context(lab.instance, cursor, resources=resources) as context:
            result = changed_exports(context)
        assert isinstance(result, dg.SensorResult)
        return [request.partition_key for request in result.run_requests or ()], result.cursor

    def report(*months: str) -> None:
        for month in months:
            lab.instance.report_runless_asset_event(dg.AssetMaterialization("monthly_cost_reports", partition=month))

    running = f"{datetime.now(UTC):%Y-%m}"
    report("2026-01", "2026-02", running)
    asked, cursor = tick(None)
    assert asked == []  # none of them is exported

    for month in ("2026-02", running):
        lab.put(f"reports/{month.replace('-', '/')}/focus-{month}-simulated.csv", "")
    assert tick(cursor)[0] == []  # their reports are older than the last tick
    report("2026-01", "2026-02", running, "2026-02")
    asked, cursor = tick(cursor)
    assert asked == ["2026-02"]  # the running month's comes with the schedule
    assert tick(cursor)[0] == []


def test_the_schedule_exports_the_month_before_its_ticks_even_when_it_comes_late() -> None:
    for moment, month in (
        (datetime(2026, 12, 2, 1, tzinfo=UTC), "2026-11"),
        (datetime(2027, 1, 2, 1, tzinfo=UTC), "2026-12"),
    ):
        with dg.build_schedule_context(scheduled_execution_time=moment) as context:
            request = monthly_focus_export(context)
        assert isinstance(request, dg.RunRequest)
        assert (request.partition_key, request.run_key) == (month, f"focus-{month}")
