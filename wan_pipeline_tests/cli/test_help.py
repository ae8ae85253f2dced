"""`--help`: every command has it, with an example; and it comes at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wan_pipeline.cli.app import COMMANDS

HEAVY = ("dagster", "pandas", "matplotlib", "av", "s3fs", "sqlalchemy", "httpx", "starlette", "rich.table", "PIL")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_an_example_of_itself(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wan_pipeline.cli", name, "--help"], capture_output=True, text=True, check=True
    )
    assert f"wan-pipeline {name}" in done.stdout.partition("Example")[2]


def test_help_imports_nothing_heavy() -> None:
    program = f"""
import sys
from wan_pipeline.cli.app import run
assert run(["--help"]) == 0
print("HEAVY", *[name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY", done.stdout.splitlines()[-1]
    for name in COMMANDS:
        assert f"  {name} " in done.stdout
