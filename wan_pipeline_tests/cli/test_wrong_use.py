"""Wrong use and wrong configuration: exit status 2, the mistake by its name, no traceback, nothing bought."""

from __future__ import annotations

from pathlib import Path

import pytest

from wan_pipeline_tests.cli.house import House

MISTAKES = [
    pytest.param(["rnu"], {}, ["no command 'rnu'", "run"], id="a command misspelled"),
    pytest.param(["jobs", "--jsno"], {}, ["--jsno", "--json"], id="an option misspelled"),
    pytest.param(["jobs", "extra"], {}, ["extra"], id="an argument too many"),
    pytest.param(["jobs", "--state", "stord"], {}, ["stord", "stored"], id="no such state"),
    pytest.param(["jobs", "--limit", "0"], {}, ["--limit"], id="a limit of nothing"),
    pytest.param(["report", "--date", "31.8.2026"], {}, ["31.8.2026", "2026-08-31"], id="a day written otherwise"),
    pytest.param(["report", "--month", "2026-13"], {}, ["2026-13", "2026-08"], id="no such month"),
    pytest.param(["report", "--date", "2999-01-01"], {}, ["2999-01-01", "has not begun"], id="a day to come"),
    pytest.param(["report", "--month", "2999-01"], {}, ["2999-01", "has not begun"], id="a month to come"),
    pytest.param(["report", "--date", "2026-01-01", "--month", "2026-01"], {}, ["--date", "--month"], id="both"),
    pytest.param(["run", "--new-take"], {}, ["--new-take", "--shot"], id="everything bought again"),
    pytest.param(["jobs"], {"WAN_MODE": "lvie"}, ["WAN_MODE", "lvie", "live"], id="no such mode"),
    pytest.param(
        ["run"],
        {"WAN_DAILY_BUDGET_USD": "much", "WAN_SETTLE_SECONDS": "-1"},
        ["WAN_DAILY_BUDGET_USD", "much", "WAN_SETTLE_SECONDS", "-1"],
        id="two wrong settings",
    ),
    pytest.param(["run"], {"WAVESPEED_BASE_URL": "wavespeed.ai"}, ["WAVESPEED_BASE_URL", "https://"], id="no URL"),
    pytest.param(["demo"], {"WAN_MODE": "live"}, ["demo never spends", "WAN_MODE"], id="demo in live mode"),
    pytest.param(["simulator", "--latency", "long"], {}, ["--latency", "long"], id="no number"),
    pytest.param(["simulator"], {"WAN_SIMULATOR_RENDER": "none"}, ["none", "shared"], id="a wrong variable"),
    pytest.param(["dev", "--port", "70000"], {}, ["--port", "70000"], id="no port"),
    pytest.param(["receiver"], {"WAN_PUBLIC_CALLBACK_URL": "http://127.0.0.1:1"}, ["SHORTAPI_KEY"], id="no key"),
    pytest.param(["receiver", "--port", "many"], {}, ["--port", "many"], id="no port for callbacks"),
    pytest.param(["doctor", "--verify-hashes"], {}, ["--rebuild-ledger"], id="hashes of nothing"),
    pytest.param(
        ["doctor", "--rebuild-ledger"],
        {"WAN_LEDGER_URL": "postgresql+psycopg2://user:secret@127.0.0.1:1/wan"},
        ["WAN_LEDGER_URL", "127.0.0.1", "***"],
        id="no ledger to rebuild",
    ),
    pytest.param(
        ["doctor", "--rebuild-ledger"], {"WAN_BUCKET_URL": "/nowhere/at/all"}, ["WAN_BUCKET_URL"], id="no manifests"
    ),
    pytest.param(
        ["run"],
        {"WAN_CAMPAIGN_BUDGETS_USD": "spring", "WAN_PUBLIC_CALLBACK_URL": "example.org"},
        ["WAN_CAMPAIGN_BUDGETS_USD", "spring=50", "WAN_PUBLIC_CALLBACK_URL", "https://"],
        id="no budget, no URL",
    ),
    pytest.param(
        ["jobs"],
        {"WAN_LEDGER_URL": "postgresql+psycopg2://user:secret@127.0.0.1:1/wan"},
        ["WAN_LEDGER_URL", "127.0.0.1", "***"],
        id="no ledger there",
    ),
    pytest.param(
        ["retire"],
        {"WAN_RETIRE_AFTER_DAYS": "1", "WAN_DAGSTER_STORAGE_URL": "postgresql+psycopg2://user:secret@127.0.0.1:1/wan"},
        ["WAN_DAGSTER_STORAGE_URL", "127.0.0.1", "***", "Start it"],
        id="no storage of Dagster's there",
    ),
    pytest.param(
        ["dev"],
        {"WAN_BUCKET_EVENTS_URL": "https://sqs.eu-west-1.amazonaws.com/1/q"},
        ["WAN_BUCKET_EVENTS_URL", "WAN_BUCKET_URL", "on S3"],
        id="a folder sends no events",
    ),
    pytest.param(
        ["quote"],
        {"WAN_RETIRE_AFTER_DAYS": "0", "WAN_WAVESPEED_POLLS_PER_MINUTE": "many"},
        ["WAN_RETIRE_AFTER_DAYS: write 1 or more", "WAN_WAVESPEED_POLLS_PER_MINUTE: write a whole number"],
        id="no such numbers",
    ),
]


@pytest.mark.parametrize(("arguments", "variables", "words"), MISTAKES)
def test_a_mistake_is_named_and_the_exit_status_is_2(
    tmp_path: Path, arguments: list[str], variables: dict[str, str], words: list[str]
) -> None:
    house = House(tmp_path / "home", variables)
    done = house.run(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
    assert not (tmp_path / "home" / "simulator").exists(), "a simulator was asked"


def test_a_shot_that_there_is_not_is_told_with_those_spelled_nearly_so(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.put_shots(["spring/cat", "spring/dog", "winter/hare"])
    for command in ("run", "quote"):
        done = house.run(command, "--shot", "sprng/cat")
        assert done.returncode == 2
        assert "'sprng/cat'" in done.stderr
        assert "spring/cat" in done.stderr
        assert "winter/hare" not in done.stderr
    assert house.jobs() == []


def test_live_mode_without_a_needed_key_buys_nothing_with_the_others(tmp_path: Path) -> None:
    house = House(
        tmp_path, {"WAN_MODE": "live", "AIMLAPI_KEY": "not-to-be-shown", "WAN_PUBLIC_BASE_URL": "http://[::1]:1"}
    )
    house.put_shots(["cat", "dog"])
    house.put("dog.yaml", "model: aimlapi/wan-2.6-i2v\nduration: 5\n")
    done = house.run("run")
    assert done.returncode == 2
    assert "WAVESPEED_API_KEY" in done.stderr
    assert "not-to-be-shown" not in done.stdout + done.stderr
    assert house.jobs() == []


def test_an_error_that_nobody_foresaw_leaves_its_traceback_in_a_file(tmp_path: Path) -> None:
    house = House(tmp_path)
    (tmp_path / "ledger.sqlite").mkdir()
    (tmp_path / "simulator").write_text("no folder")
    done = house.run("simulator", "--books")
    assert done.returncode == 70
    assert "Traceback" not in done.stderr
    (written,) = (tmp_path / "errors").iterdir()
    assert str(written) in done.stderr
    assert "Traceback" in written.read_text()
    assert "Traceback" in house.run("simulator", "--books", "--debug").stderr
