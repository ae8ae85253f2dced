"""One shot, every model: what each that could make it would cost, and why the others cannot. Nothing is bought.

The shot is read anew for each model, by the same rules as if its yaml named that one, and its inputs are inspected against
that model's limits. A setting is never changed to make a model fit: a model that does not offer what the shot asks for
cannot make it. What a shot only inherits and a model does not have is left out, as it would be if it were bought, and told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, cast

from wan_pipeline.bucket import Bucket, BucketObject
from wan_pipeline.generation.batch import Batch
from wan_pipeline.generation.events import Inspected, Quoted, Stage
from wan_pipeline.generation.parts import EngineParts
from wan_pipeline.money import ZERO, Money
from wan_pipeline.problems import Problem
from wan_pipeline.providers.base import Model, Order
from wan_pipeline.providers.price_answer import ProviderPrice
from wan_pipeline.providers.price_check import Prices, ask_prices
from wan_pipeline.shots.discovery import YamlCache, discover
from wan_pipeline.shots.keys import INBOX
from wan_pipeline.shots.shot import Shot
from wan_pipeline.spend.records import ClaimOptions

_NO_SOUND_SAID = "its document does not say whether the video has sound"


@dataclass(frozen=True, slots=True)
class Offer:
    """What one model would make of the shot. `problems` empty: it can, and the rest counts. `own`: the shot names this model
    itself. `told`: the provider's own price, where it was asked."""

    model: str
    own: bool
    problems: tuple[Problem, ...]
    order: Order | None = None
    low: Money = ZERO
    high: Money = ZERO
    rule: str = ""
    notes: tuple[str, ...] = ()
    told: ProviderPrice | None = None

    @property
    def possible(self) -> bool:
        return self.order is not None and not self.problems

    @property
    def least(self) -> Money:
        return self.low if self.told is None else min(self.low, self.told.billed)

    @property
    def most(self) -> Money:
        return self.high if self.told is None else max(self.high, self.told.billed)

    @property
    def most_per_second(self) -> Money:
        """The upper bound for each second of the video, rounded up to the nano-dollar."""
        return self.most * Fraction(1, self.order.duration_s) if self.order is not None else ZERO


@dataclass(frozen=True, slots=True)
class Comparison:
    """`offers`: those that can first, the cheapest upper bound first. `unasked`: providers that tell prices and could not be
    asked, and why."""

    shot: str
    offers: tuple[Offer, ...]
    unasked: Mapping[str, str]


def compare(shot: Shot, parts: EngineParts, models: Iterable[Model]) -> Comparison:
    """Every model's offer for this shot, which was found in the bucket of `parts`. Raises BucketError."""
    candidates = _as_each_model(shot, parts.bucket, list(models))
    inspected: dict[str, Inspected] = {}
    quoted: dict[str, Quoted] = {}
    batch = Batch(parts, list(candidates.values()), Stage.QUOTE, ClaimOptions())
    with batch:
        for event in batch.events():
            match event:
                case Inspected():
                    inspected[event.shot.model_id or ""] = event
                case Quoted():
                    quoted[event.shot.model_id or ""] = event
                case _:
                    pass
    orders = [
        (parts.find_model(name), each.order)
        for name, each in candidates.items()
        if name in quoted and each.order is not None
    ]
    prices = ask_prices(parts.connect, orders)
    offers = [
        _offer(shot, each, inspected.get(name), quoted.get(name), prices, parts) for name, each in candidates.items()
    ]
    offers.sort(
        key=lambda offer: (not offer.possible, offer.most if offer.possible else ZERO, offer.least, offer.model)
    )
    return Comparison(shot.key, tuple(offers), prices.unasked)


def _as_each_model(shot: Shot, bucket: Bucket, models: Sequence[Model]) -> dict[str, Shot]:
    """The shot as it would be if it named each of these models, by the model's id; one listing for all of them. Their keys
    are made distinct, since a batch knows its shots by them."""
    listed = cast(Bucket, _Listed(bucket))
    cache = YamlCache()
    found: dict[str, Shot] = {}
    for model in models:

        def this_one(_: str, model: Model = model) -> Model:
            return model

        same = next((each for each in discover(listed, model.id, cache, this_one) if each.key == shot.key), None)
        if same is not None:
            found[model.id] = replace(same, key=f"{shot.key} ({model.id})", model_id=model.id)
    return found


class _Listed:
    """The bucket, but that `inbox/` is listed once."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._objects = list(bucket.list(INBOX))

    def list(self, prefix: str = "") -> Iterator[BucketObject]:
        return (item for item in self._objects if item.key.startswith(prefix))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bucket, name)


def _offer(
    shot: Shot, each: Shot, inspected: Inspected | None, quoted: Quoted | None, prices: Prices, parts: EngineParts
) -> Offer:
    name = each.model_id or ""
    problems = each.problems or (inspected.problems if inspected is not None else ())
    if quoted is None or each.order is None:
        return Offer(name, name == shot.model_id, problems or (_unforeseen(name),))
    model = parts.find_model(name)
    notes = (*_left_out(shot, each, model), *quoted.warnings)
    quote = quoted.quote
    told = prices.of(model, each.order)
    return Offer(name, name == shot.model_id, (), each.order, quote.low, quote.high, quote.rule, notes, told)


def _left_out(shot: Shot, each: Shot, model: Model) -> Iterator[str]:
    """What the shot asks for and this model's video would not have: all of it inherited, or it would be a mistake."""
    for name, value in each.settings.model_dump(exclude_none=True).items():
        if name not in model.settings:
            yield f"it has no {name}: {str(value).lower()} is left out, it comes from a _defaults.yaml"
    unused = sorted(set(shot.inputs.values()) - set(each.inputs.values()))
    if unused:
        yield f"it takes no such input: {', '.join(unused)} is left out, it comes from a _defaults.yaml"
    wanted = None if shot.order is None else shot.order.has_audio
    if wanted is not None and each.order is not None and each.order.has_audio is None:
        yield _NO_SOUND_SAID


def _unforeseen(name: str) -> Problem:
    return Problem("", "", "", f"{name} gave no quote", "Run `wan-pipeline doctor`")
