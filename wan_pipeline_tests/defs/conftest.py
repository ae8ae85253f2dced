"""A throw-away Dagster instance on SQLite for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from wan_pipeline_tests.defs.lab import Lab


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    folder = tmp_path / "dagster"
    folder.mkdir()
    with dg.DagsterInstance.local_temp(str(folder), overrides={"telemetry": {"enabled": False}}) as instance:
        yield instance


@pytest.fixture
def lab(tmp_path: Path, instance: dg.DagsterInstance) -> Lab:
    return Lab(tmp_path / "home", instance)
