"""The polling benchmark, run through once: its figures are there, and the work that it measures was done."""

from __future__ import annotations

import subprocess
import sys


def test_the_tables_of_polls_and_lateness_are_printed_and_every_video_was_made() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.polling", "--quick"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("ideal", "ours, 500 times seen", "SDK, every second", "script, every 15 s", "uniform +-30 %"):
        assert words in done.stdout
    assert all(line.count("%") >= 2 for line in done.stdout.splitlines() if "times seen" in line)
    batches = [line for line in done.stdout.splitlines() if " shots " in line]
    assert [len(line.split("shots ")[1].split()) for line in batches] == [6, 6, 6]
