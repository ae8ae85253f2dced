"""The disk is full with a batch in flight: ledger, bucket and Dagster's storage can write nothing, until there is room."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wan_pipeline_tests.whole.chaos import Chaos, chaos

FULL_S = 6


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return ballast


def _full_for_a_while(it: Chaos, disk: Path) -> None:
    ballast = _fill(disk)
    it.say("the disk is full")
    end = time.monotonic() + FULL_S
    while time.monotonic() < end:
        _fill_up(ballast)  # what the others let go is taken too
        time.sleep(0.1)
    ballast.unlink()
    it.say("there is room again")


def _fill_up(ballast: Path) -> None:
    with ballast.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return


@pytest.mark.timeout(600)
@pytest.mark.long
def test_a_full_disk_loses_no_video_that_was_paid_for_and_buys_none_twice(tmp_path: Path) -> None:
    with _small_disk(tmp_path / "disk") as disk, chaos(tmp_path / "rest", home=disk / "home") as it:
        it.put("full", 15)
        it.wait_until_sent("full", 6)
        _full_for_a_while(it, disk)
        it.put("after", 3)
        it.wait_until_stored()
        it.assert_the_books_agree()
        it.assert_it_was_told_plainly()
