"""The providers as those who are paid: what a cost export has to call them, and in which unit they price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from wan_pipeline.money import NANOS_PER_AIMLAPI_CREDIT, NANOS_PER_USD
from wan_pipeline.providers.connect import PROVIDERS


@dataclass(frozen=True, slots=True)
class ProviderAsIssuer:
    """`virtual_currency`: the unit of the provider's own books, where that is no national currency, of which
    `units_per_usd` are one US dollar."""

    title: str
    service: str
    virtual_currency: str | None = None
    units_per_usd: int = 1


def _issuer(name: str, title: str) -> ProviderAsIssuer:
    if name == "aimlapi":  # 2,000,000 credits = 1 USD (shared/providers/README.md, sure: A)
        per_usd = NANOS_PER_USD // NANOS_PER_AIMLAPI_CREDIT
        return ProviderAsIssuer(title, f"{title} video generation", "Credits", per_usd)
    return ProviderAsIssuer(title, f"{title} video generation")


ISSUERS: Mapping[str, ProviderAsIssuer] = MappingProxyType(
    {name: _issuer(name, info.title) for name, info in PROVIDERS.items()}
)
