"""Tables: on a narrow terminal a name stays whole; in a pipe a row is a line."""

from __future__ import annotations

import io
import re
import sys

import pytest

from wan_pipeline.cli.console import Column, print_table

_COLUMNS = [Column("shot"), Column("model"), Column("kind", spare=True), Column("billed USD", right=True)]
_ROWS = [
    ("spring/balloon/teaser", "wavespeed/wan-2.6-i2v-flash", "simulated", "0.05"),
    ("cat", "shortapi/wan-2.6-i2v", "simulated", "0.425"),
]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _printed(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, width: int) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", stream)
    print_table(_COLUMNS, _ROWS)
    return re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()


def test_in_a_pipe_a_row_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _printed(monkeypatch, io.StringIO(), 40)
    assert len(lines) == 2 + len(_ROWS)
    assert lines[2].split() == list(_ROWS[0])


@pytest.mark.parametrize(("width", "lines_of_teaser"), [(60, 1), (50, 2), (40, 3)])
def test_on_a_narrow_terminal_lines_break_after_a_slash(
    monkeypatch: pytest.MonkeyPatch, width: int, lines_of_teaser: int
) -> None:
    lines = _printed(monkeypatch, _Terminal(), width)
    assert max(len(line) for line in lines) <= width
    words = {word for line in lines for word in line.split()}
    assert "simulated" not in words
    assert {word for word in words if "flash" in word} <= {"wavespeed/wan-2.6-i2v-flash", "wan-2.6-i2v-flash"}
    assert [any(name in word for word in words) for name in ("spring/", "balloon/", "teaser")] == [True] * 3
    begin = next(number for number, line in enumerate(lines) if "spring/" in line)
    end = next(number for number, line in enumerate(lines) if "cat" in line)
    assert end - begin == lines_of_teaser
