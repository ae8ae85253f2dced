"""Several processes on one ledger, on SQLite and on PostgreSQL: whoever comes second joins, and never buys."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from wan_pipeline.money import Money
from wan_pipeline_tests.generation.house import png
from wan_pipeline_tests.whole.installation import Installation, served_folder, simulator_server

SHOTS = 6


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_three_runs_at_once_over_the_same_shots_make_each_once_and_all_end_well(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    bucket = tmp_path / "bucket"
    (bucket / "inbox").mkdir(parents=True)
    (bucket / "inbox/_defaults.yaml").write_text("model: wavespeed/wan-2.6-i2v-flash\nprompt: It moves.\nduration: 2\n")
    for number in range(SHOTS):
        (bucket / f"inbox/shot{number}.png").write_bytes(png(f"#{number:02x}6090"))
    # Two hosts would have two homes: one catalog each, one ledger, one bucket.
    houses = [Installation(tmp_path / f"home{number}", tmp_path / "simulator") for number in range(3)]
    url = request.getfixturevalue("postgres_url") if database == "postgres" else f"sqlite:///{tmp_path}/ledger.sqlite"
    with (
        simulator_server(tmp_path / "simulator", "--latency", "2", "--render", "shared") as simulator,
        served_folder(bucket) as public,
    ):
        for house in houses:
            house.live(simulator, str(bucket), public)
            house.variables["WAN_LEDGER_URL"] = url
        processes = [house.start("run") for house in houses]
        statuses = [process.wait(180) for process in processes]
        jobs = houses[0].jobs()
        charges = houses[0].books.charges()
    assert statuses == [0, 0, 0]
    assert Counter(job["state"] for job in jobs) == {"stored": SHOTS}
    assert Counter(charge.job_id for charge in charges) == {job["provider_job_id"]: 1 for job in jobs}
    assert Money.total(Money.usd(job["billed_usd"]) for job in jobs).nanos == houses[0].books.total_nanos()
    assert len(list((bucket / "videos").rglob("take-*.mp4"))) == SHOTS
