"""`doctor` on money: every budget as it stands, what is in doubt, wasted, left behind, and put off; and on callbacks."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from pydantic import SecretStr

from wan_pipeline.money import Money
from wan_pipeline.providers.account import account_of
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Deferral, JobState
from wan_pipeline_tests.cli.house import House
from wan_pipeline_tests.spend.samples import PRICE, bought, job_in, request_for


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def ledger_of(house: House) -> Ledger:
    return Ledger.open(f"sqlite:///{house.home / 'ledger.sqlite'}")


def found(house: House, status: int = 0) -> dict[str, str]:
    """Status and words by check; of several with one name, the last."""
    findings = house.data("doctor", status=status)
    return {each["check"]: f"{each['status']}: {each['detail']} {each['remedy']}" for each in findings}


@pytest.mark.parametrize("url", ["nonsense", "postgresql://user:hidden@127.0.0.1:1/wan"])
def test_a_storage_of_dagsters_that_cannot_be_used_is_a_problem_told_without_its_password(
    house: House, url: str
) -> None:
    house.variables = {"WAN_DAGSTER_STORAGE_URL": url}
    said = found(house, status=2)["Dagster"]
    assert said.startswith("problem: WAN_DAGSTER_STORAGE_URL")
    assert "hidden" not in said


def test_every_budget_shows_allowed_held_billed_and_left_and_a_full_one_what_to_do(house: House) -> None:
    with ledger_of(house) as ledger:
        spring = request_for("cat", "a cat", simulated=True, campaign="spring")
        job_in(ledger, JobState.STORED, spring)
        job_in(ledger, JobState.SUBMITTED, request_for("dog", "a dog", simulated=True, provider="shortapi"))
        job_in(ledger, JobState.STORED, request_for("owl", "an owl", simulated=False, campaign="spring"))
    house.variables = {
        "WAN_CAMPAIGN_BUDGETS_USD": "spring=0.20,summer=3",
        "WAN_SHORTAPI_MONTHLY_BUDGET_USD": "0.30",
    }
    said = found(house)
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
    assert (
        f"ok: 25.00 simulated USD: 0.20 billed, 0.20 held, 24.60 left until {tomorrow}" in said["WAN_DAILY_BUDGET_USD"]
    )
    assert "250.00 simulated USD: 0.20 billed, 0.20 held" in said["WAN_MONTHLY_BUDGET_USD"]
    spring_line = said["WAN_CAMPAIGN_BUDGETS_USD (spring)"]
    assert spring_line.startswith("note: 0.20 simulated USD: 0.20 billed, 0.00 held, 0.00 left")
    assert "raise it" in spring_line
    assert "3.00 left" in said["WAN_CAMPAIGN_BUDGETS_USD (summer)"]
    assert "0.30 simulated USD: 0.00 billed, 0.20 held, 0.10 left" in said["WAN_SHORTAPI_MONTHLY_BUDGET_USD"]
    assert "WAN_AIMLAPI_MONTHLY_BUDGET_USD" not in said
    assert said["WAN_SHOT_BUDGET_USD"].startswith("ok: 5.00")


def test_money_in_doubt_wasted_left_behind_and_put_off_is_told_and_live_money_is_not_among_it(house: House) -> None:
    now = datetime.now(UTC)

    def deferral(shot: str, limit: str, minutes: int) -> Deferral:
        since = now - timedelta(minutes=minutes)
        until = None if limit == "WAN_SHOT_BUDGET_USD" else now + timedelta(hours=minutes)
        return Deferral(shot, True, limit, "no room", Money.usd("0.05"), "aimlapi", None, since, until, 1)

    with ledger_of(house) as ledger:
        for simulated in (True, False):
            job_in(ledger, JobState.AMBIGUOUS, request_for("cat", "a cat", simulated=simulated))
            job_in(ledger, JobState.FAILED, request_for("dog", "a dog", simulated=simulated), billed=PRICE)
            job_in(ledger, JobState.LOST, request_for("elk", "an elk", simulated=simulated))
            job_in(ledger, JobState.SUBMITTED, request_for("owl", "an owl", simulated=simulated))
        waiting = [deferral("late", "WAN_DAILY_BUDGET_USD", 5), deferral("first", "WAN_DAILY_BUDGET_USD", 9)]
        ledger.deferrals.defer([*waiting, deferral("far", "", 1), deferral("never", "WAN_SHOT_BUDGET_USD", 0)])
    findings = house.data("doctor")
    said = {each["check"]: each["detail"] for each in findings}
    assert said["ambiguous"].startswith("1 job of which nobody knows")
    assert f"{PRICE} simulated USD held" in said["ambiguous"]
    assert f"{PRICE + PRICE} simulated USD" in said["wasted"]
    assert f"{PRICE} failed, {PRICE} lost" in said["wasted"]
    assert said["in flight"].startswith("1 job is in flight of processes that are gone")
    deferred = [each["detail"] for each in findings if each["check"] == "deferred"]
    assert len(deferred) == 3
    assert deferred[0].startswith("2 shots wait for WAN_DAILY_BUDGET_USD, not before")
    assert "0.10 USD needed; the oldest, first, since" in deferred[0]
    assert deferred[1].startswith("1 shot waits for aimlapi (out of reach)")
    remedies = [each["remedy"].partition(",")[0] for each in findings if each["check"] == "deferred"]
    assert remedies == ["made once there is room"] * 2 + ["raise it; then they are made"]


def test_a_quiet_ledger_tells_of_none_of_that(house: House) -> None:
    assert not found(house).keys() & {"ambiguous", "wasted", "in flight", "deferred", "callbacks"}


@contextmanager
def answering(status: int) -> Generator[str]:
    """A server that answers every POST so."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return None

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_in_live_mode_callbacks_to_shortapi_are_looked_after(house: House) -> None:
    house.put("_defaults.yaml", "model: shortapi/wan-2.6-i2v\n")
    house.variables = {"WAN_MODE": "live", "SHORTAPI_KEY": "k", "WAN_PUBLIC_BASE_URL": "http://127.0.0.1:9"}
    without = found(house)["callbacks"]
    assert without.startswith("note: WAN_PUBLIC_CALLBACK_URL is not set")
    assert "wan-pipeline receiver" in without
    with answering(404) as url:
        house.variables["WAN_PUBLIC_CALLBACK_URL"] = url
        assert found(house)["callbacks"].startswith(f"ok: a receiver answers at {url}")
    gone = found(house, status=2)["callbacks"]
    assert gone.startswith("problem")
    assert "cannot be reached from here" in gone
    with answering(200) as url:
        house.variables["WAN_PUBLIC_CALLBACK_URL"] = url
        assert "answers 200 where a receiver answers 404" in found(house, status=2)["callbacks"]


