"""For all tests of the engine: its pauses are short, so that nothing waits for them."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wan_pipeline.generation.finding._FIRST_LOOK_S", 0.01)
    monkeypatch.setattr("wan_pipeline.generation.deadlines._AGAIN_S", 0.05)
