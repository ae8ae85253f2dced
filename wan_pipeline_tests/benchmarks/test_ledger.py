"""The benchmark of the ledger runs through, and what it did was right. Its times are nobody's business here."""

from __future__ import annotations

import subprocess
import sys


def test_it_measures_every_call_and_the_ledgers_agree_with_themselves() -> None:
    command = [sys.executable, "-m", "benchmarks.ledger", "--quick", "--database", "sqlite"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for row in ("look", "claim", "accepted", "generated", "stored", "a job's life", "claims, 2 processes", "bills, 2"):
        assert f"\n{row}" in done.stdout
