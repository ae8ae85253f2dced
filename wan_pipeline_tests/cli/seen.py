"""For tests that buy with the engine alone, and then ask the command line."""

from __future__ import annotations

from datetime import UTC, datetime

from wan_pipeline.defs.take_up import remember_begun, update_index
from wan_pipeline.shots.discovery import discover
from wan_pipeline_tests.generation.house import House


def seen_by_a_run(house: House) -> None:
    """As if a run had taken these shots up: what is known of them is then told without looking at their files."""
    shots = discover(house.bucket, None)
    with house.ledger() as ledger:
        update_index(ledger.index, shots, datetime.now(UTC), simulated=True)
        remember_begun(ledger.index, shots, datetime.now(UTC), simulated=True)
