"""A price that is added holds from its day on: what was quoted, bought and reported before it stays as it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from wan_pipeline.generation.comparing import Offer, compare
from wan_pipeline.generation.events import Stage
from wan_pipeline.generation.foretelling import QuoteNotes, foretell
from wan_pipeline.generation.parts import EngineParts
from wan_pipeline.money import Money
from wan_pipeline.providers.base import PriceRecord
from wan_pipeline.providers.catalog import catalog
from wan_pipeline.providers.document import DocumentModel
from wan_pipeline.reports import cost_report
from wan_pipeline.reports.files import csv_file
from wan_pipeline.shots.discovery import discover
from wan_pipeline_tests.generation.house import House, png
from wan_pipeline_tests.providers.ordering import WAVESPEED

NOW = datetime.now(UTC)


def doubled(monkeypatch: pytest.MonkeyPatch, since: datetime) -> None:
    """From then on WaveSpeed costs twice as much, by the catalog."""
    model = catalog()[WAVESPEED]
    assert isinstance(model, DocumentModel)
    dearer = {kind: each * 2 for kind, each in model.price.prices[-1].usd_per_second.items()}
    prices = (*model.price.prices, PriceRecord(since, "a new document", dearer))
    monkeypatch.setitem(vars(model), "price", replace(model.price, prices=prices))


def quoted(house: House) -> dict[str, tuple[str, Money, str]]:
    notes = QuoteNotes()
    house.make(Stage.QUOTE, on_event=notes.note)
    with house.ledger() as ledger:
        quotes = foretell(notes, ledger, NOW, simulated=True)
    return {quote.shot: (quote.status, quote.high, quote.rule) for quote in quotes}


def offers(house: House) -> dict[str, Offer]:
    shot = discover(house.bucket, None)[0]
    with house.ledger() as ledger:
        parts = EngineParts(ledger, house.bucket, house.budgets, house._connect, house.faults, simulated=True)
        return {offer.model: offer for offer in compare(shot, parts, catalog().values()).offers}


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    house.put("inbox/_defaults.yaml", f"model: {WAVESPEED}\nprompt: It moves.\nduration: 5\n")
    house.put("inbox/cat.png", png())
    house.put("inbox/dog.png", png("red"))
    return house


def test_a_price_of_tomorrow_changes_nothing_that_is_said_today(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    before = quoted(house), offers(house)
    doubled(monkeypatch, NOW + timedelta(days=1))
    assert (quoted(house), offers(house)) == before


def test_a_price_of_today_changes_what_is_still_to_be_bought_and_no_report_of_what_was(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.make(keys=["cat"])
    with house.ledger() as ledger:
        report, jobs = csv_file(cost_report(ledger.engine, NOW.date())), ledger.jobs()
    doubled(monkeypatch, NOW - timedelta(minutes=1))
    after = quoted(house)
    assert after["dog"][1] == Money.usd("0.25")
    assert "a new document" in after["dog"][2]
    assert after["cat"][0] == "made already"
    assert offers(house)[WAVESPEED].high == Money.usd("0.25")
    with house.ledger() as ledger:
        assert csv_file(cost_report(ledger.engine, NOW.date())) == report
        assert ledger.jobs() == jobs
    assert b"0.25" not in report
