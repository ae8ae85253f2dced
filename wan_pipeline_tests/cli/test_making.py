"""What `run` does not read where there is very much: counted, not timed."""

from __future__ import annotations

from typing import Any, cast

import pytest

from wan_pipeline.cli import making, run
from wan_pipeline.cli.exits import WrongUseError
from wan_pipeline.cli.making import Asked, Made
from wan_pipeline.cli.results import Row
from wan_pipeline.generation.events import Verdict
from wan_pipeline.settings import Settings
from wan_pipeline.shots.shot import Shot
from wan_pipeline_tests.shots.inboxes import READY, shots_of

SHOTS = shots_of({"_defaults.yaml": READY, "cat.png": "", "dog.png": ""})


class _Opened:
    def __init__(self) -> None:
        self.read: list[str] = []

    def discover(self) -> list[Shot]:
        self.read.append("all")
        return list(SHOTS.values())

    def discover_some(self, keys: tuple[str, ...]) -> list[Shot]:
        self.read.append("some")
        return [SHOTS[key] for key in keys if key in SHOTS]


def _chosen(opened: _Opened, *keys: str) -> list[str]:
    return [shot.key for shot in making._chosen(cast(Any, opened), Asked(keys))]  # pyright: ignore[reportPrivateUsage]


def test_where_shots_are_named_the_others_are_not_read() -> None:
    opened = _Opened()
    assert _chosen(opened, "cat") == ["cat"]
    assert opened.read == ["some"]


def test_all_are_read_where_a_name_is_wrong_to_say_which_was_meant() -> None:
    opened = _Opened()
    with pytest.raises(WrongUseError, match="nearly so: cat"):
        _chosen(opened, "cut")
    assert opened.read == ["some", "all"]


def test_no_row_is_compared_with_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def compare(one: Row, other: object) -> bool:
        raise AssertionError(f"{one} is compared with {other}")

    rows = [Row(f"shot{number}", Verdict.REUSED, "", None) for number in range(3)]
    monkeypatch.setattr(Row, "__eq__", compare)
    run._tell(Made(tuple(rows), None), Settings.load(), as_json=False, new_take=False)  # pyright: ignore[reportPrivateUsage]
    assert "3 videos are there already" in capsys.readouterr().out
