"""The daily report in the catalog says what the ledger and the simulator's books say."""

from __future__ import annotations

from datetime import UTC, datetime

from wan_pipeline.money import Money
from wan_pipeline_tests.defs.lab import Lab


def test_todays_report_holds_what_was_bought_and_its_files_are_in_the_bucket(lab: Lab) -> None:
    lab.put_shots(["a", "b"])
    assert lab.run(["a", "b"]).success
    job = lab.jobs()[0]
    assert job.submitted_at is not None
    day = job.submitted_at.astimezone(UTC).strftime("%Y-%m-%d")

    result = lab.defs.resolve_job_def("daily_report").execute_in_process(instance=lab.instance, partition_key=day)

    assert result.success
    shown = {name: entry.value for name, entry in lab.materialization("cost_reports", day).metadata.items()}
    assert shown["sim_jobs"] == 2
    assert Money.usd(str(shown["sim_billed_usd"])) == lab.charged() == lab.billed()
    assert "wan-2.6-i2v-flash" in str(shown["table"])
    assert "█" * 16 + " 0.10" in str(shown["chart"])
    assert "wan-2.6-i2v-flash" in str(shown["sim_by_model"])
    assert "WAN_DAILY_BUDGET_USD" in str(shown["sim_against_budgets"])
    for ending in ("csv", "parquet", "png", "md", "html", "json"):
        file = lab.bucket / f"reports/{day[:4]}/{day[5:7]}/{day}.{ending}"
        assert file.stat().st_size > 0
        assert shown[f"file_{ending}"] == file.as_uri()


def test_a_day_without_jobs_has_a_report_too_and_a_range_of_days_one_each(lab: Lab) -> None:
    days = ["2026-01-01", "2026-01-02", "2026-01-03"]

    result = lab.defs.resolve_job_def("daily_report").execute_in_process(
        instance=lab.instance,
        tags={"dagster/asset_partition_range_start": days[0], "dagster/asset_partition_range_end": days[-1]},
    )

    assert result.success
    assert lab.materialized("cost_reports") == set(days)
    assert "No job was submitted" in str(lab.materialization("cost_reports", days[1]).metadata["table"].value)


def test_the_running_month_has_a_report_with_todays_jobs(lab: Lab) -> None:
    lab.put_shots(["a"])
    assert lab.run(["a"]).success
    month = f"{lab.jobs()[0].claimed_at:%Y-%m}"

    result = lab.defs.resolve_job_def("monthly_report").execute_in_process(instance=lab.instance, partition_key=month)

    assert result.success
    shown = {name: entry.value for name, entry in lab.materialization("monthly_cost_reports", month).metadata.items()}
    assert Money.usd(str(shown["sim_billed_usd"])) == lab.billed()
    assert (lab.bucket / f"reports/{month[:4]}/{month[5:]}/{month}.html").stat().st_size > 0


def test_today_and_the_running_month_are_partitions() -> None:
    from wan_pipeline.defs.partitions import day_partitions, month_partitions

    assert month_partitions.get_partition_keys()[-1] == datetime.now(UTC).strftime("%Y-%m")
    assert day_partitions.get_partition_keys()[-1] == datetime.now(UTC).strftime("%Y-%m-%d")
