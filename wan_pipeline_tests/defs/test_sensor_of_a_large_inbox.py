"""All that the bucket sensor promises, where it finds only the shots anew that a change concerns, as in a large inbox."""

from __future__ import annotations

import pytest

from wan_pipeline.defs.resources import installation
from wan_pipeline_tests.defs.test_sensor import *  # noqa: F403  each of its tests once more


@pytest.fixture(autouse=True)
def _every_inbox_is_large(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setattr(installation, "LARGE_INBOX", 0)
