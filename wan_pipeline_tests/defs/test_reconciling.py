"""Reconciliations in the catalog: by day and provider, a check that is red on what nobody has explained, and only then."""

from __future__ import annotations

import sqlite3
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from wan_pipeline.defs.reconciling import (
    PROVIDERS,
    RECONCILE,
    daily_reconciliation,
    reconciliation_partitions,
)
from wan_pipeline.defs.resources import BucketResource
from wan_pipeline.money import Money
from wan_pipeline.providers.connect import PROVIDERS as KNOWN
from wan_pipeline.reconciliation.reconciling import Reconciler
from wan_pipeline.reports.period import Period
from wan_pipeline_tests.defs.dagster_dev import dagster_dev
from wan_pipeline_tests.defs.lab import Lab

INVOICE = "Task,Cost,Created\n{task},{cost},2026-03-14T12:00:00Z\n"
MAPPING = "provider: wavespeed\ncolumns: {reference: Task, amount: Cost, date: Created}\n"


def reconcile(lab: Lab, provider: str, day: str | None = None) -> dg.AssetCheckEvaluation:
    """One run over the partition; gives its check."""
    key = dg.MultiPartitionKey({"day": day or today(lab), "provider": provider})
    result = lab.defs.resolve_job_def(RECONCILE).execute_in_process(instance=lab.instance, partition_key=key)
    assert result.success
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.partition == key
    assert evaluation.target_materialization_data is not None
    return evaluation


def today(lab: Lab) -> str:
    return max(job.submitted_at for job in lab.jobs() if job.submitted_at).astimezone(UTC).strftime("%Y-%m-%d")


def shown(lab: Lab, provider: str) -> dict[str, object]:
    entries = lab.materialization("reconciliations", f"{today(lab)}|{provider}").metadata
    return {name: entry.value for name, entry in entries.items()}


def in_the_books(lab: Lab, statement: str, *values: object) -> None:
    """Changes the simulated provider's books, past what keeps everybody else from it."""
    with sqlite3.connect(lab.home / "simulator" / "books.sqlite") as database:
        database.execute("DROP TRIGGER IF EXISTS entries_stay")
        database.execute("DROP TRIGGER IF EXISTS entries_remain")
        assert database.execute(statement, values).rowcount == 1


def test_what_was_bought_agrees_with_the_providers_books_and_its_files_are_in_the_bucket(lab: Lab) -> None:
    lab.put_shots(["a", "b"])
    assert lab.run(["a", "b"]).success

    check = reconcile(lab, "wavespeed")

    assert check.passed, check.description
    metadata = shown(lab, "wavespeed")
    assert (metadata["verdict"], metadata["jobs"], metadata["unexplained"]) == ("explained", 2, 0)
    assert (metadata["api: matched"], metadata["api: lines"]) == (2, 2)
    assert Money.usd(str(metadata["api: theirs_usd"])) == Money.usd(str(metadata["billed_usd"])) == lab.charged()
    day = today(lab)
    for ending in ("csv", "json"):
        file = lab.bucket / f"reports/{day[:4]}/{day[5:7]}/reconciliation-{day}-wavespeed-simulated.{ending}"
        assert file.stat().st_size > 0
        assert metadata[f"file_{ending}"] == file.as_uri()


def test_an_unexplained_difference_is_red_until_a_person_explains_it(lab: Lab) -> None:
    lab.put_shots(["a"])
    assert lab.run(["a"]).success
    in_the_books(lab, "UPDATE entries SET nanos = nanos + 50000001")

    red = reconcile(lab, "wavespeed")

    assert (red.passed, red.severity) == (False, dg.AssetCheckSeverity.ERROR)
    remedy = f"wan-pipeline reconcile --date {today(lab)} --provider wavespeed --accept REASON --finding KEY"
    assert red.metadata["remedy"].value == remedy
    assert shown(lab, "wavespeed")["verdict"] == "unexplained"
    with lab.installation.open() as opened:
        reconciler = Reconciler(opened.ledger, opened.bucket, opened.connect, opened.simulated)
        found = reconciler.reconcile("wavespeed", Period.day(date.fromisoformat(today(lab))))
        reconciler.accept(found.unexplained, "the price rose", "Ada")
    assert reconcile(lab, "wavespeed").passed
    assert lab.billed() == lab.charged()
    earlier = lab.materialization("reconciliations", f"{today(lab)}|wavespeed").metadata["explained_earlier"]
    assert isinstance(earlier, dg.TableMetadataValue)
    (said,) = earlier.records
    assert said.data["what"] == found.unexplained[0].words
    assert str(said.data["explained"]).startswith("by Ada on ")
    assert str(said.data["explained"]).endswith(': "the price rose"')


