"""The plug is pulled: `kill -9` of `wan-pipeline run` at random moments, then `run` once more."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from wan_pipeline.money import Money
from wan_pipeline_tests.generation.house import png
from wan_pipeline_tests.whole.installation import Installation, served_folder, simulator_server

KILLS = int(os.environ.get("TEST_KILLS", "20"))
SHOTS_A_ROUND = 4


def received(folder: Path) -> int:
    """How many submissions the simulator has received, a moment after it did."""
    with closing(sqlite3.connect(f"file:{folder / 'books.sqlite'}?mode=ro", uri=True)) as books:
        return books.execute("SELECT count(*) FROM posts").fetchone()[0]


@pytest.mark.timeout(900)
def test_killed_at_twenty_random_moments_no_request_is_charged_twice_and_every_charge_is_known(tmp_path: Path) -> None:
    seed = int(os.environ.get("TEST_SEED", str(random.randrange(10**6))))
    print(f"seed {seed} (TEST_SEED)")
    chance = random.Random(seed)
    bucket = tmp_path / "bucket"
    (bucket / "inbox").mkdir(parents=True)
    (bucket / "inbox/_defaults.yaml").write_text("model: wavespeed/wan-2.6-i2v-flash\nprompt: It moves.\nduration: 2\n")
    house = Installation(tmp_path / "home", tmp_path / "simulator")
    with (
        simulator_server(tmp_path / "simulator", "--latency", "1.5", "--render", "shared") as url,
        served_folder(bucket) as public,
    ):
        house.live(url, str(bucket), public)
        killed_in_time = 0
        for number in range(KILLS):
            for extra in range(SHOTS_A_ROUND):
                index = number * SHOTS_A_ROUND + extra
                picture = png(f"#{index:02x}40{255 - index:02x}")
                (bucket / f"inbox/shot{index:03d}.png").write_bytes(picture)
            posts = received(tmp_path / "simulator")
            process = house.start("run")
            # A fourth of the kills fall anywhere from the start on; the others at the first request or right behind it,
            # or while videos are made.
            if chance.random() < 0.25:
                time.sleep(chance.uniform(0, 4))
            else:
                while process.poll() is None and received(tmp_path / "simulator") == posts:
                    time.sleep(0.002)
                time.sleep(chance.choice([chance.uniform(0, 0.05), chance.uniform(0, 2.0)]))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                killed_in_time += 1
            process.wait(60)
        last = house.run("run", "--json")
        jobs = house.jobs()
        charges = house.books.charges()
        posts = received(tmp_path / "simulator")
    print(f"{killed_in_time} of {KILLS} killed while it ran; exit of the last run {last.returncode}")
    assert killed_in_time >= KILLS * 0.6, "most of the runs were over before they were killed"
    assert all(count == 1 for count in Counter(charge.job_id for charge in charges).values())
    assert len(jobs) == KILLS * SHOTS_A_ROUND, "one job for each shot, however often it was interrupted"
    assert posts <= len(jobs), "a request was sent twice"
    states = Counter(job["state"] for job in jobs)
    assert set(states) <= {"stored", "ambiguous"}, states
    assert states["stored"] + states["ambiguous"] == KILLS * SHOTS_A_ROUND
    known = {job["provider_job_id"] for job in jobs if job["provider_job_id"]}
    unknown = [charge for charge in charges if charge.job_id not in known]
    assert len(unknown) <= states["ambiguous"], "a charge that is neither a job nor an ambiguity of the ledger"
    for job in jobs:
        if job["state"] == "stored":
            assert (bucket / f"videos/{job['shot']}/take-1.mp4").exists()
            assert Money.usd(job["billed_usd"]) == Money.usd("0.05")
        else:
            assert Money.usd(job["held_usd"]) == Money.usd("0.05"), "an ambiguous job keeps its hold"
            assert job["error"], "it says so"
    assert last.returncode == (1 if states["ambiguous"] else 0), last.stderr
