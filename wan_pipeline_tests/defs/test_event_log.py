"""The kept event log writes what Dagster's own class reads, in this process and in others, and lets go of files."""

# No `from __future__ import annotations`: Dagster compares the annotation of the context with its classes.

import subprocess
import sys
import threading
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from wan_pipeline.defs.event_log import KeptEventLogStorage
from wan_pipeline.defs.instance import prepare_dagster_home
from wan_pipeline.settings import Settings

partitions = dg.DynamicPartitionsDefinition(name="things")


@dg.asset(partitions_def=partitions, check_specs=[dg.AssetCheckSpec("fine", asset="thing")])
def thing(context: dg.AssetExecutionContext):
    yield dg.MaterializeResult(
        metadata={"key": context.partition_key},
        check_results=[dg.AssetCheckResult(check_name="fine", passed=True)],
    )


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dg.DagsterInstance:
    monkeypatch.setenv("WAN_HOME", str(tmp_path))
    prepare_dagster_home(Settings.load())
    instance = dg.DagsterInstance.get()
    instance.add_dynamic_partitions("things", [f"thing{number}" for number in range(30)])
    return instance


def make(instance: dg.DagsterInstance, key: str) -> str:
    result = dg.materialize([thing], partition_key=key, instance=instance)
    assert result.success
    return result.run_id


def test_our_instance_uses_it_and_dagsters_own_class_reads_every_event_it_wrote(instance: dg.DagsterInstance) -> None:
    assert type(instance.event_log_storage) is KeptEventLogStorage
    runs = [make(instance, f"thing{number}") for number in range(20)]
    plain = SqliteEventLogStorage(instance.event_log_storage._base_dir)
    for run in runs:
        kept = [record.event_log_entry for record in instance.get_records_for_run(run).records]
        assert [record.event_log_entry for record in plain.get_records_for_run(run).records] == kept
        assert len(kept) > 5
    assert plain.get_materialized_partitions(dg.AssetKey("thing")) == {f"thing{number}" for number in range(20)}


def test_a_commit_does_not_wait_for_the_disk_and_the_log_is_written_ahead(instance: dg.DagsterInstance) -> None:
    with instance.event_log_storage.index_connection() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_what_another_process_writes_is_seen_at_once(instance: dg.DagsterInstance) -> None:
    make(instance, "thing0")
    code = (
        "import dagster as dg; from wan_pipeline_tests.defs.test_event_log import make;"
        "make(dg.DagsterInstance.get(), 'thing1')"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True)
    assert instance.get_materialized_partitions(dg.AssetKey("thing")) == {"thing0", "thing1"}


def test_threads_share_it_and_a_deleted_run_is_gone(instance: dg.DagsterInstance) -> None:
    # As the command line does it: Dagster's logging configuration at a run's beginning is not fit for threads.
    instance.get_yaml_python_handlers = list
    threads = [threading.Thread(target=make, args=(instance, f"thing{number}")) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(instance.get_materialized_partitions(dg.AssetKey("thing"))) == 4
    run = make(instance, "thing9")
    instance.delete_run(run)
    assert not instance.has_run(run)
    make(instance, "thing10")
