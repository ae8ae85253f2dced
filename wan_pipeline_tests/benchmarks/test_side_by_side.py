"""A `kill -9` half way, of this pipeline and of the SDK in a thread pool: who has paid twice is in the figures."""

from __future__ import annotations

import subprocess
import sys

import pytest


def killed_half_way(way: int) -> dict[str, str]:
    """The line of the table about this way, by its columns."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.side_by_side", "--quick", "--way", str(way)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    headings, _, row = done.stdout.strip().splitlines()[:3]
    columns = [heading.strip() for heading in headings.split("  ") if heading.strip()]
    return dict(zip(columns, [cell.strip() for cell in row.split("  ") if cell.strip()], strict=True))


def test_after_a_kill_half_way_the_pipeline_has_every_video_once_and_the_table_says_so() -> None:
    ours = killed_half_way(3)
    assert [ours[name] for name in ("submits", "charged", "paid twice", "lost", "videos")] == ["4", "4", "0", "0", "4"]


@pytest.mark.long
def test_what_the_sdk_had_under_way_at_the_kill_is_paid_again_and_the_table_says_so() -> None:
    theirs = killed_half_way(0)
    assert theirs["videos"] == "4"
    assert int(theirs["paid twice"]) == int(theirs["lost"]) == int(theirs["charged"]) - 4
