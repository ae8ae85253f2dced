"""The starts of processes are measured beside Dagster's own."""

from __future__ import annotations

import subprocess
import sys


def test_loading_the_definitions_is_told_beside_importing_dagster() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.imports", "--quick"], capture_output=True, text=True, timeout=120
    )
    assert done.stderr == ""
    rows = {line[:20].strip(): line[20:].split() for line in done.stdout.splitlines()}
    assert len(rows["import dagster"]) == 5, done.stdout
    assert len(rows["load the definitions"]) == 8, done.stdout
