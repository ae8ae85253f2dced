"""Asking providers what orders would cost, and holding the catalog against it.

Each distinct question is asked once. A provider that cannot be asked is told of, and never keeps anybody from a quote. What
does not belong here: a provider's endpoint (wavespeed_prices.py), and what a quote is made of (pricing.py).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from wan_pipeline.problems import ConfigurationError
from wan_pipeline.providers.base import Model, Order, PollError, ProviderClient
from wan_pipeline.providers.connect import PROVIDERS
from wan_pipeline.providers.price_answer import PriceTeller, ProviderPrice

Connect = Callable[[str], AbstractAsyncContextManager[ProviderClient]]
_ASKED_AT_MOST_S = 30.0  # of one provider, all questions together: a quote is waited for
_FAILURES = 2


@dataclass(frozen=True)
class Prices:
    """What was answered, by question; and by provider why it was not (all) answered, for a person."""

    answers: Mapping[tuple[str, str], ProviderPrice | PollError] = field(
        default_factory=dict[tuple[str, str], "ProviderPrice | PollError"]
    )
    unasked: Mapping[str, str] = field(default_factory=dict[str, str])

    def of(self, model: Model, order: Order) -> ProviderPrice | None:
        """What this order would cost by its provider's own word; None: it says nothing, or was not reached."""
        answer = self.answers.get((model.provider, _question(model, order)))
        return answer if isinstance(answer, ProviderPrice) else None


def tells_prices(provider: str) -> bool:
    """Whether this provider can be asked for prices at all."""
    info = PROVIDERS.get(provider)
    return info is not None and issubclass(info.client_class, PriceTeller)


def ask_prices(connect: Connect, orders: Iterable[tuple[Model, Order]]) -> Prices:
    """The prices of those orders whose providers tell any. Raises nothing but programming errors. `connect` gives a
    provider's client by its name. For code without an event loop."""
    wanted: dict[str, dict[str, tuple[Model, Order]]] = {}
    for model, order in orders:
        if tells_prices(model.provider):
            wanted.setdefault(model.provider, {}).setdefault(_question(model, order), (model, order))
    if not wanted:
        return Prices()
    return asyncio.run(_ask_all(connect, wanted))


async def _ask_all(connect: Connect, wanted: Mapping[str, Mapping[str, tuple[Model, Order]]]) -> Prices:
    answers: dict[tuple[str, str], ProviderPrice | PollError] = {}
    unasked: dict[str, str] = {}
    for provider, questions in wanted.items():
        try:
            async with asyncio.timeout(_ASKED_AT_MOST_S), connect(provider) as client:
                if not isinstance(client, PriceTeller):
                    continue
                failures = 0
                for question, (model, order) in questions.items():
                    answer = answers[provider, question] = await client.price(model, order)
                    if isinstance(answer, PollError):
                        unasked.setdefault(provider, answer.reason)
                        failures += 1
                    if failures >= _FAILURES:  # one question may be refused; who answers none is not asked all of them
                        break
        except ConfigurationError as error:
            unasked[provider] = str(error)
        except TimeoutError:
            unasked[provider] = f"{provider} did not answer all questions within {_ASKED_AT_MOST_S:g} s"
    return Prices(answers, unasked)


def _question(model: Model, order: Order) -> str:
    """Its provider's question for the order as text; "" where it can be asked none."""
    client_class = PROVIDERS[model.provider].client_class
    if not issubclass(client_class, PriceTeller):
        return ""
    return json.dumps(client_class.price_question(model, order), sort_keys=True)
