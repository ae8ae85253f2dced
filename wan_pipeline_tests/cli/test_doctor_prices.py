"""`doctor` on drift: short notes with a remedy where the catalog is not what a provider says, bills or takes; else quiet."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from wan_pipeline.cli.app import run
from wan_pipeline.money import Money
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import JobState
from wan_pipeline_tests.providers.test_schema_drift import SCHEMA, listed
from wan_pipeline_tests.spend.samples import bought, finish, request_for

FLASH = "wavespeed/wan-2.6-i2v-flash"
USD = Money.usd


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WAN_HOME", str(tmp_path))
    return tmp_path


def found(capsys: pytest.CaptureFixture[str], *checks: str) -> list[dict[str, str]]:
    assert run(["doctor", "--json"]) == 0
    return [each for each in json.loads(capsys.readouterr().out) if each["check"] in checks]


def bill(home: Path, *amounts: str, simulated: bool = True) -> None:
    """Stored jobs of 5 s at 720p, quoted at the catalog's price, that their provider has billed so."""
    with Ledger.open(f"sqlite:///{home / 'ledger.sqlite'}") as ledger:
        for number, amount in enumerate(amounts):
            price = {"quoted_low": USD("0.125"), "quoted_high": USD("0.125")}
            purchase = bought(ledger, request_for(f"s{number}", f"s{number}", simulated=simulated, **price))
            job = ledger.mark_accepted(purchase.job.id, purchase.attempt_id, f"p{number}", USD(amount))
            finish(ledger, job, JobState.STORED)


def test_a_ledger_whose_bills_are_the_catalogs_prices_has_no_drift(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert found(capsys, "prices", "parameters") == []
    bill(home, "0.125", "0.125", "0.125")
    (fine,) = found(capsys, "prices", "parameters")
    assert (fine["status"], fine["detail"]) == ("ok", "the latest 3 bills are as the catalog's prices have it")


def test_bills_at_another_rate_are_noted_with_the_price_to_write_down(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bill(home, "0.15", "0.15", "0.15")
    (drift,) = found(capsys, "prices")
    assert drift["status"] == "note"
    assert drift["detail"].startswith(
        f"{FLASH}: 720p silent: the last 3 bills are at 0.03 USD/s, the catalog says 0.025"
    )
    assert "wan_pipeline/providers/wavespeed_wan26_flash.py" in drift["remedy"]
    assert "more is billed than the budgets hold" in drift["remedy"]


def test_live_bills_are_no_demo_modes_matter(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bill(home, "0.15", "0.15", "0.15", simulated=False)
    assert found(capsys, "prices") == []


def test_a_setting_that_was_refused_by_name_is_noted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Ledger.open(f"sqlite:///{home / 'ledger.sqlite'}") as ledger:
        purchase = bought(ledger, request_for(simulated=True))
        said = "wavespeed answered HTTP 400: shot_type: must be one of solo"
        ledger.mark_rejected(purchase.job.id, purchase.attempt_id, said)
    (drift,) = found(capsys, "parameters")
    assert f"{FLASH}: a submission was refused over shot_type" in drift["detail"]
    assert said in drift["detail"]
    assert "compare the provider's present document" in drift["remedy"]


@contextmanager
def price_endpoint(factor: float, status: int = 200) -> Generator[str]:
    """Names the documented prices, times this, lists the model with its documented parameters, and takes no order."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/api/v3/models"
            body = json.dumps(listed(SCHEMA)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            asked: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            inputs = asked["inputs"]
            price = 0.025 * inputs["duration"] * factor
            price *= (1.5 if inputs["resolution"] == "1080p" else 1) * (2 if inputs["enable_audio"] else 1)
            data = {"model_id": asked["model_id"], "price": price, "discounted_price": price, "currency": "USD"}
            body = json.dumps({"code": status, "message": "no", "data": data}).encode()
            assert self.path == "/api/v3/model/price"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

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


def test_in_live_mode_the_price_endpoint_is_held_against_the_catalog(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "bucket" / "inbox").mkdir(parents=True)
    for name, value in {"WAN_MODE": "live", "WAVESPEED_API_KEY": "sk-hush", "WAN_PUBLIC_BASE_URL": "http://h"}.items():
        monkeypatch.setenv(name, value)
    with price_endpoint(1) as url:
        monkeypatch.setenv("WAVESPEED_BASE_URL", url)
        fine, parameters = found(capsys, "prices", "parameters")
        assert parameters["detail"] == f"{FLASH}: its provider publishes the parameters that are sent"
        assert fine["detail"] == f"{FLASH}: its provider names the catalog's prices, 4 asked"
    with price_endpoint(1.2) as url:
        monkeypatch.setenv("WAVESPEED_BASE_URL", url)
        (drift,) = found(capsys, "prices")
        assert drift["status"] == "note"
        assert "5 s 1080p with sound: 0.45 USD, the catalog 0.375 USD" in drift["detail"]
    monkeypatch.setitem(SCHEMA["properties"], "duration", {"minimum": 2, "maximum": 10})
    with price_endpoint(1) as url:
        monkeypatch.setenv("WAVESPEED_BASE_URL", url)
        (drift,) = found(capsys, "parameters")
        assert "duration is not taken above 10, the document says 15" in drift["detail"]
        assert "wan_pipeline/providers/wavespeed_wan26_flash.py" in drift["remedy"]
    with price_endpoint(1, status=403) as url:
        monkeypatch.setenv("WAVESPEED_BASE_URL", url)
        (unasked,) = found(capsys, "prices")
        assert unasked["detail"].startswith("WaveSpeed could not be asked for its prices: wavespeed answered HTTP 403")
        assert "hush" not in str(unasked)