def test_a_line_that_a_person_explained_stays_shown_with_who_said_what(lab: Lab) -> None:
    lab.overrides["bucket"] = BucketResource(public_base_url="http://127.0.0.1:9")
    lab.put_shots(["a"])
    assert lab.run(["a"]).success
    lab.put("invoices/shortapi.csv", f"Task,Cost,Created\nnobodys,0.5,{today(lab)}T00:00:00Z\n")
    lab.put("invoices/shortapi.mapping.yaml", MAPPING.replace("wavespeed", "shortapi"))
    assert not reconcile(lab, "shortapi").passed
    with lab.installation.open() as opened:
        reconciler = Reconciler(opened.ledger, opened.bucket, opened.connect, opened.simulated)
        found = reconciler.reconcile("shortapi", Period.day(date.fromisoformat(today(lab))))
        reconciler.accept(found.unexplained, "the web team's", "Ada")

    assert reconcile(lab, "shortapi").passed

    metadata = lab.materialization("reconciliations", f"{today(lab)}|shortapi").metadata
    findings = metadata["findings"]
    assert isinstance(findings, dg.TableMetadataValue)
    assert [str(each.data["standing"]) for each in findings.records] == [
        f'explained by Ada on {datetime.now(UTC):%Y-%m-%d}: "the web team\'s"'
    ]
    day = today(lab)
    lines = f"http://127.0.0.1:9/reports/{day[:4]}/{day[5:7]}/reconciliation-{day}-shortapi-simulated.csv"
    assert metadata["every_line"].value == lines


def test_books_that_cannot_be_read_are_a_warning_and_a_corrupted_invoice_is_red(lab: Lab) -> None:
    lab.put_shots(["a"])
    assert lab.run(["a"]).success
    in_the_books(lab, "UPDATE entries SET nanos = -5")
    unread = reconcile(lab, "wavespeed")
    assert (unread.passed, unread.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "nothing is concluded" in (unread.description or "")
    assert "its amount is" in (unread.description or "")

    in_the_books(lab, "UPDATE entries SET nanos = 50000000")
    lab.put("invoices/wavespeed.csv", INVOICE.format(task="pred", cost="0,5x"))
    lab.put("invoices/wavespeed.mapping.yaml", MAPPING)
    corrupted = reconcile(lab, "wavespeed")
    assert (corrupted.passed, corrupted.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "invoices/wavespeed.csv" in (corrupted.description or "")


def test_a_day_without_anything_is_no_warning_where_there_are_no_books_either(lab: Lab) -> None:
    assert reconcile(lab, "shortapi", "2026-01-01").passed


def test_every_provider_is_a_partition_and_today_is_one() -> None:
    assert set(PROVIDERS) == set(KNOWN)
    now = f"{datetime.now(UTC):%Y-%m-%d}"
    assert {str(key) for key in reconciliation_partitions.get_partition_keys()[-3:]} == {
        f"{now}|{p}" for p in PROVIDERS
    }


def test_each_day_is_reconciled_the_day_after_and_once_more_three_days_later() -> None:
    tick = datetime(2026, 3, 10, 1, 15, tzinfo=UTC) + timedelta(hours=5)  # late
    with dg.build_schedule_context(scheduled_execution_time=tick) as context:
        requests = daily_reconciliation(context)
    assert [request.partition_key for request in requests] == [
        f"2026-03-0{day}|{provider}" for day in (9, 6) for provider in PROVIDERS
    ]
    assert len({request.run_key for request in requests}) == 6


@pytest.mark.long
def test_a_backfill_of_no_rectangle_reconciles_exactly_what_was_asked_for(tmp_path: Path) -> None:
    """By Dagster's own daemon: a run for each day and provider, none for one that was not chosen."""
    keys = ["2026-01-01|wavespeed", "2026-01-02|aimlapi", "2026-01-02|shortapi", "2026-01-03|aimlapi"]
    with dagster_dev(tmp_path / "home", {"WAN_SETTLE_SECONDS": "3600"}) as dev:
        done = dev.wait_for_backfill(dev.backfill(["reconciliations"], keys))
        assert done["status"] == "COMPLETED_SUCCESS"
        assert len(done["runs"]) == len(keys)
    files = sorted(path.name for path in (tmp_path / "home/bucket/reports/2026/01").glob("*.csv"))
    assert files == sorted(f"reconciliation-{key.replace('|', '-')}-simulated.csv" for key in keys)
