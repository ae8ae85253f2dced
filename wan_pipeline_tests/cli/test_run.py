"""`run`: each shot's end, exit statuses, what is asked for by name, what stands, what is outdated."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import dagster as dg
import pytest

from wan_pipeline.settings import Settings
from wan_pipeline_tests.cli.house import PRICE_USD, House, picture

JOB_KEYS = {
    "shot",
    "take",
    "provider",
    "model",
    "state",
    "provider_job_id",
    "quoted_usd",
    "billed_usd",
    "basis",
    "video_uri",
    "error",
}


def instance(house: House, monkeypatch: pytest.MonkeyPatch) -> dg.DagsterInstance:
    """Dagster's own view."""
    monkeypatch.setenv("WAN_HOME", str(house.home))
    monkeypatch.setenv("DAGSTER_HOME", str(Settings.load().dagster_home))
    return dg.DagsterInstance.get()


def test_every_good_shot_is_made_and_every_other_told_and_a_failure_is_tried_again_only_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path)
    house.put_shots(["good", "refused", "failing", "misspelled", "later"])
    house.put("refused.yaml", 'prompt: "[refuse] no"\n')
    house.put("failing.yaml", 'prompt: "[fail] no"\n')
    house.put("misspelled.yaml", "durration: 2\n")
    house.put("later.yaml", "not_before: 2999-01-01T00:00:00Z\n")
    house.put("text.png", "this is no image")
    ends = {
        "good": "made",
        "refused": "failed",
        "failing": "failed",
        "misspelled": "not ready",
        "later": "not due",
        "text": "not ready",
    }
    result = house.data("run", status=1)
    assert {shot["shot"]: shot["verdict"] for shot in result["shots"]} == ends
    reasons = {shot["shot"]: shot["reason"] for shot in result["shots"]}
    assert "durration" in reasons["misspelled"]
    assert "duration" in reasons["misspelled"]
    assert "text.png" in reasons["text"]
    assert result["totals"]["billed_usd"] == PRICE_USD

    # Again: nothing is bought, what stands is still told, and is a failure still.
    posts = house.books.posts()
    assert house.verdicts(status=1) == ends | {"good": "reused"}
    assert house.books.posts() == posts

    # By name, once its prompt is put right: one more request, and a take of its own.
    house.put("refused.yaml", "prompt: yes, please\n")
    named = house.data("run", "--shot", "refused")
    assert [(shot["verdict"], shot["take"]) for shot in named["shots"]] == [("made", 2)]

    jobs = house.jobs()
    assert all(set(job) >= JOB_KEYS for job in jobs)
    by_end = {(job["shot"], job["state"]): job for job in jobs}
    assert set(by_end) == {
        ("good", "stored"),
        ("refused", "rejected"),
        ("refused", "stored"),
        ("failing", "failed"),
    }
    stored = by_end["good", "stored"]
    assert (stored["billed_usd"], stored["basis"], stored["error"]) == (PRICE_USD, "quoted", None)
    assert stored["video_uri"].endswith("/videos/good/take-1.mp4")
    refused = by_end["refused", "rejected"]
    assert refused["billed_usd"] is None
    assert refused["provider_job_id"] is None
    assert refused["error"]
    assert {job["shot"] for job in house.data("jobs", "--state", "stored", "--shot", "good")} == {"good"}
    assert len(house.data("jobs", "--limit", "2")) == 2

    # And Dagster's catalog says the same.
    with instance(house, monkeypatch) as catalog:
        assert set(catalog.get_dynamic_partitions("shots")) == set(ends)
        assert catalog.get_materialized_partitions(dg.AssetKey("generated_videos")) == {"good", "refused"}


def test_shots_that_do_not_lie_side_by_side_are_made_in_runs_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path, {"WAN_DAILY_BUDGET_USD": "0"})
    names = [f"shot{number:02d}" for number in range(16)]
    house.put_shots(names)
    assert set(house.verdicts().values()) == {"deferred"}  # one run over all of them, and no failure
    house.variables = {}
    wanted = names[::2]
    made = house.data("run", *(part for name in wanted for part in ("--shot", name)))
    assert {shot["shot"]: shot["verdict"] for shot in made["shots"]} == dict.fromkeys(wanted, "made")
    with instance(house, monkeypatch) as catalog:
        assert catalog.get_materialized_partitions(dg.AssetKey("generated_videos")) == set(wanted)
        runs = catalog.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))
        assert len(runs) == 1 + len(wanted)
        assert {run.tags["wan/asked_by"] for run in runs} == {"run"}
    # The others are still missing, and a plain run makes them.
    assert set(house.verdicts().values()) == {"made", "reused"}
    assert len(house.books.charges()) == 16


def test_a_changed_shot_is_made_anew_an_outdated_one_only_when_asked_and_a_new_take_only_by_name(
    tmp_path: Path,
) -> None:
    house = House(tmp_path)
    house.put_shots(["cat", "dog"])
    assert house.verdicts() == {"cat": "made", "dog": "made"}
    house.put("cat.png", picture(99))
    assert house.verdicts() == {"cat": "made", "dog": "reused"}
    house.put("_defaults.yaml", (house.inbox / "_defaults.yaml").read_text().replace("It moves.", "It stands still."))
    done = house.run("run")
    assert done.returncode == 0
    assert "2 outdated" in done.stdout
    assert "run --outdated" in done.stdout
    assert house.verdicts("--shot", "cat", "--outdated") == {"cat": "made"}
    assert house.verdicts("--shot", "cat", "--new-take") == {"cat": "made"}
    assert [job["take"] for job in house.jobs() if job["shot"] == "cat"] == [4, 3, 2, 1]
    assert len(house.books.charges()) == 5


def in_flight(house: House, count: int) -> None:
    deadline = time.monotonic() + 120
    while not (house.home / "simulator" / "books.sqlite").exists() or len(house.books.jobs()) < count:
        assert time.monotonic() < deadline, "nothing was bought"
        time.sleep(0.05)


def test_ctrl_c_leaves_what_is_in_flight_to_the_next_run_which_collects_it(tmp_path: Path) -> None:
    house = House(tmp_path, {"WAN_SIMULATOR_LATENCY": "600"})
    house.put_shots(["cat", "dog"])
    process = house.start("run", "--json")
    in_flight(house, 2)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "nothing more is bought" in told
    assert {job["state"] for job in house.jobs()} <= {"submitted", "submitting"}
    assert {job["billed_usd"] for job in house.jobs()} == {None}
    assert len(house.books.charges()) == 2


def test_what_a_killed_run_had_bought_is_collected_and_it_does_not_count_as_running_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path, {"WAN_SIMULATOR_LATENCY": "6"})
    house.put_shots(["cat", "dog"])
    process = house.start("run")
    in_flight(house, 2)
    time.sleep(0.5)  # the answers are written down
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert house.verdicts() == {"cat": "made", "dog": "made"}
    assert len(house.books.charges()) == 2
    with instance(house, monkeypatch) as catalog:
        assert sorted(str(run.status.value) for run in catalog.get_runs()) == ["FAILURE", "SUCCESS"]


def test_files_that_are_still_changing_are_waited_for(tmp_path: Path) -> None:
    house = House(tmp_path, {"WAN_SETTLE_SECONDS": "2"})
    house.put_shots(["cat"])
    ahead = time.time() + 3600  # another machine's clock: the file counts as changed when it is first seen
    os.utime(house.inbox / "cat.png", (ahead, ahead))
    done = house.run("run")
    assert done.returncode == 0
    assert "WAN_SETTLE_SECONDS" in done.stderr
    assert "1 made" in done.stdout
