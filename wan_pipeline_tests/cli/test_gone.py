"""What is paid for is collected, even where its shot was deleted meanwhile."""

from __future__ import annotations

import time
from pathlib import Path

from wan_pipeline_tests.cli.house import House


def test_a_video_in_flight_for_a_shot_that_was_deleted_is_collected_by_the_next_run(tmp_path: Path) -> None:
    house = House(tmp_path, {"WAN_SIMULATOR_LATENCY": "4"})
    house.put_shots(["gone", "stays"])
    process = house.start("run")
    until = time.monotonic() + 60
    while len(house.books.charges()) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    process.terminate()  # in order: what was sent is written down, and left in flight
    process.communicate()
    (house.inbox / "gone.png").unlink()

    verdicts = house.verdicts(status=1)

    assert verdicts == {"gone": "not ready", "stays": "made"}
    assert {job["state"] for job in house.jobs()} == {"stored"}
    assert (house.home / "bucket" / "videos" / "gone" / "take-1.mp4").exists()
    assert house.verdicts() == {"stays": "reused"}
    assert len(house.books.charges()) == 2
