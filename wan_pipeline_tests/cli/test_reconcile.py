"""`reconcile` on a real home: errors planted in the provider's books and in an invoice are found and named, nothing else.

The command runs in this process, as often as it is asked for; once in its own, as a person would run it.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from wan_pipeline.cli.app import run
from wan_pipeline_tests.cli.house import House

SHOTS = ["bee", "cat", "dog", "elk", "fox", "gnu"]
DAY = "2026-03-14"
NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 15, tzinfo=UTC)
MAPPING = "provider: wavespeed\ncolumns: {line_id: Id, reference: Task, amount: Cost, date: Created}\n"
PRICE = "0.05"


@dataclass
class Home:
    """A demo home whose six jobs were bought on DAY, by the ledger and by the simulated provider's books."""

    house: House
    ids: dict[str, str]  # the provider's ids, by shot
    captured: pytest.CaptureFixture[str] | None = None

    @contextmanager
    def books(self) -> Iterator[sqlite3.Connection]:
        """The provider's, past what keeps everybody else from changing them."""
        with closing(sqlite3.connect(self.house.home / "simulator" / "books.sqlite")) as database, database:
            database.execute("DROP TRIGGER IF EXISTS entries_stay")
            database.execute("DROP TRIGGER IF EXISTS entries_remain")
            yield database

    @contextmanager
    def ledger(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.house.home / "ledger.sqlite")) as database, database:
            yield database

    def invoice(self, name: str, rows: list[tuple[str, str, str, str]]) -> None:
        text = "Id,Task,Cost,Created\n" + "".join(",".join(row) + "\n" for row in rows)
        folder = self.house.home / "bucket" / "invoices"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        (folder / "wavespeed.mapping.yaml").write_text(MAPPING)

    def honest_rows(self) -> list[tuple[str, str, str, str]]:
        return [(f"i-{shot}", self.ids[shot], PRICE, moment(number)) for number, shot in enumerate(SHOTS)]

    def run(self, *arguments: str, status: int = 0) -> str:
        """What `reconcile` prints, on stderr too; it must leave with this exit status."""
        assert self.captured is not None
        done = run(["reconcile", *arguments])
        told = self.captured.readouterr()
        assert done == status, told
        return told.out if "--json" in arguments else told.out + told.err

    def reconcile(self, *arguments: str, date: str = DAY, status: int = 0) -> dict[str, Any]:
        given = ("--provider", "wavespeed", "--json")
        when = () if "--month" in arguments else ("--date", date)
        (result,) = json.loads(self.run(*when, *given, *arguments, status=status))
        return result


def moment(number: int) -> str:
    """When that shot was bought: the last one at the end of the day."""
    at = MIDNIGHT - timedelta(microseconds=1) if number == len(SHOTS) - 1 else NOON + timedelta(minutes=number)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


@pytest.fixture(scope="module")
def bought(tmp_path_factory: pytest.TempPathFactory) -> Home:
    house = House(tmp_path_factory.mktemp("reconcile") / "home")
    house.put_shots(SHOTS)
    assert house.run("run").returncode == 0
    home = Home(house, {job["shot"]: job["provider_job_id"] for job in house.jobs()})
    with home.ledger() as ledger, home.books() as books:
        for number, shot in enumerate(SHOTS):
            at = moment(number)
            columns = ", ".join(f"{name} = ?" for name in ("claimed_at", "submitted_at", "generated_at", "stored_at"))
            ledger.execute(f"UPDATE jobs SET {columns} WHERE shot = ?", (*[at] * 4, shot))
            micros = round(datetime.fromisoformat(at).timestamp() * 1_000_000)
            books.execute("UPDATE entries SET at_us = ? WHERE job_id = ?", (micros, home.ids[shot]))
            books.execute("UPDATE jobs SET created_us = ?, ready_us = ? WHERE id = ?", (micros, micros, home.ids[shot]))
    return home


