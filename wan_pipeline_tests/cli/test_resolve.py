"""An ambiguous job has a way out, by a person's word, and none of the three ways loses money from sight."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from wan_pipeline.generation.events import Verdict
from wan_pipeline.money import Money
from wan_pipeline_tests.cli.house import House as CommandLine
from wan_pipeline_tests.generation.house import House


@pytest.fixture
def lost(tmp_path: Path) -> tuple[House, CommandLine, str, str]:
    """A demo home in which one answer was lost: the ledger's job is ambiguous, the provider has taken and charged it."""
    house = House(tmp_path)
    house.shots(1)

    async def lose_the_answer(request: httpx.Request, go_on: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        response = await go_on()
        if request.method == "POST":
            raise httpx.ReadError("reset")
        return response

    house.faults.fault = lose_the_answer
    assert house.make()["shot000"].verdict is Verdict.AMBIGUOUS
    (job,) = house.ledger().jobs()
    (charge,) = house.books.charges()
    return house, CommandLine(tmp_path), job.id, charge.job_id


def test_found_it_is_collected_as_the_job_that_it_was_and_charged_once(
    lost: tuple[House, CommandLine, str, str],
) -> None:
    house, line, job_id, provider_job_id = lost
    assert line.verdicts(status=1) == {"shot000": "ambiguous"}
    wrong = line.run("resolve", job_id, "--found", "not-an-id-of-theirs")
    assert wrong.returncode == 2
    assert "does not know it" in wrong.stderr
    done = line.run("resolve", job_id, "--found", provider_job_id, "--note", "seen in the account", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "submitted"
    assert line.verdicts() == {"shot000": "made"}
    (job,) = line.jobs()
    assert (job["id"], job["provider_job_id"], job["state"]) == (job_id, provider_job_id, "stored")
    assert len(house.books.charges()) == 1
    assert Money.usd(job["billed_usd"]).nanos == house.books.total_nanos()
    assert "seen in the account" in str(house.ledger().attempts(job_id))
    assert house.ledger().verify() == []


def test_not_charged_gives_the_hold_back_and_the_shot_is_bought_again_only_by_name(
    lost: tuple[House, CommandLine, str, str],
) -> None:
    house, line, job_id, _ = lost
    assert line.run("resolve", job_id, "--not-charged").returncode == 0
    (job,) = line.jobs()
    assert (job["state"], job["held_usd"], job["billed_usd"]) == ("released", "0.00", None)
    posts = len(house.books.charges())
    assert line.verdicts(status=1) == {"shot000": "failed"}
    assert len(house.books.charges()) == posts
    assert line.verdicts("--shot", "shot000") == {"shot000": "made"}
    assert house.ledger().verify() == []


def test_written_off_it_counts_as_spent_and_only_a_new_take_buys_again(
    lost: tuple[House, CommandLine, str, str],
) -> None:
    house, line, job_id, _ = lost
    done = line.run("resolve", job_id, "--write-off", "--note", "no answer from support")
    assert done.returncode == 0
    assert "0.05 USD count as spent" in done.stdout + done.stderr
    (job,) = line.jobs()
    assert (job["state"], job["held_usd"], job["billed_usd"], job["basis"]) == ("written_off", "0.00", "0.05", "quoted")
    assert line.verdicts("--shot", "shot000", status=1) == {"shot000": "failed"}
    assert line.verdicts("--new-take", "--shot", "shot000") == {"shot000": "made"}
    assert any("no answer from support" in entry.note for entry in house.ledger().entries(job_id))
    assert house.ledger().verify() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], ["--found"]),
        (["nothing", "--not-charged"], ["nothing"]),
        (["JOB", "--not-charged", "--write-off"], ["one of"]),
        (["JOB", "--found", " "], ["--found"]),
    ],
)
def test_a_wrong_word_changes_nothing(
    lost: tuple[House, CommandLine, str, str], arguments: list[str], words: list[str]
) -> None:
    _, line, job_id, _ = lost
    before = line.jobs()
    done = line.run("resolve", *(job_id if word == "JOB" else word for word in arguments))
    assert done.returncode == 2, done.stdout
    assert all(word in done.stderr for word in words), done.stderr
    assert line.jobs() == before
    line.run("resolve", job_id, "--not-charged")
    again = line.run("resolve", job_id, "--write-off")
    assert again.returncode == 2
    assert "released, not ambiguous" in again.stderr
