"""Who sends the bill, in the words of a cost export. Its caller tells the export of its providers: reports know none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


class Issuer(Protocol):
    """A provider as the one who is paid."""

    @property
    def title(self) -> str:
        """Its name for a reader: `AI/ML API`."""
        ...

    @property
    def service(self) -> str:
        """What is bought from it, as one service: `AI/ML API video generation`."""
        ...

    @property
    def virtual_currency(self) -> str | None:
        """The unit in which it prices and books, where that is no national currency: `Credits`."""
        ...

    @property
    def units_per_usd(self) -> int:
        """How many of these units are one US dollar; 1 where it prices in dollars."""
        ...


Issuers = Mapping[str, Issuer]


@dataclass(frozen=True, slots=True)
class PlainIssuer:
    """A provider of which only the name is known: the ledger may hold jobs of one that left the catalog."""

    title: str
    virtual_currency: str | None = None
    units_per_usd: int = 1

    @property
    def service(self) -> str:
        return f"{self.title} video generation"


def issuer_of(issuers: Issuers, provider: str) -> Issuer:
    """The provider's, or one that has its name alone."""
    return issuers.get(provider) or PlainIssuer(provider)
