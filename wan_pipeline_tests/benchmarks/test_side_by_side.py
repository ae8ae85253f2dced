"""A `kill -9` half way, of the SDK in a thread pool and of this pipeline: who has paid twice is in the figures."""

from __future__ import annotations

import subprocess
import sys


def test_the_pipeline_has_every_video_once_after_a_kill_and_the_table_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.side_by_side", "--quick"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    headings = next(line for line in lines if line.startswith("kill -9 half way")).split("  ")
    columns = [heading.strip() for heading in headings if heading.strip()]
    rows = {
        line[:26].strip(): line[26:].split() for line in lines if line.startswith(("wavespeed SDK", "this pipeline"))
    }
    ours = dict(zip(columns[1:], rows["this pipeline"], strict=True))
    assert [ours[name] for name in ("submits", "charged", "paid twice", "lost", "videos")] == ["4", "4", "0", "0", "4"]
    assert len(rows["wavespeed SDK, thread pool"]) == len(columns) - 1