@pytest.fixture
def home(bought: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Home:
    shutil.copytree(bought.house.home, tmp_path / "home")
    monkeypatch.setenv("WAN_HOME", str(tmp_path / "home"))
    return Home(House(tmp_path / "home"), bought.ids, capsys)


def named(result: dict[str, Any]) -> list[tuple[str, str | None]]:
    return sorted((finding["kind"], finding["shot"]) for finding in result["findings"])


def test_errors_in_the_providers_own_books_are_named_and_stay_red_until_they_are_accepted(home: Home) -> None:
    assert home.reconcile()["verdict"] == "explained"
    missing, doubled, off = (home.ids[shot] for shot in ("bee", "cat", "dog"))
    with home.books() as books:
        books.execute("UPDATE entries SET nanos = nanos + 1 WHERE job_id = ?", (off,))
        books.execute(
            "INSERT INTO entries (job_id, provider, kind, nanos, at_us)"
            " SELECT job_id, provider, kind, nanos, at_us + 1 FROM entries WHERE job_id = ?",
            (doubled,),
        )
        columns = [row[1] for row in books.execute("PRAGMA table_info(jobs)")]
        others = ", ".join(name for name in columns if name not in ("number", "id"))
        books.execute(
            f"INSERT INTO jobs (number, id, {others}) SELECT number + 1000, 'foreign', {others} FROM jobs WHERE id = ?",
            (missing,),
        )
        books.execute(
            "INSERT INTO entries (job_id, provider, kind, nanos, at_us)"
            " SELECT 'foreign', provider, kind, nanos, at_us FROM entries WHERE job_id = ?",
            (missing,),
        )

    red = home.reconcile(status=1)

    assert named(red) == [("doubled", "cat"), ("missing here", None), ("of another amount", "dog")]
    assert red["books"][0]["balance"] == [
        {"what": "billed by the ledger", "usd": "0.30"},
        {"what": "missing here", "usd": "0.05"},
        {"what": "of another amount", "usd": "0.000000001"},
        {"what": "doubled there", "usd": "0.05"},
        {"what": "their books", "usd": "0.400000001"},
    ]
    told = home.house.run("reconcile", "--date", DAY)
    assert told.returncode == 1
    assert "foreign" in told.stdout
    assert "0.000000001 USD more there" in told.stdout
    key = next(each["key"] for each in red["findings"] if each["shot"] == "dog")
    one = home.reconcile("--accept", "a rounding", "--finding", key[:12], "--by", "Ada", status=1)
    assert named(one) == [("doubled", "cat"), ("missing here", None)]
    assert [(each["evidence"].startswith("accepted by Ada: a rounding")) for each in one["corrections"]] == [True]
    assert [each["who"] for each in one["explained_earlier"]] == ["Ada"]
    for _ in range(2):  # the second finds nothing to accept
        last = home.reconcile("--accept", "ticket 417", "--all", "--by", "Grace")
    assert {(each["standing"], each["who"]) for each in last["findings"]} == {("explained", "Grace")}
    assert len(last["corrections"]) == 1


def test_errors_in_an_invoice_are_named_and_nothing_else_is(home: Home) -> None:
    home.invoice("2026-03.csv", home.honest_rows())
    (home.house.home / "bucket/invoices/2026-03.csv").rename(home.house.home / "bucket/invoices/wavespeed-2026-03.csv")
    clean = home.reconcile()
    assert (clean["verdict"], len(clean["books"]), clean["findings"]) == ("explained", 2, [])

    _, cat, dog, elk, fox, gnu = home.honest_rows()
    off = (*dog[:2], "0.050000001", dog[3])
    next_day = (*gnu[:3], "2026-03-15T00:00:00Z")
    foreign = ("i-foreign\x1b[31m", "somebody-elses", PRICE, moment(0))
    home.invoice("wavespeed-2026-03.csv", [cat, cat, off, elk, fox, next_day, foreign])

    red = home.reconcile(status=1)

    assert named(red) == [
        ("doubled", "cat"),
        ("missing here", None),
        ("missing there", "bee"),
        ("of another amount", "dog"),
        ("on a wrong day", "gnu"),
    ]
    assert {each["books"] for each in red["findings"]} == {"invoices/wavespeed.mapping.yaml"}
    words = {each["shot"]: each["words"] for each in red["findings"]}
    assert "dated 2026-03-15 00:00:00 UTC" in words["gnu"]
    assert "23:59:59.999999 UTC" in words["gnu"]
    month = home.reconcile("--month", "2026-03", status=1)
    assert {each["key"] for each in month["findings"]} == {each["key"] for each in red["findings"]}
    told = home.run("--date", DAY, "--provider", "wavespeed", status=1)
    assert "i-foreign\\x1b[31m" in told  # a colour code is shown, not obeyed
    assert home.reconcile(date="2026-03-15")["findings"] == []


def test_a_corrupted_invoice_is_refused_whole_and_the_other_books_go_on(home: Home) -> None:
    home.invoice("wavespeed-2026-03.csv", [*home.honest_rows(), ("x", "y", "0,05", "yesterday"), ("z", "z", "1", "?")])
    result = home.reconcile(status=2)
    assert (result["verdict"], result["books"][0]["matched"]) == ("unreadable", len(SHOTS))
    (refused,) = result["refused_files"]
    assert [problem.split(": ")[1] for problem in refused["problems"]] == ["line 8", "line 9, column Created"]
    told = home.run("--date", DAY, "--provider", "wavespeed", status=2)
    assert "invoices/wavespeed-2026-03.csv is refused whole" in told
    assert "WaveSpeed /api/v3/billings/search" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--date", "2026-03-14", "--month", "2026-03"], "not both"),
        (["--date", "14.03.2026"], "write it as 2026-08-31"),
        (["--date", "2026-03"], "write it as 2026-08-31"),
        (["--month", "2026-13"], "write it as 2026-08"),
        (["--date", "2999-01-01"], "has not begun"),
        (["--date", "0001-01-01"], "write it as 2026-08-31"),
        (["--month", "0001-01"], "write it as 2026-08"),
        (["--finding", "abc"], "go with --accept"),
        (["--accept", "because"], "--finding KEY"),
        (["--accept", " ", "--all"], "wants a reason"),
        (["--accept", "so", "--all", "--dry-run"], "leave one of the two out"),
        (["--provider", "fal"], "is not one of"),
    ],
)
def test_wrong_use_says_what_to_write(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert run(["reconcile", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_accepting_a_finding_that_there_is_not_names_those_that_there_are(home: Home) -> None:
    home.invoice("wavespeed-2026-03.csv", home.honest_rows()[1:])
    (key,) = [each["key"][:12] for each in home.reconcile(status=1)["findings"]]
    told = home.run("--date", DAY, "--accept", "so", "--finding", "0123", status=2)
    assert f"Unexplained are: {key}" in told
