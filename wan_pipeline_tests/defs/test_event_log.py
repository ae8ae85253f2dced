"""The kept event log writes what Dagster's own class reads, in this process and in others, and lets go of files."""

# No `from __future__ import annotations`: Dagster compares the annotation of the context with its classes.

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log import SqlEventLogStorageTable, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, AssetKeyTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

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


@pytest.fixture(params=["sqlite", "postgresql"])
def any_instance(
    request: pytest.FixtureRequest, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    if request.param == "sqlite":
        yield instance
        return
    monkeypatch.setenv("WAN_DAGSTER_STORAGE_URL", request.getfixturevalue("postgres_url"))
    with dg.DagsterInstance.get() as other:
        other.add_dynamic_partitions("things", [f"thing{number}" for number in range(30)])
        yield other


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


# --- the plan of a run over a range of partitions ---


@dg.multi_asset(
    specs=[dg.AssetSpec(name, partitions_def=partitions, skippable=True) for name in ("left", "right")],
    check_specs=[dg.AssetCheckSpec("sound", asset="left", partitions_def=partitions)],
    can_subset=True,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def pair(context: dg.AssetExecutionContext):
    yield from ()
    for key in context.partition_keys[:2]:
        context.log_event(dg.AssetMaterialization("left", partition=key))
        context.log_event(dg.AssetCheckEvaluation(dg.AssetKey("left"), "sound", True, {}, partition=key))


def make_range(instance: dg.DagsterInstance, last: int) -> str:
    tags = {"dagster/asset_partition_range_start": "thing0", "dagster/asset_partition_range_end": f"thing{last}"}
    job = dg.Definitions([pair], jobs=[dg.define_asset_job("j", [pair], partitions_def=partitions)]).get_job_def("j")
    result = job.execute_in_process(instance=instance, tags=tags)
    assert result.success
    return result.run_id


def left_by(storage: SqlEventLogStorage, run: str) -> dict[str, list[tuple[object, ...]]]:
    """What a run left: its events, the assets' rows and the checks' rows, without moments and numbers of rows."""
    rows: dict[str, list[tuple[object, ...]]] = {}
    events = SqlEventLogStorageTable.c
    for shard, connect in (("run", lambda: storage.run_connection(run)), ("index", storage.index_connection)):
        with connect() as connection:
            asked = sa.select(events.dagster_event_type, events.asset_key, events.partition, events.step_key)
            rows[shard] = sorted(map(repr, connection.execute(asked.where(events.run_id == run))))
    checks, assets = AssetCheckExecutionsTable.c, AssetKeyTable.c
    with storage.index_connection() as connection:
        asked = sa.select(checks.check_name, checks.partition, checks.execution_status).where(checks.run_id == run)
        rows["checks"] = sorted(map(repr, connection.execute(asked)))
        asked = sa.select(assets.asset_key, assets.last_run_id == run, assets.last_materialization.is_not(None))
        rows["assets"] = sorted(map(repr, connection.execute(asked)))
    return rows


def test_a_range_is_planned_as_dagsters_own_storage_plans_it(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path / "plain"))) as plain:
        assert type(plain.event_log_storage) is SqliteEventLogStorage
        plain.add_dynamic_partitions("things", [f"thing{number}" for number in range(30)])
        expected = left_by(plain.event_log_storage, make_range(plain, 9))
    assert left_by(instance.event_log_storage, make_range(instance, 9)) == expected
    assert len(expected["checks"]) == 10


def test_a_planned_checks_row_names_no_other_partition(any_instance: dg.DagsterInstance) -> None:
    run = make_range(any_instance, 9)
    columns = AssetCheckExecutionsTable.c
    with any_instance.event_log_storage.index_connection() as connection:
        asked = sa.select(columns.evaluation_event).where(columns.execution_status == "PLANNED", columns.run_id == run)
        planned = [text for (text,) in connection.execute(asked)]
    assert len(planned) == 8
    assert not any("thing" in text.replace('"things"', "") for text in planned)
    key = dg.AssetCheckKey(dg.AssetKey("left"), "sound")
    records = any_instance.event_log_storage.get_asset_check_execution_history(key, limit=20)
    assert sorted(record.partition for record in records) == sorted(f"thing{number}" for number in range(10))


def test_what_is_stored_together_is_stored_wholly_or_not_at_all(instance: dg.DagsterInstance) -> None:
    make(instance, "thing0")
    storage = instance.event_log_storage
    assert isinstance(storage, KeptEventLogStorage)
    asset = dg.AssetKey("thing")
    with pytest.raises(RuntimeError, match="in the middle"), storage.together():
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition="thing1"))
        raise RuntimeError("in the middle")
    assert instance.get_materialized_partitions(asset) == {"thing0"}
    with storage.together():
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition="thing2"))
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition="thing3"))
    assert instance.get_materialized_partitions(asset) == {"thing0", "thing2", "thing3"}
