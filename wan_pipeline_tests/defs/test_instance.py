"""Dagster's home: one catalog for our commands and for a plain `dagster dev`, kept where WAN_HOME says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance import InstanceRef

from wan_pipeline.defs.instance import STORAGE_URL_VARIABLE, prepare_dagster_home
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.settings import Settings

ROOT = Path(__file__).parents[2]


@dg.asset
def thing() -> None: ...


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WAN_HOME", str(tmp_path / "wan home"))
    return prepare_dagster_home(Settings.load())


def test_the_home_lies_under_wan_home_and_dagster_is_pointed_there(home: Path, tmp_path: Path) -> None:
    assert home == tmp_path / "wan home" / "dagster"
    assert os.environ["DAGSTER_HOME"] == str(home)


def test_every_setting_of_ours_is_known_to_the_installed_dagster(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        assert not instance.run_retries_enabled
        assert instance.get_settings("run_retries")["retry_on_asset_or_op_failure"] is False
        assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == 4


def test_a_plain_dagster_in_the_checkout_shows_what_our_commands_made(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dg.DagsterInstance.get() as instance:
        made = dg.materialize([thing], instance=instance)
    monkeypatch.delenv("DAGSTER_HOME")
    elsewhere = tmp_path / "temporary"
    elsewhere.mkdir()
    # as `dagster dev` does without DAGSTER_HOME: a temporary folder, and the dagster.yaml of the folder it stands in
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(elsewhere), config_dir=str(ROOT))) as instance:
        assert [run.run_id for run in instance.get_runs()] == [made.run_id]
        log = instance.compute_log_manager.get_captured_local_path(["key"], "err")
        assert Path(log).is_relative_to(home)


def test_with_the_variable_runs_are_kept_in_postgres_and_the_password_in_the_environment(
    home: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORAGE_URL_VARIABLE, postgres_url)
    with dg.DagsterInstance.get() as instance:
        made = dg.materialize([thing], instance=instance)
        assert "postgres" in type(instance.run_storage).__module__
        assert postgres_url not in instance.info_str()
        assert postgres_url not in repr(instance.get_ref())
    monkeypatch.delenv(STORAGE_URL_VARIABLE)
    with dg.DagsterInstance.get() as instance:
        assert instance.get_run_by_id(made.run_id) is None


def test_a_database_dagster_cannot_use_is_named_with_its_variable(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORAGE_URL_VARIABLE, "mysql://user:secret@host/db")
    with pytest.raises(ConfigurationError, match=STORAGE_URL_VARIABLE) as error, dg.DagsterInstance.get():
        pass
    assert "secret" not in str(error.value)


def test_the_file_follows_ours_until_a_person_makes_it_their_own(home: Path) -> None:
    target = home / "dagster.yaml"
    written = target.read_text()
    first_line, rest = written.split("\n", 1)
    assert rest == (ROOT / "dagster.yaml").read_text()

    target.write_text(f"{first_line}\ntelemetry: {{enabled: true}}\n")  # as an older version of ours
    prepare_dagster_home(Settings.load())
    assert target.read_text() == written

    target.write_text("telemetry: {enabled: false}\n")
    prepare_dagster_home(Settings.load())
    assert target.read_text() == "telemetry: {enabled: false}\n"


def test_many_processes_may_prepare_it_at_once(tmp_path: Path) -> None:
    code = (
        "from wan_pipeline.defs.instance import prepare_dagster_home as p; from wan_pipeline.settings import Settings;"
        "print(*{(p(Settings.load()) / 'dagster.yaml').read_text() for _ in range(50)})"
    )
    environment = {**os.environ, "WAN_HOME": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(set(said)) == 1
    assert [each.name for each in (tmp_path / "dagster").iterdir()] == ["dagster.yaml"]


def test_a_home_that_cannot_be_made_names_wan_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WAN_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigurationError, match="set WAN_HOME"):
        prepare_dagster_home(Settings.load())
