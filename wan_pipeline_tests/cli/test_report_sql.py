"""`report --sql` answers a question in the form that is asked for, and writes nothing anywhere."""

from __future__ import annotations

import csv
import io
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import JobState
from wan_pipeline_tests.cli.at_once import at_once, data_at_once
from wan_pipeline_tests.cli.house import COMMAND, House
from wan_pipeline_tests.services.postgres import PostgresServer
from wan_pipeline_tests.spend.samples import job_in, request_for


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("house"))
    house.home.mkdir(exist_ok=True)
    if request.param == "sqlite":
        with Ledger.open(f"sqlite:///{house.home}/ledger.sqlite") as ledger:
            _fill(ledger)
        yield house
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.database() as url:
        house.variables["WAN_LEDGER_URL"] = url
        with Ledger.open(url) as ledger:
            _fill(ledger)
        yield house


def _fill(ledger: Ledger) -> None:
    job_in(ledger, JobState.STORED, request_for("cat", 'a, "b"\nc', campaign="spring, summer"))
    job_in(ledger, JobState.AMBIGUOUS, request_for("dog", "dog"))


QUESTION = "SELECT shot, campaign, billed_nanos, billed_usd, day, submitted_at FROM job_costs ORDER BY shot"


def test_as_json_it_is_data_with_exact_amounts(house: House) -> None:
    cat, dog = data_at_once(house, "report", "--sql", QUESTION)
    assert (cat["shot"], cat["campaign"], cat["billed_nanos"], cat["billed_usd"]) == (
        "cat",
        "spring, summer",
        200_000_000,
        "0.200000000",
    )
    assert (dog["billed_nanos"], dog["billed_usd"]) == (None, None)
    assert len(cat["day"]) == 10
    assert cat["submitted_at"].endswith("Z")
    assert data_at_once(house, "report", "--sql", "SELECT 1 AS n WHERE 1 = 0") == []
    infinite = "CAST('infinity' AS float8)" if "WAN_LEDGER_URL" in house.variables else "1e999"
    assert data_at_once(house, "report", "--sql", f"SELECT {infinite} AS n") == [{"n": "inf"}]


def test_as_csv_it_is_a_line_of_names_and_a_line_for_each_row(house: House) -> None:
    done = at_once(house, "report", "--sql", f"{QUESTION};", "--csv")
    assert (done.status, done.err) == (0, "")
    head, cat, dog = csv.reader(io.StringIO(done.out))
    assert head == ["shot", "campaign", "billed_nanos", "billed_usd", "day", "submitted_at"]
    assert cat[:4] == ["cat", "spring, summer", "200000000", "0.200000000"]
    assert dog[:4] == ["dog", "", "", ""]


def test_as_a_table_it_is_short_and_says_what_it_leaves_out(house: House) -> None:
    done = at_once(house, "report", "--sql", "SELECT shot, state FROM job_costs ORDER BY shot")
    assert [line.split() for line in done.out.splitlines() if "─" not in line] == [
        ["shot", "state"],
        ["cat", "stored"],
        ["dog", "ambiguous"],
    ]
    many = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 999) SELECT n FROM r"
    done = at_once(house, "report", "--sql", many)
    assert "the first 200 rows; --csv or --json gives all of them" in done.err
    assert done.out.split()[-1] == "200"
    assert len(at_once(house, "report", "--csv", "--sql", many).out.splitlines()) == 1000
    done = at_once(house, "report", "--sql", "SELECT 1 WHERE 1 = 0")
    assert (done.out, done.err) == ("", "no rows\n")
    done = at_once(house, "report", "--sql", "SELECT '\x1b[31mred' AS colour")
    assert "\x1b" not in done.out
    assert "\\x1b[31mred" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sql", "DELETE FROM jobs"], "wan-pipeline: --sql: DELETE is refused. A question reads"),
        (["--sql", "SELECT 1; SELECT 2"], "--sql: one statement at a time"),
        (["--sql", "SELECT 1 AS a, 2 AS a", "--json"], "--sql: two columns are called a: name one of them by AS"),
        (["--sql", "SELECT * FROM nowhere"], "docs/ledger.md has every table"),
        (["--sql", "SELECT 1", "--csv", "--json"], "only one of them"),
        (["--sql", "SELECT 1", "--date", "2026-01-01"], "leave out --date and --month"),
        (["--csv"], "--csv goes with --sql"),
        (["--date", "0001-01-01"], "is not a day: write it as 2026-08-31"),
        (["--month", "0001-01"], "is not a month: write it as 2026-08"),
    ],
)
def test_wrong_use_is_told_and_ends_with_status_2(house: House, arguments: list[str], said: str) -> None:
    done = at_once(house, "report", *arguments)
    assert (done.status, done.out) == (2, "")
    assert said in done.err
    assert "Traceback" not in done.err


def test_no_report_is_written(house: House) -> None:
    at_once(house, "report", "--sql", "SELECT 1")
    assert list((house.home / "bucket").rglob("*.*")) == []


def test_a_reader_who_has_enough_ends_it_without_a_word(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite"):
        pass
    many = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 300000) SELECT n FROM r"
    line = f"{' '.join(COMMAND)} report --csv --sql '{many}' | head -2"
    done = subprocess.run(
        ["sh", "-c", line], env=House(tmp_path).environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("n\n1\n", "")
