"""`run` and what waits: shots without room are put off, not failed; what the search has settled is made anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from wan_pipeline.generation.events import Verdict
from wan_pipeline.spend.records import JobState, Look
from wan_pipeline_tests.cli.house import PRICE_USD
from wan_pipeline_tests.cli.house import House as CommandLine
from wan_pipeline_tests.cli.seen import seen_by_a_run
from wan_pipeline_tests.generation.house import DEMO_KEY, House, is_purchase


def test_what_finds_no_room_is_put_off_with_its_until_is_no_failure_and_is_made_once_there_is_room(
    tmp_path: Path,
) -> None:
    house = CommandLine(tmp_path, {"WAN_DAILY_BUDGET_USD": "0.12"})
    house.put_shots(["cat", "dog", "owl"])
    told = house.data("run")
    assert sorted(shot["verdict"] for shot in told["shots"]) == ["deferred", "made", "made"]
    (put_off,) = [shot for shot in told["shots"] if shot["verdict"] == "deferred"]
    midnight = (datetime.now(UTC) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    assert put_off["deferred"] == {
        "limit": "WAN_DAILY_BUDGET_USD",
        "provider": "wavespeed",
        "needed_usd": PRICE_USD,
        "until": midnight.isoformat().replace("+00:00", "Z"),
    }
    assert put_off["billed_usd"] == "0.00"
    (finding,) = [each for each in house.data("doctor") if each["check"] == "deferred"]
    assert put_off["shot"] in finding["detail"]

    again = house.run("run")  # asked for again: it looks again, and says again until when
    assert again.returncode == 0, again.stderr
    assert f"{put_off['shot']}: deferred: WAN_DAILY_BUDGET_USD is 0.12 USD" in again.stdout
    assert f"made by themselves once there is room, from {midnight:%Y-%m-%d %H:%M} UTC on" in again.stdout

    house.variables = {}
    assert sorted(house.verdicts().values()) == ["made", "reused", "reused"]
    assert len(house.books.charges()) == 3
    assert not [each for each in house.data("doctor") if each["check"] == "deferred"]


def test_a_campaigns_budget_stops_its_own_shots_and_no_others(tmp_path: Path) -> None:
    house = CommandLine(tmp_path, {"WAN_CAMPAIGN_BUDGETS_USD": "spring=0.07"})
    house.put_shots(["a", "b", "other"])
    for name in ("a", "b"):
        house.put(f"{name}.yaml", "campaign: spring\n")
    quoted = house.run("quote")
    assert "WAN_CAMPAIGN_BUDGETS_USD (spring): 0.07 USD left: NOT ENOUGH for the 0.10 USD" in quoted.stdout
    told = {shot["shot"]: shot for shot in house.data("run")["shots"]}
    assert told["other"]["verdict"] == "made"
    assert sorted(told[name]["verdict"] for name in ("a", "b")) == ["deferred", "made"]
    (put_off,) = [shot["deferred"] for shot in told.values() if shot["deferred"]]
    assert (put_off["limit"], put_off["until"]) == ("WAN_CAMPAIGN_BUDGETS_USD (spring)", None)


@pytest.mark.parametrize("settled_by", ["the run", "recovery"])
def test_what_was_looked_for_and_is_nowhere_is_bought_anew_by_a_plain_run_once(tmp_path: Path, settled_by: str) -> None:
    house = House(tmp_path)
    house.keys["wavespeed"] = DEMO_KEY
    house.shots(1)
    seen_by_a_run(house)

    async def lost_before_it_arrives(
        request: httpx.Request, go_on: Callable[[], Awaitable[httpx.Response]]
    ) -> httpx.Response:
        if is_purchase(request):
            raise httpx.ReadError("reset")
        return await go_on()

    house.faults.fault = lost_before_it_arrives
    assert house.make()["shot000"].verdict is Verdict.AMBIGUOUS
    assert house.books.charges() == []
    with house.ledger() as ledger:
        (job,) = ledger.jobs()
        now = datetime.now(UTC)
        ledger.record_look(job.id, [Look("the list", "absent", "not there", now)], now + timedelta(hours=1))
    line = CommandLine(tmp_path)
    (known,) = line.data("run", status=1)["shots"]  # not due, and too early to count
    assert known["verdict"] == "ambiguous"
    assert "It is looked for again at" in known["reason"]
    assert f"{PRICE_USD} USD are held" in known["reason"]
    assert house.books.charges() == []

    with house.ledger() as ledger:
        if settled_by == "the run":
            ledger.record_look(job.id, [], datetime.now(UTC))
        else:
            ledger.resolve_absent(job.id, "nowhere, by the recovery sensor")
    line.variables = {"WAN_ABSENT_AFTER_SECONDS": "0"}
    assert line.verdicts() == {"shot000": "made"}
    assert line.verdicts() == {"shot000": "reused"}
    assert len(house.books.charges()) == 1
    with house.ledger() as ledger:
        states = {job.take: job.state for job in ledger.jobs()}
        assert states == {1: JobState.RELEASED, 2: JobState.STORED}
        assert ledger.verify() == []


def test_an_ambiguous_job_of_a_shot_that_was_deleted_is_looked_for_and_collected_by_a_run(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.shots(2)

    async def lose_the_answer(request: httpx.Request, go_on: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        response = await go_on()
        if request.method == "POST":  # the list of predictions too
            raise httpx.ReadError("reset")
        return response

    house.faults.fault = lose_the_answer
    assert {each.verdict for each in house.make().values()} == {Verdict.AMBIGUOUS}
    with house.ledger() as ledger:
        for job in ledger.jobs():
            ledger.record_look(job.id, [], datetime.now(UTC))
    (tmp_path / "bucket/inbox/shot000.png").unlink()
    done = CommandLine(tmp_path).run("run")
    assert "nothing makes its shot 'shot000' any more: it is looked for" in done.stderr
    with house.ledger() as ledger:
        assert {job.state for job in ledger.jobs()} == {JobState.STORED}
    assert len(house.books.charges()) == 2
