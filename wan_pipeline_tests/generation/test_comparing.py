"""One shot held against every model: the price as if it named that model, and a reason for each that cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from wan_pipeline.generation.comparing import Comparison, Offer, compare
from wan_pipeline.generation.parts import EngineParts
from wan_pipeline.money import Money
from wan_pipeline.providers.catalog import catalog
from wan_pipeline.shots.discovery import discover
from wan_pipeline_tests.generation.house import House, png
from wan_pipeline_tests.providers.ordering import AIMLAPI, ALL, SHORTAPI_26, SHORTAPI_27, SHORTAPI_R2V, WAVESPEED


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    house.put("inbox/_defaults.yaml", f"model: {WAVESPEED}\nprompt: It moves.\nduration: 5\n")
    return house


def compared(house: House, key: str = "cat") -> Comparison:
    with house.ledger() as ledger:
        parts = EngineParts(ledger, house.bucket, house.budgets, house._connect, house.faults, simulated=True)
        (shot,) = [shot for shot in discover(house.bucket, None) if shot.key == key]
        return compare(shot, parts, catalog().values())


def by_model(made: Comparison) -> dict[str, Offer]:
    assert sorted(offer.model for offer in made.offers) == sorted(ALL)
    return {offer.model: offer for offer in made.offers}


def reasons(offer: Offer) -> str:
    return "\n".join(map(str, offer.problems))


def test_offers_come_by_their_upper_bound_and_those_that_cannot_come_last_with_their_reasons(house: House) -> None:
    house.put("inbox/cat.png", png())
    made = compared(house)
    assert [
        (offer.model, str(offer.low), str(offer.high), str(offer.most_per_second)) for offer in made.offers[:4]
    ] == [
        (WAVESPEED, "0.125", "0.125", "0.025"),
        (SHORTAPI_26, "0.425", "0.425", "0.085"),
        (SHORTAPI_27, "0.425", "0.425", "0.085"),
        (AIMLAPI, "0.525", "0.6825", "0.1365"),
    ]
    assert [offer.own for offer in made.offers] == [True, False, False, False, False]
    last = made.offers[4]
    assert (last.model, last.possible) == (SHORTAPI_R2V, False)
    assert "needs this input" in reasons(last)
    assert made.offers[0].told is not None
    assert made.unasked == {}
    assert house.books.posts() == {}
    with house.ledger() as ledger:
        assert ledger.jobs() == []


@pytest.mark.parametrize("model_id", [SHORTAPI_26, SHORTAPI_27, AIMLAPI, WAVESPEED])
def test_an_offer_is_what_the_shot_would_be_quoted_if_it_named_that_model(house: House, model_id: str) -> None:
    house.put("inbox/cat.png", png())
    house.put("inbox/cat.yaml", "duration: 10\nresolution: 1080p\n")
    offer = by_model(compared(house))[model_id]
    house.put("inbox/cat.yaml", f"duration: 10\nresolution: 1080p\nmodel: {model_id}\n")
    (shot,) = discover(house.bucket, None)
    assert shot.order is not None
    assert offer.order == shot.order
    assert catalog()[model_id].quote(shot.order, []).high == offer.high


def test_no_setting_is_changed_to_make_a_model_fit(house: House) -> None:
    house.put("inbox/cat.png", png())
    house.put("inbox/cat.yaml", "duration: 7\naudio: true\nseed: 3\n")
    offers = by_model(compared(house))
    assert {name for name, offer in offers.items() if offer.possible} == {WAVESPEED}
    assert "duration" in reasons(offers[AIMLAPI])
    assert "Choose 5, 10 or 15" in reasons(offers[AIMLAPI])
    assert "audio" in reasons(offers[SHORTAPI_27])
    assert "seed" in reasons(offers[SHORTAPI_26])
    assert "resolution" not in reasons(offers[AIMLAPI])


def test_what_is_inherited_and_left_out_is_told(house: House) -> None:
    house.put("inbox/_defaults.yaml", f"model: {WAVESPEED}\nprompt: It moves.\nduration: 5\naudio: true\nseed: 9\n")
    house.put("inbox/cat.png", png())
    offer = by_model(compared(house))[SHORTAPI_27]
    assert offer.possible
    assert offer.notes[:2] == (
        "it has no audio: true is left out, it comes from a _defaults.yaml",
        "it has no seed: 9 is left out, it comes from a _defaults.yaml",
    )
    assert "its document does not say whether the video has sound" in offer.notes


def test_a_file_beyond_a_models_limits_is_a_reason(house: House) -> None:
    house.put("inbox/cat.png", png("#80808080", mode="RGBA"))  # ShortAPI's wan-2.7 takes no transparency
    offers = by_model(compared(house))
    assert not offers[SHORTAPI_27].possible
    assert "inbox/cat.png" in reasons(offers[SHORTAPI_27])
    assert offers[WAVESPEED].possible


def test_a_shot_that_names_no_model_or_a_wrong_one_is_compared_all_the_same(house: House) -> None:
    house.put("inbox/_defaults.yaml", "prompt: It moves.\nduration: 5\n")
    house.put("inbox/cat.png", png())
    assert len([offer for offer in compared(house).offers if offer.possible]) == 4
    house.put("inbox/cat.yaml", "model: wavespeed/wan-3\n")
    made = compared(house)
    assert len([offer for offer in made.offers if offer.possible]) == 4
    assert not any(offer.own for offer in made.offers)


def test_a_broken_shot_is_no_models(house: House) -> None:
    house.put("inbox/cat.png", b"no picture")
    made = compared(house)
    assert not any(offer.possible for offer in made.offers)
    assert all(offer.problems for offer in made.offers)
    assert Money.total(offer.high for offer in made.offers) == Money(0)