def test_a_settle_window_shorter_than_a_generation_is_noted_in_live_mode(house: House) -> None:
    house.variables = {"WAN_MODE": "live", "WAVESPEED_API_KEY": "k", "WAN_ABSENT_AFTER_SECONDS": "60"}
    assert "paid for twice" in found(house)["WAN_ABSENT_AFTER_SECONDS"]
    house.variables["WAN_MODE"] = "demo"
    assert "WAN_ABSENT_AFTER_SECONDS" not in found(house)


def test_jobs_that_were_sent_with_another_key_than_the_one_set_are_noted_and_no_key_is_shown(house: House) -> None:
    old, new = "sk-of-the-old-account", "sk-of-the-new-account"
    sent_with = account_of(SecretStr(old))
    with ledger_of(house) as ledger:
        for shot, provider in (("cat", "wavespeed"), ("dog", "wavespeed"), ("elk", "aimlapi")):
            request = request_for(shot, shot, provider=provider)
            purchase = bought(ledger, request, account=sent_with)
            ledger.mark_ambiguous(purchase.job.id, purchase.attempt_id, "read timeout")
        job_in(ledger, JobState.SUBMITTED, request_for("owl", "an owl"))  # of which nobody knows the key
    house.variables = {"WAN_MODE": "live", "WAVESPEED_API_KEY": new, "WAN_PUBLIC_BASE_URL": "http://127.0.0.1:9"}
    said = found(house)
    assert said["WAVESPEED_API_KEY"].startswith(
        "note: 2 jobs in flight or ambiguous at WaveSpeed, sent with another key"
    )
    assert sent_with in said["WAVESPEED_API_KEY"]
    assert account_of(SecretStr(new)) in said["WAVESPEED_API_KEY"]
    assert "set that key again" in said["WAVESPEED_API_KEY"]
    assert said["AIMLAPI_KEY"].startswith("note: 1 job in flight or ambiguous at AI/ML API")
    assert "none is set now" in said["AIMLAPI_KEY"]
    assert not any(key in str(said) for key in (old, new))
    house.variables |= {"WAVESPEED_API_KEY": old, "AIMLAPI_KEY": old}
    assert not found(house).keys() & {"WAVESPEED_API_KEY", "AIMLAPI_KEY"}
