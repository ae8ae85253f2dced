"""Drift: where the catalog says something else than the world does. A price that a provider names or bills, and a parameter
that it refuses although its document allows it.

Pure comparisons: what the ledger and a price endpoint say comes in, what a person should know goes out. Nothing here changes
a price; that is a dated record in the model's own file, written by a person, so that what was quoted and reported before
stays as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from wan_pipeline.money import Money
from wan_pipeline.providers.base import CommonSettings, Model, Order, Slot
from wan_pipeline.providers.document import DocumentModel
from wan_pipeline.providers.price_check import Prices, tells_prices
from wan_pipeline.providers.pricing import price_at
from wan_pipeline.spend.precedents import Bill, Rejection

SAMPLE_SECONDS = 5
_STEADY = 3  # bills of one rate that make it look like a price
_TEXTS = frozenset({"prompt", "negative_prompt"})
_UNKNOWN_FIELD = re.compile(
    r"\b(unknown|unexpected|unrecogni[sz]ed|unsupported|additional|extra)\b.{0,30}\b(field|propert|param|argument|input|key)"
    r"|should not exist",
    re.IGNORECASE,
)
_OUTDATED_PRICE = "if the price has changed, add a PriceRecord (its first day, the new prices, where they stand) to"


@dataclass(frozen=True, slots=True)
class Drift:
    """`subject`: the model. `serious`: bills, or what will be billed, exceed what is quoted and held."""

    subject: str
    detail: str
    remedy: str
    serious: bool = False


# --- prices that a provider names ---


def sample_orders(models: Iterable[Model]) -> list[tuple[Model, Order]]:
    """One order for each price of each model whose provider can be asked: 5 s, silent and with sound, of each resolution."""
    found: list[tuple[Model, Order]] = []
    for model in models:
        if not tells_prices(model.provider):
            continue
        for resolution in ("720p", "1080p"):
            for audio in (False, True):
                settings = CommonSettings(
                    prompt="A price.", duration=SAMPLE_SECONDS, resolution=resolution, audio=audio
                )
                slots = [Slot(role) for role, rule in model.inputs.items() if rule.minimum]
                found.append((model, model.order(settings, slots, frozenset())))
    return found


def price_drifts(asked: Sequence[tuple[Model, Order]], prices: Prices) -> list[Drift]:
    """One for each model whose provider names other prices than the catalog: its list's, or a discount of this account's."""
    drifts: list[Drift] = []
    for model in {model.id: model for model, _ in asked}.values():
        other: list[str] = []
        cheaper: list[str] = []
        serious = False
        for order in (order for each, order in asked if each.id == model.id):
            told, quote = prices.of(model, order), model.quote(order, [])
            if told is None:
                continue
            what = f"{described(order.duration_s, order.resolution, order.has_audio)}: {told}, the catalog {quote.high} USD"
            if not quote.low <= told.listed <= quote.high or told.billed > quote.high:
                other.append(what)
                serious |= told.billed > quote.high
            elif told.billed < quote.low:
                cheaper.append(what)
        if other:
            remedy = f"{_OUTDATED_PRICE} {file_of(model)}"
            drifts.append(Drift(model.id, f"its provider names other prices: {'; '.join(other)}", remedy, serious))
        elif cheaper:
            remedy = "nothing has to be done: quotes are the list's prices, and the bill is what is reported"
            drifts.append(Drift(model.id, f"your account has a discount: {'; '.join(cheaper)}", remedy))
    return drifts


# --- prices that a provider bills ---


def bill_drifts(bills: Sequence[Bill], models: Mapping[str, Model], now: datetime) -> list[Drift]:
    """One for each kind of video (model, resolution, sound) whose latest bills are steadily at another rate than the
    catalog's, or outside of what was quoted. Bills from before the present price record tell nothing of it."""
    kinds: dict[tuple[str, str, bool | None], list[Bill]] = {}
    for bill in bills:
        kinds.setdefault((bill.model, bill.resolution, bill.has_audio), []).append(bill)
    drifts: list[Drift] = []
    for (model_id, resolution, has_audio), own in sorted(kinds.items(), key=str):
        model = models.get(model_id)
        if not isinstance(model, DocumentModel):
            continue
        record = price_at(model.price.prices, now)
        if len(model.price.prices) > 1:
            own = [bill for bill in own if bill.claimed_at >= record.since]
        rates = {Fraction(bill.billed.nanos, bill.duration_s) for bill in own}
        listed = record.usd_per_second.get(model.price.kind(resolution, has_audio))
        outside = [bill for bill in own if not bill.quoted_low <= bill.billed <= bill.quoted_high]
        serious = any(bill.billed > bill.quoted_high for bill in outside)
        what = described(None, resolution, has_audio)
        if len(own) >= _STEADY and len(rates) == 1 and listed is not None and rates != {Fraction(listed.nanos)}:
            rate = Money(1) * next(iter(rates))
            detail = f"{what}: the last {len(own)} bills are at {rate} USD/s, the catalog says {listed} USD/s"
            drifts.append(Drift(model_id, detail, f"{_OUTDATED_PRICE} {file_of(model)}", serious))
        elif outside:
            latest = outside[0]
            detail = (
                f"{what}: {len(outside)} of the last {len(own)} bills are outside of their quotes, e.g. job {latest.job_id} "
                f"({latest.shot}): billed {latest.billed} USD, quoted {latest.quoted_low} to {latest.quoted_high} USD"
            )
            remedy = f"compare them with the provider's price list; {_OUTDATED_PRICE} {file_of(model)}"
            drifts.append(Drift(model_id, detail, remedy, serious))
    return drifts


# --- parameters ---


def parameter_drifts(rejections: Sequence[Rejection], models: Mapping[str, Model]) -> list[Drift]:
    """One for each setting that a provider has refused by name lately, and one for fields that it does not know. Each was
    checked against its document before it was sent, so the provider's document has changed, or it does not keep to it.
    What a refusal says of a prompt or a file is a shot's own matter."""
    found: dict[tuple[str, str], list[Rejection]] = {}
    for each in rejections:
        model = models.get(each.model)
        if not isinstance(model, DocumentModel):
            continue
        files = {field.name for field in model.input_fields.values()}
        names = [name for name in model.arguments.model_fields if name not in _TEXTS | files]
        named = [name for name in names if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", each.reason)]
        if not named and _UNKNOWN_FIELD.search(each.reason):
            named = ["a field"]
        for name in named:
            found.setdefault((each.model, name), []).append(each)
    drifts: list[Drift] = []
    for (model_id, name), same in sorted(found.items()):
        model = models[model_id]
        times = "a submission was" if len(same) == 1 else f"{len(same)} submissions were"
        detail = (
            f"{times} refused over {name}, the latest on {same[0].at:%Y-%m-%d} for {same[0].shot}: {same[0].reason}"
        )
        remedy = f"compare the provider's present document with {file_of(model)}, which says what is sent"
        drifts.append(Drift(model_id, detail, remedy))
    return drifts


def file_of(model: Model) -> str:
    """Where the model's parameters and prices are written down."""
    module = model.arguments.__module__ if isinstance(model, DocumentModel) else type(model).__module__
    return module.replace(".", "/") + ".py"


def described(duration_s: int | None, resolution: str, has_audio: bool | None) -> str:
    """`5 s 720p with sound`."""
    sound = {True: " with sound", False: " silent", None: ""}[has_audio]
    return f"{'' if duration_s is None else f'{duration_s} s '}{resolution}{sound}"
