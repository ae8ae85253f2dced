"""The makespan's figures are there, and are of a run in which every video was made once."""

from __future__ import annotations

import subprocess
import sys


def test_every_video_is_made_once_and_dagsters_events_are_logged_again_to_compare() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.makespan", "--quick"], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, _title, _rule, *lines = done.stdout.splitlines()
    assert first == "12 shots: 12 stored, 12 charged; exit 0"
    cells = [line.strip().rsplit("  ", 1) for line in lines]
    rows = {name.strip(): value for name, value in cells}
    assert rows["Dagster's events per video"] == "7.0"
    assert float(rows["wall / ideal"]) > 1
    assert {"polls per video", "CPU per video", "CPU / Dagster's events", "peak memory"} <= rows.keys()
