"""WaveSpeed's price endpoint is asked for nothing, each question once, and never keeps anybody from a quote."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from wan_pipeline.money import Money
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.providers.base import Model, Order, PollError, ProviderLimits
from wan_pipeline.providers.catalog import find_model
from wan_pipeline.providers.connect import connect
from wan_pipeline.providers.price_answer import ProviderPrice
from wan_pipeline.providers.price_check import Prices, ask_prices, tells_prices
from wan_pipeline.providers.wavespeed import WaveSpeedClient
from wan_pipeline.providers.wavespeed_prices import read_price
from wan_pipeline.simulator.app import create_app
from wan_pipeline.simulator.books import Books
from wan_pipeline.simulator.config import SimulatorConfig
from wan_pipeline_tests.providers.ordering import AIMLAPI, ALL, SHORTAPI_26, WAVESPEED, order_of
from wan_pipeline_tests.providers.tiny_server import KEY, QUICK, Behaviour, TinyServer, Wire, client_of, says, serving

FLASH = find_model(WAVESPEED)
NAME = "alibaba/wan-2.6/image-to-video-flash"


def answer(price: object = 0.125, **changed: Any) -> dict[str, Any]:
    data = {"model_id": NAME, "price": price, "discounted_price": price, "discount_rate": 0, "currency": "USD"}
    return {"code": 200, "message": "success", "data": data | changed}


def ask(*orders: Order, behaviours: list[Behaviour]) -> tuple[Prices, TinyServer]:
    """Through a real client over a real socket."""

    async def run() -> tuple[Prices, TinyServer]:
        async with serving(*behaviours) as server:
            asked = [(find_model(order.model_id), order) for order in orders]
            # ask_prices has an event loop of its own
            prices = await asyncio.to_thread(
                ask_prices, lambda name: client_of(name, server.url, patience=QUICK), asked
            )
            return prices, server

    return asyncio.run(run())


def test_the_simulators_endpoint_and_the_catalog_agree_for_every_order_there_is(tmp_path: Path) -> None:
    app = create_app(SimulatorConfig(folder=tmp_path, base_url="http://simulator.invalid", keys=frozenset({KEY})))
    transport = httpx.ASGITransport(app)
    orders = [
        order_of(WAVESPEED, duration=duration, resolution=resolution, audio=audio)
        for duration in (2, 5, 15)
        for resolution in ("720p", "1080p")
        for audio in (True, False)
    ]
    orders.append(order_of(WAVESPEED, "first_frame audio", duration=7))
    prices = ask_prices(
        lambda name: connect(name, "http://simulator.invalid", SecretStr(KEY), ProviderLimits(2, 2), transport),
        [(FLASH, order) for order in orders],
    )
    assert prices.unasked == {}
    for order in orders:
        told = prices.of(FLASH, order)
        assert told is not None
        assert told.billed == told.listed == FLASH.quote(order, []).high
    assert Books(tmp_path).jobs() == []
    assert Books(tmp_path).total_nanos() == 0


def test_a_thousand_shots_that_differ_in_words_alone_are_one_question_that_holds_none_of_them() -> None:
    orders = [order_of(WAVESPEED, prompt=f"secret {number}", seed=number, duration=5) for number in range(50)]
    prices, server = ask(*orders, order_of(WAVESPEED, duration=6), behaviours=[says(200, answer())])
    assert len(server.posts) == 2
    body = json.loads(server.posts[0].body)
    assert server.posts[0].target == "/api/v3/model/price"
    assert body["model_id"] == NAME
    assert body["inputs"] == {
        "image": "https://example.invalid/image.png",
        "prompt": "What does this cost?",
        "resolution": "720p",
        "duration": 5,
        "shot_type": "single",
        "enable_prompt_expansion": False,
        "enable_audio": False,
    }
    assert {prices.of(FLASH, order) for order in orders} == {ProviderPrice(Money.usd("0.125"), Money.usd("0.125"))}


def test_only_providers_that_tell_prices_are_asked() -> None:
    assert [tells_prices(model.partition("/")[0]) for model in ALL] == [False] * 4 + [True]

    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} was connected")

    others = [(find_model(name), order_of(name)) for name in (AIMLAPI, SHORTAPI_26)]
    prices = ask_prices(refuse, others)
    assert prices == Prices()
    assert prices.of(*others[0]) is None


async def reset(wire: Wire) -> None:
    wire.reset()


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (reset, "no answer"),
        (says(401, {"code": 401, "message": f"bad key {KEY}"}), "HTTP 401: bad key ***"),
        (says(200, "<html>"), "no JSON"),
        (says(200, {"code": 4006, "message": "cannot measure"}), "4006: cannot measure"),
        (says(200, answer(None)), "no price"),
        (says(200, answer(-1)), "no price"),
        (says(200, answer("cheap")), "no price"),
        (says(200, answer(currency="EUR")), "EUR"),
        (says(200, answer(model_id="alibaba/other")), "another model"),
    ],
)
def test_what_is_no_answer_is_told_and_not_guessed_at(trouble: Behaviour, words: str) -> None:
    order = order_of(WAVESPEED, duration=5)
    prices, _ = ask(order, behaviours=[trouble])
    assert prices.of(FLASH, order) is None
    assert words in prices.unasked["wavespeed"]
    assert KEY not in prices.unasked["wavespeed"]


def test_a_provider_that_answers_nothing_is_not_asked_everything() -> None:
    orders = [order_of(WAVESPEED, duration=seconds) for seconds in range(2, 12)]
    _, server = ask(*orders, behaviours=[says(400, {"message": "no"})])
    assert len(server.posts) == 2
    prices, server = ask(*orders, behaviours=[says(400, {"message": "no"}), says(200, answer())])
    assert len(server.posts) == 10
    assert [prices.of(FLASH, order) is None for order in orders] == [True] + [False] * 9


async def hang(wire: Wire) -> None:
    await asyncio.sleep(30)


def test_a_provider_that_hangs_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wan_pipeline.providers.price_check._ASKED_AT_MOST_S", 0.3)
    orders = [order_of(WAVESPEED, duration=seconds) for seconds in (2, 3)]
    prices, _ = ask(*orders, behaviours=[says(200, answer()), hang])
    assert prices.of(FLASH, orders[0]) is not None
    assert prices.of(FLASH, orders[1]) is None
    assert "within 0.3 s" in prices.unasked["wavespeed"]


def test_a_missing_key_is_told() -> None:
    @asynccontextmanager
    async def without_key(name: str) -> AsyncIterator[Any]:
        raise ConfigurationError("WAVESPEED_API_KEY is not set")
        yield

    assert ask_prices(without_key, [(FLASH, order_of(WAVESPEED))]).unasked == {
        "wavespeed": "WAVESPEED_API_KEY is not set"
    }


@pytest.mark.parametrize(
    ("price", "amount"),
    [("0.125", "0.125"), ("0.37500000000000006", "0.375"), ("0.29999999999999999", "0.30"), ("0", "0.00")],
)
def test_binary_dust_in_a_price_is_not_money(price: str, amount: str) -> None:
    told = read_price(answer(Decimal(price)), FLASH)
    assert told == ProviderPrice(Money.usd(amount), Money.usd(amount))


def test_what_the_account_is_billed_and_what_the_list_says_are_both_told() -> None:
    told = read_price(answer(Decimal("0.125"), discounted_price=Decimal("0.1125")), FLASH)
    assert told == ProviderPrice(Money.usd("0.1125"), Money.usd("0.125"))
    assert str(told) == "0.1125 USD (list price 0.125 USD)"
    data = answer(Decimal("0.125"))
    del data["data"]["discounted_price"]
    assert read_price(data, FLASH) == ProviderPrice(Money.usd("0.125"), Money.usd("0.125"))


def test_another_providers_model_is_not_asked_about() -> None:
    async def run() -> ProviderPrice | PollError:
        other: Model = find_model(AIMLAPI)
        async with WaveSpeedClient("http://h", SecretStr(KEY), ProviderLimits(1, 1)) as client:
            return await client.price(other, order_of(AIMLAPI))

    with pytest.raises(ValueError, match="is not bought from wavespeed"):
        asyncio.run(run())
