"""`alerts` lists what stands and whom it was told; doctor says whether anybody is told at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from wan_pipeline.spend.ledger import Ledger
from wan_pipeline_tests.cli.at_once import at_once, data_at_once
from wan_pipeline_tests.cli.house import House
from wan_pipeline_tests.services.webhook import SECRET
from wan_pipeline_tests.spend.samples import bought, request_for

LONG_AGO = datetime.now(UTC) - timedelta(days=2)


@pytest.fixture
def house(tmp_path: Path) -> House:
    """With a simulated job that is in doubt for two days."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite") as ledger:
        purchase = bought(ledger, request_for("cat", "a cat", simulated=True), now=LONG_AGO)
        ledger.mark_ambiguous(purchase.job.id, purchase.attempt_id, "read timeout", now=LONG_AGO)
    return House(tmp_path)


def test_what_stands_is_looked_for_and_listed_with_whether_the_webhook_was_told(house: House) -> None:
    (alert,) = data_at_once(house, "alerts")
    assert (alert["kind"], alert["simulated"], alert["stands"], alert["sent_at"]) == (
        "ambiguous_money",
        True,
        True,
        None,
    )
    assert alert["message"].startswith("0.20 simulated USD are in doubt since ")

    done = at_once(house, "alerts", WAN_ALERT_WEBHOOK_URL=f"http://127.0.0.1:1/{SECRET}")

    first, second = done.out.splitlines()
    assert first == f"ambiguous_money: {alert['message']}"
    assert second.endswith(
        "; not sent yet: the alert sensor sends it, under `wan-pipeline dev` or a daemon of your own"
    )
    assert not any(part in done.out + done.err for part in SECRET.split("/"))


def test_what_is_over_is_listed_only_where_it_is_asked_for(house: House) -> None:
    (alert,) = data_at_once(house, "alerts")
    at_once(house, "resolve", alert["subject"], "--not-charged", "--note", "asked them")
    done = at_once(house, "alerts")
    assert (done.out, done.err) == ("", "there is no cause for an alert (simulated money)\n")
    (over,) = data_at_once(house, "alerts", "--all")
    assert (over["subject"], over["stands"]) == (alert["subject"], False)


def test_simulated_alerts_are_not_those_of_live_mode(house: House) -> None:
    house.variables |= {"WAN_MODE": "live"}
    assert data_at_once(house, "alerts", "--all") == []


def test_doctor_says_whether_anybody_is_told(house: House) -> None:
    def found(**variables: str) -> dict[str, dict[str, str]]:
        house.variables = variables
        status = 2 if variables.get("WAN_MODE") == "live" else 0
        return {each["check"]: each for each in data_at_once(house, "doctor", status=status)}

    data_at_once(house, "alerts")
    demo = found()
    assert demo["WAN_ALERT_WEBHOOK_URL"]["status"] == "ok"
    assert demo["alerts"]["detail"] == "1 stands (simulated money)"
    assert found(WAN_MODE="live")["WAN_ALERT_WEBHOOK_URL"]["status"] == "note"
    set_up = found(WAN_ALERT_WEBHOOK_URL=f"https://hooks.invalid/{SECRET}")["WAN_ALERT_WEBHOOK_URL"]
    assert (set_up["status"], set_up["detail"]) == (
        "ok",
        "is set: each alert is posted once, by Dagster's alert sensor",
    )
    with Ledger.open(f"sqlite:///{house.home}/ledger.sqlite") as ledger:
        (alert,) = ledger.alerts.open(simulated=True)
        ledger.alerts.mark_unsent([alert.id], "HTTP 404", ledger.now())
    failing = found(WAN_ALERT_WEBHOOK_URL=f"https://hooks.invalid/{SECRET}")["WAN_ALERT_WEBHOOK_URL"]
    assert "1 alert the webhook has not taken, the latest after 0 tries: HTTP 404" in failing["detail"]


def test_a_wrong_webhook_is_told_without_its_url(house: House) -> None:
    done = at_once(house, "alerts", WAN_ALERT_WEBHOOK_URL=f"hooks.invalid/{SECRET}")
    assert done.status == 2
    assert "WAN_ALERT_WEBHOOK_URL: write a URL that begins with http:// or https://" in done.err
    assert not any(part in done.err for part in SECRET.split("/"))
