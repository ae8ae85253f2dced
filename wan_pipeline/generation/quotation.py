"""Everything that is said before buying: what shots cost together, by model and campaign, against what is left of each
budget, what their providers say of the prices, and how many days it takes. The same for the command line and for the UI.

What belongs here: putting the parts together. What does not: a shot's own quote (foretelling.py), the days
(spend/backlog.py), asking a provider (providers/price_check.py), and how it is laid out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import ceil

from wan_pipeline.generation.foretelling import TO_BUY, QuoteNotes, ShotQuote, foretell
from wan_pipeline.generation.parts import EngineParts
from wan_pipeline.money import Money
from wan_pipeline.providers.base import ProviderLimits
from wan_pipeline.providers.drift import described
from wan_pipeline.providers.price_check import Prices, ask_prices
from wan_pipeline.spend import precedents
from wan_pipeline.spend.backlog import Pace, Plan, Room, Waiting, plan
from wan_pipeline.spend.records import BudgetLine

NO_CAMPAIGN = ""


@dataclass(frozen=True, slots=True)
class Total:
    """Of the shots to be bought that have this model, or this campaign (NO_CAMPAIGN: none)."""

    name: str
    shots: int
    low: Money
    high: Money


@dataclass(frozen=True, slots=True)
class Shortage:
    """A budget as it stands, and what the shots to be bought may need of it."""

    line: BudgetLine
    needed: Money

    @property
    def enough(self) -> bool:
        return self.needed <= self.line.left


@dataclass(frozen=True, slots=True)
class PriceDifference:
    """Shots to be bought of one kind whose provider names another price than the catalog; both for all of them."""

    model: str
    what: str
    shots: int
    catalog: Money
    told: Money


@dataclass(frozen=True)
class Quotation:
    """`quotes`: of every shot asked about. The rest is of those that are to be bought, now or when their time has come."""

    quotes: tuple[ShotQuote, ...]
    lines: tuple[BudgetLine, ...]
    plan: Plan
    prices: Prices

    @property
    def to_buy(self) -> list[ShotQuote]:
        """What the next run pays: not what waits for its `not_before`."""
        return [quote for quote in self.quotes if quote.status == TO_BUY]

    @property
    def backlog(self) -> list[ShotQuote]:
        """`to_buy`, and what waits for its time."""
        return [quote for quote in self.quotes if quote.to_be_bought]

    @property
    def low(self) -> Money:
        return Money.total(quote.least for quote in self.to_buy)

    @property
    def high(self) -> Money:
        return Money.total(quote.most for quote in self.to_buy)

    def by_model(self) -> list[Total]:
        return _totals(self.to_buy, lambda quote: quote.model or "")

    def by_campaign(self) -> list[Total]:
        return _totals(self.to_buy, lambda quote: quote.campaign or NO_CAMPAIGN)

    def against_budgets(self) -> list[Shortage]:
        """Every budget that is set, in its usual order."""
        pays = self.to_buy
        return [
            Shortage(line, Money.total(quote.most for quote in pays if line.name in quote.budgets))
            for line in self.lines
        ]

    def told(self) -> tuple[int, Money, Money]:
        """Of how many shots to be bought their providers were heard, what the catalog says of those, and what they say."""
        heard = [quote for quote in self.to_buy if quote.told is not None]
        told = Money.total(quote.told.billed for quote in heard if quote.told is not None)
        return len(heard), Money.total(quote.high for quote in heard), told

    def differences(self) -> list[PriceDifference]:
        """Where a provider names another price, by kind of video."""
        kinds: dict[tuple[str, str], list[ShotQuote]] = {}
        for quote in self.to_buy:
            order, told = quote.order, quote.told
            if order is not None and told is not None and not quote.low <= told.billed <= quote.high:
                what = described(order.duration_s, order.resolution, order.has_audio)
                kinds.setdefault((quote.model or "", what), []).append(quote)
        return [
            PriceDifference(
                model,
                what,
                len(same),
                Money.total(quote.high for quote in same),
                Money.total(quote.told.billed for quote in same if quote.told is not None),
            )
            for (model, what), same in sorted(kinds.items())
        ]


def quotation(
    notes: QuoteNotes, parts: EngineParts, limits_of: Callable[[str], ProviderLimits], now: datetime
) -> Quotation:
    """From what a batch has told as far as the quote. Asks the ledger, and the providers that tell prices for nothing; one
    that cannot be asked is in `prices.unasked`. `limits_of`: each provider's pace, by its name."""
    ledger, simulated = parts.ledger, parts.simulated
    quotes = foretell(notes, ledger, now, simulated=simulated)
    backlog = [quote for quote in quotes if quote.to_be_bought]
    prices = ask_prices(
        parts.connect,
        ((parts.find_model(each.model), each.order) for each in backlog if each.model and each.order is not None),
    )
    quotes = [_with_price(quote, prices, parts) for quote in quotes]
    backlog = [quote for quote in quotes if quote.to_be_bought]
    lines = tuple(ledger.budget_lines(parts.budgets, simulated=simulated, now=now))
    room = Room(parts.budgets, lines, ledger.used_by_shots([quote.shot for quote in backlog], simulated=simulated))
    usual = precedents.usual_seconds(ledger.engine, now, simulated=simulated)
    since = {each.shot: each.since for each in ledger.deferrals.load(simulated=simulated)}
    queue = sorted(backlog, key=lambda quote: (quote.shot not in since, since.get(quote.shot, now), quote.shot))
    waiting = [
        Waiting(
            quote.shot,
            quote.provider,
            quote.campaign,
            quote.most,
            quote.not_before,
            pace_of(quote.provider, limits_of(quote.provider), usual.get(quote.model or "")),
        )
        for quote in queue
    ]
    return Quotation(tuple(quotes), lines, plan(waiting, room, now), prices)


def pace_of(provider: str, limits: ProviderLimits, usual_s: float | None) -> Pace:
    """How much of a provider's time a shot takes up: by submissions a minute, or by how many it makes at once and how long
    one usually takes (None: nobody knows yet, so that does not count)."""
    each_ms = ceil(60_000 / limits.submits_per_minute)
    making_ms = 0 if usual_s is None else ceil(usual_s * 1000 / limits.max_in_flight)
    prefix = f"WAN_{provider.upper()}"
    if usual_s is not None and making_ms > each_ms:
        words = f"{provider} makes {limits.max_in_flight} at once, each in about {usual_s:.0f} s"
        return Pace(making_ms, f"{prefix}_MAX_IN_FLIGHT", words)
    words = f"{provider} takes {limits.submits_per_minute} submissions a minute"
    return Pace(max(1, each_ms), f"{prefix}_SUBMITS_PER_MINUTE", words)


def _with_price(quote: ShotQuote, prices: Prices, parts: EngineParts) -> ShotQuote:
    if not quote.to_be_bought or not quote.model or quote.order is None:
        return quote
    return replace(quote, told=prices.of(parts.find_model(quote.model), quote.order))


def _totals(quotes: Sequence[ShotQuote], name_of: Callable[[ShotQuote], str]) -> list[Total]:
    groups: dict[str, list[ShotQuote]] = {}
    for quote in quotes:
        groups.setdefault(name_of(quote), []).append(quote)
    return [_total(name, same) for name, same in sorted(groups.items())]


def _total(name: str, quotes: Iterable[ShotQuote]) -> Total:
    same = list(quotes)
    low, high = Money.total(quote.least for quote in same), Money.total(quote.most for quote in same)
    return Total(name, len(same), low, high)
