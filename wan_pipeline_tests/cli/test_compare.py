"""`compare` as a person and a program read it. What the offers are is the matter of generation/test_comparing.py."""

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
    house.put_shots(["cat"])
    house.put("cat.yaml", "duration: 5\nresolution: 1080p\n")
    return house


def test_the_cheapest_comes_first_and_each_that_cannot_says_why(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", "--shot", "cat"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[2] == "wavespeed/wan-2.6-i2v-flash 5 1080p no 0.1875 0.1875 0.0375 the shot's own"
    assert lines[3] == "shortapi/wan-2.7-i2v 5 1080p 0.425 0.425 0.085"
    assert "4 of 5 models can make cat (simulated). Nothing is bought." in lines
    assert any(line.startswith("shortapi/wan-2.6-r2v cannot: inbox/cat.yaml: inputs.videos:") for line in lines)
    assert run(["compare", "--shot", "cat", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    first, last = said["offers"][0], said["offers"][-1]
    assert (first["quoted_usd"], first["usd_per_second"], first["provider_usd"]) == ("0.1875", "0.0375", "0.1875")
    assert (last["possible"], last["quoted_usd"]) == (False, None)
    assert last["reasons"]
    assert house.books.posts() == {}


def test_a_wrong_key_and_a_shot_that_no_model_can_make_are_told(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", "--shot", "cta"]) == 2
    assert "nearly so: cat" in capsys.readouterr().err
    house.put("cat.yaml", "duration: 99\n")
    assert run(["compare", "--shot", "cat"]) == 1
    assert "0 of 5 models can make cat" in capsys.readouterr().out
