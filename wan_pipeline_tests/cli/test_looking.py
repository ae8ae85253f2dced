"""The commands that only look: quote, report, doctor. They spend nothing."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

from wan_pipeline_tests.cli.house import PRICE_USD, House


def test_a_quote_buys_nothing_and_knows_what_is_there_already(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.put_shots(["cat", "dog", "later"])
    house.put("later.yaml", "not_before: 2999-01-01T00:00:00Z\n")
    quoted = house.data("quote")
    assert {shot["shot"]: shot["status"] for shot in quoted["shots"]} == {
        "cat": "to be bought",
        "dog": "to be bought",
        "later": "not before 2999-01-01T00:00:00Z",
    }
    assert quoted["totals"] == {"to_pay_low_usd": "0.10", "to_pay_usd": "0.10"}
    assert quoted["budgets_left_usd"]["WAN_DAILY_BUDGET_USD"] == "25.00"
    assert house.books.posts() == {}
    assert house.jobs() == []

    assert house.verdicts("--shot", "cat") == {"cat": "made"}
    again = house.data("quote", "--shot", "cat")
    assert [(shot["status"], shot["quoted_usd"], shot["to_pay_usd"]) for shot in again["shots"]] == [
        ("made already", PRICE_USD, "0.00")
    ]

    house.put("dog.yaml", "resolution: 4k\n")
    broken = house.data("quote", status=1)
    (dog,) = [shot for shot in broken["shots"] if shot["shot"] == "dog"]
    assert dog["status"] == "not ready"
    assert "resolution" in dog["problem"]
    assert "4k" in dog["problem"]

    report = house.data("report")
    assert report["period"] == datetime.now(UTC).date().isoformat()
    assert report["is_over"] is False
    assert [(row["model"], row["jobs"], row["billed_usd"]) for row in report["rows"]] == [
        ("wavespeed/wan-2.6-i2v-flash", 1, PRICE_USD)
    ]
    for uri in report["files"].values():
        assert Path(uri.removeprefix("file://")).exists()
    month = house.data("report", "--month", f"{datetime.now(UTC):%Y-%m}")
    assert [row["billed_usd"] for row in month["totals"]] == [PRICE_USD]
    shown = house.run("report", "--date", "2026-01-31").stdout
    assert shown.startswith("Costs of 2026-01-31")
    assert "No job was submitted and nothing was refunded in 2026-01-31" in shown


def test_doctor_finds_nothing_wrong_in_an_empty_home_and_names_each_problem_with_its_remedy(tmp_path: Path) -> None:
    house = House(tmp_path / "home")
    findings = house.data("doctor")
    assert {finding["status"] for finding in findings} <= {"ok", "note"}
    assert {"settings", "bucket", "ledger", "books", "keys", "Dagster", "simulator"} <= {
        finding["check"] for finding in findings
    }

    variables = {"WAN_MODE": "live", "WAN_DEFAULT_MODEL": "wavespeed/wan", "WAN_BUCKET_URL": str(tmp_path / "nowhere")}
    sick = House(tmp_path / "home", variables)
    findings = sick.data("doctor", status=2)
    problems = {
        finding["check"]: finding["detail"] + finding["remedy"]
        for finding in findings
        if finding["status"] == "problem"
    }
    assert "nowhere" in problems["bucket"]
    assert "WAN_DEFAULT_MODEL" in problems["models"]
    assert "WAVESPEED_API_KEY" in problems["key of WaveSpeed"]


def test_doctor_calls_a_key_that_the_inbox_needs_a_problem_and_any_other_a_note(tmp_path: Path) -> None:
    house = House(tmp_path, {"WAN_MODE": "live", "AIMLAPI_KEY": "k"})
    house.put("_defaults.yaml", "model: wavespeed/wan-2.6-i2v-flash\nprompt: It moves.\n")
    house.put_shots(["cat"])
    found = {finding["check"]: finding for finding in house.data("doctor", status=2)}
    assert found["key of WaveSpeed"]["status"] == "problem"
    assert "cat" in found["key of WaveSpeed"]["detail"]
    assert found["key of ShortAPI"]["status"] == "note"
    assert found["key of AI/ML API"]["status"] == "ok"


def test_doctor_never_shows_a_key_or_a_password(tmp_path: Path) -> None:
    variables = {
        "WAN_MODE": "live",
        "SHORTAPI_KEY": "hush-1",
        "AIMLAPI_KEY": "hush-2",
        "WAVESPEED_API_KEY": "hush-3",
        "WAN_LEDGER_URL": "postgresql+psycopg2://user:hush-4@127.0.0.1:1/wan",
    }
    done = House(tmp_path, variables).run("doctor", "--json")
    assert "hush" not in done.stdout + done.stderr
    assert {finding["check"]: finding["status"] for finding in json.loads(done.stdout)}["ledger"] == "problem"


def test_a_home_that_cannot_be_written_is_said_to_be_so(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    blocker.chmod(stat.S_IRUSR)
    done = House(blocker / "home").run("run")
    assert done.returncode == 2
    assert "WAN_HOME" in done.stderr
