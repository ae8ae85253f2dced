"""`quote` as a person and a program read it. What the figures are is the matter of generation/test_quotation.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wan_pipeline.cli.app import run
from wan_pipeline_tests.cli.house import House


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """The command runs in this process, over this home."""
    house = House(tmp_path)
    for name, value in house.environment.items():
        monkeypatch.setenv(name, value)
    house.put_shots(["spring/cat", "spring/dog", "owl"])
    house.put("spring/_defaults.yaml", "campaign: spring\n")
    house.put("owl.yaml", "model: aimlapi/wan-2.6-i2v\nduration: 15\nresolution: 1080p\n")
    return house


def test_the_sums_the_budgets_the_provider_and_the_days_are_each_a_line(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WAN_DAILY_BUDGET_USD", "0.06")
    assert run(["quote", "--all"]) == 0
    said = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert "3 of 3 shots to be bought: 2.4625 to 3.17125 USD (simulated). Nothing is bought." in lines
    assert "wavespeed/wan-2.6-i2v-flash 2 0.10 0.10" in lines
    assert "spring 2 0.10 0.10" in lines
    assert "(no campaign) 1 2.3625 3.07125" in lines
    assert "WAN_DAILY_BUDGET_USD: 0.06 USD left: NOT ENOUGH for the 3.17125 USD that may be needed" in lines
    assert "WAN_MONTHLY_BUDGET_USD: 250.00 USD left, 3.17125 USD may be needed" in lines
    assert "by their provider's own word 2 shots cost 0.10 USD: as the catalog says" in lines
    (how_long,) = [line for line in lines if line.startswith("how long: ")]
    assert how_long.startswith(
        "how long: never: 1 shot is beyond WAN_DAILY_BUDGET_USD for good, e.g. owl; the others: 2 days"
    )
    assert any(
        line.startswith("owl (3.07125 USD) never fits: it may cost 3.07125 USD, 0.06 USD is all") for line in lines
    )
    assert any(
        line.startswith("spring/dog (0.05 USD) does not fit now: it waits for WAN_DAILY_BUDGET") for line in lines
    )
    assert house.books.posts() == {}


def test_a_program_gets_the_same_as_json(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["quote", "--json", "--shot", "owl", "--shot", "spring/cat"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["by_campaign"] == [
        {"campaign": None, "shots": 1, "to_pay_low_usd": "2.3625", "to_pay_usd": "3.07125"},
        {"campaign": "spring", "shots": 1, "to_pay_low_usd": "0.05", "to_pay_usd": "0.05"},
    ]
    assert [each["model"] for each in said["by_model"]] == ["aimlapi/wan-2.6-i2v", "wavespeed/wan-2.6-i2v-flash"]
    assert said["backlog"]["days"] == 1
    assert said["backlog"]["never"] == []
    assert said["provider_prices"]["told_usd"] == "0.05"
    owl, cat = said["shots"]
    assert (owl["provider_usd"], cat["provider_usd"], cat["catalog_usd"]) == (None, "0.05", "0.05")
    assert (owl["fits_now"], owl["campaign"], cat["campaign"]) == (True, None, "spring")
    assert {each["budget"]: each["enough"] for each in said["budgets"]} == {
        "WAN_DAILY_BUDGET_USD": True,
        "WAN_MONTHLY_BUDGET_USD": True,
    }


def test_all_and_some_contradict_each_other(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["quote", "--all", "--shot", "owl"]) == 2
    assert "leave one of them out" in capsys.readouterr().err


def test_an_empty_bucket_says_where_images_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WAN_HOME", str(tmp_path / "new"))
    assert run(["quote"]) == 0
    assert "put images into inbox/" in capsys.readouterr().err
    assert run(["quote", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["shots"] == []
    assert said["backlog"]["explanation"] == "nothing is to be bought"
