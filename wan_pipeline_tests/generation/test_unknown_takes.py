"""A ledger that does not know what lies in the bucket (lost, restored from an old backup, the wrong one) buys nothing over
it: the paid video and its manifest stay, and the ledger can be rebuilt from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from wan_pipeline.generation.events import Verdict
from wan_pipeline.generation.rebuilding import rebuild
from wan_pipeline_tests.generation.house import House


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Two shots, made and stored; then the ledger is lost."""
    house = House(tmp_path)
    house.shots(2)
    assert {each.verdict for each in house.make().values()} == {Verdict.MADE}
    for path in tmp_path.glob("ledger.sqlite*"):
        path.unlink()
    return house


def manifest_of(house: House, shot: str = "shot000") -> Path:
    return house.folder / f"bucket/videos/{shot}/take-1.json"


def paid(house: House, shot: str = "shot000") -> None:
    """As if live mode had made it."""
    path = manifest_of(house, shot)
    text = json.loads(path.read_text())
    text["simulated"] = text["job"]["simulated"] = False
    path.write_text(json.dumps(text))


def torn(house: House) -> None:
    manifest_of(house).write_text('{"manifest_version": 2, "job"')


def no_manifest(house: House) -> None:
    manifest_of(house).unlink()


def no_video(house: House) -> None:
    paid(house)
    manifest_of(house).with_suffix(".mp4").unlink()


@pytest.mark.parametrize("what", [paid, torn, no_manifest, no_video])
def test_what_may_be_paid_for_is_neither_bought_again_nor_written_over(
    house: House, what: Callable[[House], None]
) -> None:
    what(house)
    folder = manifest_of(house).parent
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    results = house.make(retry_failed=True)
    refused = results["shot000"]
    assert refused.verdict is Verdict.FAILED
    assert "--rebuild-ledger" in refused.reason
    assert house.make(new_take=True, keys=["shot000"])["shot000"].verdict is Verdict.FAILED
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert results["shot001"].verdict is Verdict.MADE, "a simulated video has cost nothing"
    assert len(house.books.charges()) == 3


def test_once_the_ledger_is_rebuilt_the_shot_may_have_new_takes(house: House) -> None:
    paid(house)
    assert house.make(keys=["shot000"])["shot000"].verdict is Verdict.FAILED
    with house.ledger() as ledger:
        rebuild(ledger, house.bucket)
    assert house.make(new_take=True, keys=["shot000"])["shot000"].verdict is Verdict.MADE
    assert (house.folder / "bucket/videos/shot000/take-2.mp4").exists()


def test_a_shot_whose_name_is_a_folder_beside_another_ones_takes_is_no_take_of_it(house: House) -> None:
    house.put("videos/shot005/take-1/take-1.mp4", b"of the shot shot005/take-1")
    house.put("videos/shot005/take-1.webp.txt", b"a note")
    house.put("inbox/shot005.png", (house.folder / "bucket/inbox/shot000.png").read_bytes() + b" ")
    assert house.make(keys=["shot005"])["shot005"].verdict is Verdict.MADE
