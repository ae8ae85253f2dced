"""The benchmark of partitions, once, small."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.long
def test_an_installation_is_put_in_place_and_every_tick_and_a_run_have_their_figures() -> None:
    command = [sys.executable, "-m", "benchmarks.partitions", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for name in ("bucket_sensor", "recovery_sensor", "due_shots", "daily_retirement", "run in process, per video"):
        (line,) = [line for line in done.stdout.splitlines() if name in line]
        assert len(line.split()) >= 4
