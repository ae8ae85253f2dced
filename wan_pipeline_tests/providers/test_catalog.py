"""The catalog knows the five models; a sixth is one file and one line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

import pytest
from pydantic import Field

from wan_pipeline.media.limits import ImageLimits
from wan_pipeline.money import Money
from wan_pipeline.problems import ProblemsError
from wan_pipeline.providers.base import CommonSettings, InputRule, MediaInput, PriceRecord, Role, Slot, request_hash
from wan_pipeline.providers.catalog import MODELS, catalog, catalog_of, find_model
from wan_pipeline.providers.document import Arguments, Documented, DocumentModel, InputField
from wan_pipeline.providers.pricing import PerSecond
from wan_pipeline_tests.providers.ordering import ALL

# --- what the one new file would hold ---


class MadeUpArguments(Arguments):
    text: Annotated[str, Field(max_length=100)]
    picture: str
    seconds: Annotated[int, Field(ge=1, le=8), Documented(8)]
    quality: Annotated[Literal["hd", "full-hd"], Documented("hd")]


MADE_UP = DocumentModel(
    id="wavespeed/made-up",
    upstream_id="somebody/made-up",
    arguments=MadeUpArguments,
    fields={"prompt": "text", "duration": "seconds", "resolution": "quality"},
    words={"resolution": {"720p": "hd", "1080p": "full-hd"}},
    input_fields={Role.FIRST_FRAME: InputField("picture", InputRule(1, 1, ImageLimits(), "made up"))},
    price=PerSecond(
        (PriceRecord(datetime(2026, 1, 1, tzinfo=UTC), "made up", {"720p": Money.usd("0.01"), "1080p": Money.usd(1)}),)
    ),
    sound=lambda wanted: False,
)


def test_a_sixth_model_is_one_file_and_one_line() -> None:
    models = catalog_of((*MODELS, MADE_UP))
    model = find_model("wavespeed/made-up", models)
    slot = Slot(Role.FIRST_FRAME)
    order = model.order(CommonSettings(prompt="Hello", duration=3, seed=5), [slot], frozenset({"prompt", "duration"}))
    assert model.body(order, {slot: "https://x.test/a.png"}) == {
        "text": "Hello",
        "picture": "https://x.test/a.png",
        "seconds": 3,
        "quality": "hd",
    }
    assert model.quote(order, []).high == Money.usd("0.03")
    with pytest.raises(ProblemsError, match="1 to 8"):
        model.order(CommonSettings(prompt="Hello", duration=9), [slot], frozenset())


def test_the_catalog_holds_the_five() -> None:
    assert set(catalog()) == set(ALL)
    for model_id, model in catalog().items():
        assert model.id == model_id == f"{model.provider}/{model_id.partition('/')[2]}"


def test_an_unknown_model_is_told_with_the_known_ones() -> None:
    with pytest.raises(ProblemsError) as caught:
        find_model("wavespeed/wan-2.6-i2v")
    (problem,) = caught.value.problems
    assert (problem.field, problem.value) == ("model", "wavespeed/wan-2.6-i2v")
    assert all(model_id in problem.remedy for model_id in ALL)
    assert "Did you mean wavespeed/wan-2.6-i2v-flash?" in problem.remedy


def test_two_models_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="made-up"):
        catalog_of((MADE_UP, MADE_UP))


def test_a_request_is_the_same_request_where_its_files_hold_the_same_bytes() -> None:
    model = find_model("wavespeed/wan-2.6-i2v-flash")
    slot = Slot(Role.FIRST_FRAME)

    def hash_of(sha256: str, key: str = "inbox/a.png", **settings: object) -> str:
        order = model.order(CommonSettings(**({"prompt": "x"} | settings)), [slot], frozenset())
        return request_hash(model, order, [MediaInput(slot, key, sha256, None)])  # type: ignore[arg-type]

    assert hash_of("aa") == hash_of("aa", key="inbox/elsewhere.png")
    assert hash_of("aa") == hash_of(
        "aa", duration=5, resolution="720p", audio=False, seed=-1
    )  # the defaults, written out
    others = [hash_of("bb"), hash_of("aa", prompt="y"), hash_of("aa", duration=6), hash_of("aa", seed=1)]
    assert len({hash_of("aa"), *others}) == 5
