"""benchmarks/bytes.py and benchmarks/inspection.py at their smallest: everything is stored as it was served, every figure is
there."""

from __future__ import annotations

import subprocess
import sys


def printed_by(*command: str) -> str:
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_bytes_into_a_folder() -> None:
    told = printed_by("benchmarks.bytes", "--quick", "--no-s3")
    for title in ("folder, 3 at once", "folder, 1 at once over 1 Gbit/s", "folder, small videos"):
        assert title in told
    for way in ("curl", "ours, bytes alone", "ours, whole"):
        assert told.count(f"\n{way}  ") == 2, told


def test_inspection() -> None:
    told = printed_by("benchmarks.inspection", "--quick")
    for name in ("PNG, 1080p", "PNG, too large", "clip"):
        assert f"\n{name} " in told
