"""A code server whose inside was killed is ended, for Dagster to start it anew; every other one is left alone."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from wan_pipeline.cli.code_servers import CodeServers

OUTER = """
import subprocess, sys, time
if sys.argv[3] == "whole":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "api", "grpc"])
time.sleep(60)
"""


@pytest.fixture
def started() -> Iterator[list[psutil.Process]]:
    """What stands for a code server with its inside, and for one that is still starting."""
    processes = [
        psutil.Process(subprocess.Popen([sys.executable, "-c", OUTER, "code-server", "start", how]).pid)
        for how in ("whole", "starting")
    ]
    while not processes[0].children():
        time.sleep(0.02)
    inside = processes[0].children()[0]
    while "grpc" not in inside.cmdline():
        time.sleep(0.02)
    yield [*processes, inside]
    for process in [*processes, inside]:
        if process.is_running():
            process.kill()


def test_one_that_has_lost_its_inside_for_long_is_ended_and_one_that_is_starting_is_not(
    started: list[psutil.Process],
) -> None:
    whole, starting, inside = started
    watch, this = CodeServers(), psutil.Process()
    assert watch.look(this, 0.0) == watch.look(this, 100.0) == []

    inside.kill()
    psutil.wait_procs([inside], timeout=10)

    assert watch.look(this, 101.0) == watch.look(this, 105.0) == []
    assert watch.look(this, 112.0) == [whole]
    psutil.wait_procs([whole], timeout=10)
    assert not whole.is_running() or whole.status() == psutil.STATUS_ZOMBIE
    assert watch.look(this, 1000.0) == []
    assert starting.is_running()


def test_one_whose_inside_was_replaced_in_time_is_left_alone(started: list[psutil.Process]) -> None:
    whole, _, inside = started
    watch, this = CodeServers(), psutil.Process()
    watch.look(this, 0.0)
    inside.suspend()  # busy, not gone
    assert watch.look(this, 50.0) == []
    inside.resume()
    assert whole.is_running()
