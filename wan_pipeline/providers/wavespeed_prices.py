"""WaveSpeed's free price endpoint: `POST /api/v3/model/price {model_id, inputs}` (README of the documents, sure: A).

It answers `{model_id, price, discounted_price, discount_rate, currency}`: `price` is the list's, `discounted_price` what the
account that asks is billed (as its users read it, sure: B). Its formulas look at settings, and at which files are given, not
at what lies behind their URLs (B); of some models it measures the length of a sound file, which a stand-in has not. So the
question holds the settings as they would be sent, a stand-in for the image, and no sound file: by the document sound is
priced by `enable_audio` alone. Texts and the seed bear on no price and stay at home, so that a thousand shots with a
thousand prompts are one question.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

from wan_pipeline.money import Money
from wan_pipeline.providers.base import JsonObject, Model, Order, PollError
from wan_pipeline.providers.price_answer import ProviderPrice
from wan_pipeline.providers.words import amount_in, as_object, message_in

PATH = "/api/v3/model/price"
_STAND_IN = "https://example.invalid/image.png"  # .invalid never resolves (RFC 6761)
_PROMPT = "What does this cost?"
_LEFT_OUT = frozenset({"audio", "negative_prompt", "seed"})
_NANO = Decimal("0.000000001")


def price_question(model: Model, order: Order) -> JsonObject:
    """The question's body."""
    body = model.body(order, dict.fromkeys(order.slots, _STAND_IN))
    inputs = {name: value for name, value in body.items() if name not in _LEFT_OUT}
    return {"model_id": model.upstream_id, "inputs": inputs | {"prompt": _PROMPT}}


def read_price(payload: JsonObject, model: Model) -> ProviderPrice | PollError:
    """What the answer says; PollError where it is not understood to the last word: money is not guessed at."""
    if payload.get("code") not in (None, 200, "200"):
        return PollError(f"it answered code {payload.get('code')}: {message_in(payload) or 'without a word'}")
    data = as_object(payload.get("data"))
    if data.get("model_id", model.upstream_id) != model.upstream_id:
        return PollError(f"it answered for another model: {data.get('model_id')}")
    if data.get("currency", "USD") != "USD":
        return PollError(f"it answered in {data.get('currency')}")
    listed = _amount(data.get("price"))
    billed = _amount(data.get("discounted_price", data.get("price")))
    if listed is None or billed is None:
        return PollError(f"no price in its answer: price {data.get('price')}, for us {data.get('discounted_price')}")
    return ProviderPrice(billed, listed)


def _amount(value: object) -> Money | None:
    """A price is a JSON number made of binary floats over there (0.37500000000000006): to the nearest nano-dollar."""
    if isinstance(value, Decimal) and value.is_finite() and abs(value) < 10**9:
        value = value.quantize(_NANO, ROUND_HALF_EVEN)
    return amount_in(value, Money.usd(1))
