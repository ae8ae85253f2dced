"""What is loaded with the definitions, and by ticks that find nothing to do: every process of Dagster's pays for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

# What Dagster itself loads with them is not counted: the code below notes that first.
HEAVY = (
    *("pandas", "numpy", "matplotlib", "pyarrow", "av", "PIL", "tabulate", "jinja2", "duckdb"),
    *("s3fs", "fsspec", "aiobotocore", "botocore", "aiohttp", "httpx", "rich", "starlette", "uvicorn", "alembic"),
    "wan_pipeline.simulator",
)
_LOADED = """
import json, sys
import dagster
before = set(sys.modules)
import wan_pipeline.definitions
print(json.dumps(sorted(set(sys.modules) - before)))
"""
_FROZEN = """
import gc
import wan_pipeline.definitions
print(gc.get_freeze_count(), len(gc.get_objects()))
"""
_TICKED = """
import json, sys
from datetime import UTC, datetime
import dagster as dg
from wan_pipeline.defs.instance import prepare_dagster_home
from wan_pipeline.definitions import defs
from wan_pipeline.settings import Settings

prepare_dagster_home(Settings.load())
repository = defs.get_repository_def()
launched = []
with dg.DagsterInstance.get() as instance:
    before = set(sys.modules)
    common = {"instance": instance, "repository_def": repository, "resources": defs.resources}
    for sensor in repository.sensor_defs:
        with dg.build_sensor_context(sensor_name=sensor.name, **common) as context:
            launched += sensor.evaluate_tick(context).run_requests or []
    due = repository.get_schedule_def("due_shots")
    with dg.build_schedule_context(scheduled_execution_time=datetime.now(UTC), **common) as context:
        launched += due.evaluate_tick(context).run_requests or []
print(json.dumps([[name for name in sys.modules if name not in before], len(launched)]))
"""


def _told(code: str, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("WAN_", "DAGSTER_"))}
    done = subprocess.run([sys.executable, "-c", code], env=environment | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def _heavy(modules: list[str]) -> set[str]:
    return {heavy for heavy in HEAVY for name in modules if name == heavy or name.startswith(f"{heavy}.")}


def test_loading_the_definitions_loads_nothing_heavy_beyond_what_dagster_itself_does() -> None:
    assert _heavy(json.loads(_told(_LOADED))) == set()


def test_what_is_loaded_is_not_looked_through_for_garbage_again() -> None:
    left_alone, looked_through = map(int, _told(_FROZEN).split())
    assert left_alone > 50_000
    assert looked_through < left_alone / 10


def test_ticks_that_find_nothing_to_do_load_nothing_heavy(tmp_path: Path) -> None:
    inbox = tmp_path / "bucket" / "inbox"
    inbox.mkdir(parents=True)
    Image.new("RGB", (640, 360)).save(inbox / "cat.png")
    (inbox / "cat.yaml").write_text("model: wavespeed/wan-2.6-i2v-flash\nprompt: It runs.\n")
    not_yet = "100000"  # the files have changed just now: they are found, and wait
    modules, launched = json.loads(_told(_TICKED, WAN_HOME=str(tmp_path), WAN_SETTLE_SECONDS=not_yet))
    assert launched == 0
    assert _heavy(modules) == set()
