"""The scaffolding of benchmarks counts what it says it counts."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import psutil

from benchmarks.arena import Child, ideal_s, table

_BUSY = "import time\nwhile time.process_time() < 0.4: pass\nprint('done', flush=True); time.sleep(600)"
_LEAVES_AN_ORPHAN = f"""
import subprocess, sys, time
orphan = subprocess.Popen([sys.executable, "-c", {_BUSY!r}], stdout=subprocess.PIPE)
orphan.stdout.readline()
print(orphan.pid, "was busy", flush=True)
time.sleep(600 if "stay" in sys.argv else 0)
"""


def test_the_cpu_of_a_process_that_outlived_its_parent_is_counted() -> None:
    used = Child([sys.executable, "-c", _LEAVES_AN_ORPHAN]).wait(60)
    assert used.exit_status == 0
    assert used.cpu_s >= 0.4


def test_kill_ends_every_process_of_the_session(tmp_path: Path) -> None:
    child = Child([sys.executable, "-c", _LEAVES_AN_ORPHAN, "stay"], output=tmp_path / "out")
    while "was busy" not in (tmp_path / "out").read_text():
        time.sleep(0.05)
    orphan = int((tmp_path / "out").read_text().split()[0])
    used = child.kill()
    assert used.exit_status == -signal.SIGKILL
    assert used.cpu_s >= 0.4
    assert not psutil.pid_exists(child.pid)
    assert not psutil.pid_exists(orphan)


def test_the_ideal_fills_a_slot_the_moment_it_is_free() -> None:
    assert ideal_s([3, 1, 1, 1], slots=2) == 3
    assert ideal_s([1, 1, 1, 3], slots=2) == 4


def test_a_table_has_columns_as_wide_as_their_cells() -> None:
    assert table(("", "wall"), [("ours", "12.5 s")]) == "        wall\n----  ------\nours  12.5 s"
