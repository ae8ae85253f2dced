"""An ambiguous job has a way out, by a person's word, and none of the three ways loses money from sight."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from wan_pipeline.generation.events import Verdict
from wan_pipeline.money import Money
from wan_pipeline_tests.cli.house import House as CommandLine
from wan_pipeline_tests.cli.seen import seen_by_a_run
from wan_pipeline_tests.generation.house import House


@pytest.fixture
def lost(tmp_path: Path) -> tuple[House, CommandLine, str, str]:
    """A demo home in which one answer was lost: the ledger's job is ambiguous, the provider has taken and charged it."""
    house = House(tmp_path)
    house.shots(1)
    seen_by_a_run(house)

    async def lose_the_answer(request: httpx.Request, go_on: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        response = await go_on()
        if request.method == "POST":
            raise httpx.ReadError("reset")
        return response

    house.faults.fault = lose_the_answer
    assert house.make()["shot000"].verdict is Verdict.AMBIGUOUS
    (job,) = house.ledger().jobs()
    (charge,) = house.books.charges()
    look_at(house, job.id, datetime.now(UTC) + timedelta(hours=1))  # not by itself while this test goes on
    return house, CommandLine(tmp_path), job.id, charge.job_id


def look_at(house: House, job_id: str, moment: datetime) -> None:
    with house.ledger() as ledger:
        ledger.record_look(job_id, [], moment)


def test_what_is_due_is_looked_for_by_a_plain_run_found_and_never_bought_again(
    lost: tuple[House, CommandLine, str, str],
) -> None:
    house, line, job_id, provider_job_id = lost
    look_at(house, job_id, datetime.now(UTC))
    done = line.run("run")
    assert done.returncode == 0, done.stderr
    assert f"found as {provider_job_id} and goes on; it is not bought again" in done.stderr
    (job,) = line.jobs()
    assert (job["id"], job["provider_job_id"], job["state"]) == (job_id, provider_job_id, "stored")
    assert job["looks"][-1]["verdict"]
    assert len(house.books.charges()) == 1


@pytest.mark.parametrize("decision", ["--not-charged", "--write-off"])
def test_with_an_allowed_duplicate_the_next_run_buys_anew_within_what_was_allowed_and_not_above_it(
    lost: tuple[House, CommandLine, str, str], decision: str
) -> None:
    house, line, job_id, _ = lost
    done = line.run("resolve", job_id, decision, "--allow-duplicate-up-to", "0.05", "--note", "a deadline")
    assert done.returncode == 0, done.stderr
    assert "buys it anew where that is quoted at most 0.05 USD" in done.stderr
    (job,) = line.jobs()
    assert job["duplicate_allowed_usd"] == "0.05"
    with house.ledger() as ledger:
        ledger.engine.dispose()
        said = str(ledger.job(job_id).error)
    assert "a deadline" in said
    assert "at most 0.05 USD" in said
    assert line.verdicts() == {"shot000": "made"}
    assert line.verdicts() == {"shot000": "reused"}
    new, old = line.jobs()
    assert (old["id"], new["take"], new["state"]) == (job_id, 2, "stored")
    assert len(house.books.charges()) == 2
    assert house.ledger().verify() == []


def test_an_allowed_duplicate_below_the_quote_buys_nothing_and_says_so(
    lost: tuple[House, CommandLine, str, str],
) -> None:
    house, line, job_id, _ = lost
    done = line.run("resolve", job_id, "--not-charged", "--allow-duplicate-up-to", "0.01")
    assert done.returncode == 0
    assert "0.05 USD, more than the 0.01 USD allowed" in done.stderr
    assert line.verdicts(status=1) == {"shot000": "failed"}
    assert len(house.books.charges()) == 1


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


WRONG_WORDS = [
    (["nothing"], ["--found"]),
    (["nothing", "--not-charged"], ["nothing"]),
    (["JOB", "--not-charged", "--write-off"], ["one of"]),
    (["JOB", "--found", " "], ["--found"]),
    (["JOB", "--found", "x", "--allow-duplicate-up-to", "1"], ["--allow-duplicate-up-to", "--not-charged"]),
    (["JOB", "--allow-duplicate-up-to", "1"], ["one of"]),
    (["JOB", "--not-charged", "--allow-duplicate-up-to", "much"], ["much", "not an amount"]),
    (["JOB", "--not-charged", "--allow-duplicate-up-to", "0"], ["allow nothing"]),
    (["JOB", "--write-off", "--allow-duplicate-up-to", "-1"], ["allow nothing"]),
    (["JOB", "--write-off", "--allow-duplicate-up-to", "nan"], ["nan"]),
    (["JOB", "--write-off", "--allow-duplicate-up-to", "1e20"], ["dearer than any video"]),
]


def test_a_wrong_word_changes_nothing(lost: tuple[House, CommandLine, str, str]) -> None:
    _, line, job_id, _ = lost
    before = line.jobs()
    for arguments, words in WRONG_WORDS:
        done = line.run("resolve", *(job_id if word == "JOB" else word for word in arguments))
        assert done.returncode == 2, (arguments, done.stdout)
        assert all(word in done.stderr for word in words), done.stderr
        assert "Traceback" not in done.stderr
    other_mode = line.run("resolve", job_id, "--not-charged", WAN_MODE="live")
    assert other_mode.returncode == 2
    assert "set WAN_MODE=demo" in other_mode.stderr
    assert line.jobs() == before
    line.run("resolve", job_id, "--not-charged")
    again = line.run("resolve", job_id, "--write-off")
    assert again.returncode == 2
    assert "released, not ambiguous" in again.stderr
