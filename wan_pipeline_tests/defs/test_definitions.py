"""The definitions load anywhere, quickly, and a person finds their way in them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.storage.tags import PARTITION_NAME_TAG, RUN_KEY_TAG

from wan_pipeline.definitions import build_defs
from wan_pipeline.defs import runs_of_shots, shot_log, take_up

ROOT = Path(__file__).parents[2]
HEAVY = ("pandas", "matplotlib", "av", "s3fs", "aiobotocore", "PIL", "pyarrow", "starlette", "uvicorn", "alembic")


def _load(program: str, variables: dict[str, str]) -> str:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("WAN_", "AWS_", "DAGSTER"))
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=ROOT,
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


LOAD = "import sys, dagster as dg, wan_pipeline.definitions as d; print(*sys.modules); "
VALIDATE = "dg.Definitions.validate_loadable(d.defs)"


def test_with_no_variable_set_definitions_load_and_import_nothing_heavy() -> None:
    loaded = _load(LOAD + VALIDATE, {}).split()
    assert "wan_pipeline.definitions" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_definitions_load_where_variables_are_wrong_so_that_the_ui_can_say_so() -> None:
    _load(LOAD + VALIDATE, {"WAN_MODE": "wrong", "WAN_SHORTAPI_MAX_IN_FLIGHT": "many", "WAN_DAILY_BUDGET_USD": "none"})


def test_a_key_in_the_environment_is_referred_to_and_not_shown() -> None:
    program = (
        "from dagster._core.remote_representation.external_data import RepositorySnap\n"
        "import wan_pipeline.definitions as d\n"
        "from dagster._serdes import serialize_value\n"
        "print(serialize_value(RepositorySnap.from_def(d.defs.get_repository_def())))\n"
    )
    snapshot = _load(program, {"WAVESPEED_API_KEY": "s3cret", "WAN_LEDGER_URL": "postgresql://u:s3cret@h/d"})
    assert "s3cret" not in snapshot
    assert "WAVESPEED_API_KEY" in snapshot


def test_every_asset_says_what_it_is_whose_it_is_and_whether_it_spends() -> None:
    nodes = build_defs().resolve_asset_graph().asset_nodes
    assert {node.key.to_user_string() for node in nodes} == {
        "source_images",
        "shot_quotes",
        "generated_videos",
        "cost_reports",
        "monthly_cost_reports",
        "focus_exports",
        "reconciliations",
        "budgets",
    }
    for node in nodes:
        assert node.description
        assert node.owners == ["team:video"]
        assert node.kinds
        assert node.group_name != "default"
        assert node.tags["spends"] == ("money" if node.key == dg.AssetKey("generated_videos") else "nothing")


def test_jobs_sensors_and_schedules_are_there_and_on() -> None:
    repository = build_defs().get_repository_def()
    assert {job.name for job in repository.get_all_jobs()} >= {
        "make_videos",
        "quote_shots",
        "daily_report",
        "monthly_report",
        "focus_export",
        "reconcile_books",
        "resolve_job",
    }
    assert [(sensor.name, sensor.default_status.value) for sensor in repository.sensor_defs] == [
        ("alert_sensor", "RUNNING"),
        ("bucket_sensor", "RUNNING"),
        ("changed_exports", "RUNNING"),
        ("changed_reports", "RUNNING"),
        ("recovery_sensor", "RUNNING"),
    ]
    assert {
        (schedule.name, schedule.default_status.value, schedule.execution_timezone)
        for schedule in repository.schedule_defs
    } == {
        ("due_shots", "RUNNING", "UTC"),
        ("daily_cost_report", "RUNNING", "UTC"),
        ("monthly_cost_report", "RUNNING", "UTC"),
        ("monthly_focus_export", "RUNNING", "UTC"),
        ("daily_reconciliation", "RUNNING", "UTC"),
        ("daily_retirement", "RUNNING", "UTC"),
    }


def test_tags_are_dagsters_own() -> None:
    assert shot_log.DATA_VERSION_TAG == DATA_VERSION_TAG
    assert take_up.RUN_KEY_TAG == RUN_KEY_TAG
    assert runs_of_shots.PARTITION_TAG == PARTITION_NAME_TAG
