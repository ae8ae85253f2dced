"""What a provider says that an order would cost, asked for nothing: the contract of those that answer.

What belongs here: the values and the protocol. What does not: any provider's endpoint, and what follows from an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from wan_pipeline.money import Money
from wan_pipeline.providers.base import JsonObject, Model, Order, PollError


@dataclass(frozen=True, slots=True)
class ProviderPrice:
    """`billed`: what this account would be billed. `listed`: the price for everybody, where the provider tells both."""

    billed: Money
    listed: Money

    def __str__(self) -> str:
        return f"{self.billed} USD" + ("" if self.listed == self.billed else f" (list price {self.listed} USD)")


@runtime_checkable
class PriceTeller(Protocol):
    """A provider's client that can ask for a price without buying."""

    @staticmethod
    def price_question(model: Model, order: Order) -> JsonObject:
        """What is asked for this order: two orders with one question have one price."""
        ...

    async def price(self, model: Model, order: Order) -> ProviderPrice | PollError:
        """The price now. Free, and may be asked again and again."""
        ...
