"""The end of a run that quoted shots: one observation of `shot_quotes` with what they cost together, by model and campaign.

A run that goes no further than the quote shows beside it what is left of each budget, what providers say of the prices, and
how many days it takes. One that buys does not ask again what it has just spent; the asset `budgets` shows that. What does
not belong here: any figure of it (generation/quotation.py).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from wan_pipeline.defs import names
from wan_pipeline.defs.metadata import Metadata
from wan_pipeline.defs.passing import patiently
from wan_pipeline.defs.resources import OpenInstallation
from wan_pipeline.generation.events import Event, Quoted
from wan_pipeline.generation.foretelling import QuoteNotes
from wan_pipeline.money import Money

if TYPE_CHECKING:
    from wan_pipeline.generation.quotation import Quotation

_MOST_ROWS = 50


class QuoteTotals:
    """Gathers a run's quotes. `whole`: the run goes no further than them."""

    def __init__(self, context: dg.AssetExecutionContext, opened: OpenInstallation, *, whole: bool) -> None:
        self._context = context
        self._opened = opened
        self._whole = whole
        self._notes = QuoteNotes()

    def note(self, event: Event) -> None:
        """What the engine tells; of use are those about quotes."""
        self._notes.note(event)

    @contextmanager
    def shown_at_the_end(self) -> Generator[None]:
        """Shows the totals when the block has come to its end, good or bad; not where it was interrupted."""
        try:
            yield
        except dg.Failure:
            self._show()
            raise
        self._show()

    def _show(self) -> None:
        quoted = list(self._notes.quoted.values())
        if not quoted:
            return
        metadata: Metadata = {"simulated": dg.MetadataValue.bool(self._opened.simulated)}
        if self._whole:
            from wan_pipeline.generation.quotation import quotation

            opened = self._opened
            made = patiently(quotation, self._notes, opened.parts(), opened.limits_of, datetime.now(UTC))
            metadata |= _quotation_metadata(made)  # what a person decides by comes first
            patiently(
                self._context.log.info,
                f"{len(made.to_buy)} shots to be bought: {made.low} to {made.high} USD. {made.plan}",
            )
        metadata |= _totals_metadata(quoted)
        patiently(self._context.log_event, dg.AssetObservation(names.SHOT_QUOTES, metadata=metadata))


def _totals_metadata(quoted: Sequence[Quoted]) -> Metadata:
    """Of every shot that was quoted, whether or not it is bought already."""
    return {
        "shots": dg.MetadataValue.int(len(quoted)),
        "quoted_low_usd": dg.MetadataValue.text(str(Money.total(each.quote.low for each in quoted))),
        "quoted_usd": dg.MetadataValue.text(str(Money.total(each.quote.high for each in quoted))),
        "by_model": _by("model", [(each.shot.model_id or "", each) for each in quoted]),
        "by_campaign": _by("campaign", [(each.shot.campaign or "(no campaign)", each) for each in quoted]),
    }


def _by(what: str, named: Sequence[tuple[str, Quoted]]) -> dg.MetadataValue:
    rows: list[dict[str, str]] = []
    for name in sorted({name for name, _ in named})[:_MOST_ROWS]:
        same = [each.quote for each_name, each in named if each_name == name]
        low, high = Money.total(quote.low for quote in same), Money.total(quote.high for quote in same)
        rows.append({what: name, "shots": str(len(same)), "quoted_low_usd": str(low), "quoted_usd": str(high)})
    return _table([what, "shots", "quoted_low_usd", "quoted_usd"], rows)


def _quotation_metadata(made: Quotation) -> Metadata:
    """Of the shots that are to be bought."""
    plan = made.plan
    budgets = [
        {
            "budget": each.line.name,
            "left_usd": str(each.line.left),
            "needed_usd": str(each.needed),
            "enough": "yes" if each.enough else "NO",
        }
        for each in made.against_budgets()
    ]
    metadata: Metadata = {
        "to_be_bought": dg.MetadataValue.int(len(made.to_buy)),
        "to_pay_low_usd": dg.MetadataValue.text(str(made.low)),
        "to_pay_usd": dg.MetadataValue.text(str(made.high)),
        "to_pay_usd_plot": dg.MetadataValue.float(float(made.high.dollars)),
        "days": dg.MetadataValue.int(plan.days),
        "how_long": dg.MetadataValue.text(str(plan)),
        "budgets": _table(["budget", "left_usd", "needed_usd", "enough"], budgets),
    }
    if plan.not_today:
        waiting = [
            {
                "shot": each.shot,
                "needed_usd": str(each.needed),
                "day": "never" if each.day is None else each.day.isoformat(),
                "limit": each.limit,
                "why": each.why if each.day is None else "",
            }
            for each in plan.not_today[:_MOST_ROWS]
        ]
        metadata["not_today"] = _table(["shot", "needed_usd", "day", "limit", "why"], waiting)
    return metadata | _price_metadata(made)


def _price_metadata(made: Quotation) -> Metadata:
    """What providers that tell their prices say of the shots to be bought."""
    shots, catalog, told = made.told()
    metadata: Metadata = {}
    if shots:
        text = f"{told} USD for {shots} shots, the catalog says {catalog} USD"
        metadata["provider_prices"] = dg.MetadataValue.text(text)
    differences = [
        {
            "model": each.model,
            "what": each.what,
            "shots": str(each.shots),
            "catalog_usd": str(each.catalog),
            "provider_usd": str(each.told),
        }
        for each in made.differences()[:_MOST_ROWS]
    ]
    if differences:
        columns = ["model", "what", "shots", "catalog_usd", "provider_usd"]
        metadata["provider_price_differences"] = _table(columns, differences)
    for provider, reason in made.prices.unasked.items():
        metadata[f"{provider}_prices"] = dg.MetadataValue.text(f"could not be asked, the catalog's count: {reason}")
    return metadata


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> dg.MetadataValue:
    schema = dg.TableSchema(columns=[dg.TableColumn(name) for name in columns])
    return dg.MetadataValue.table(records=[dg.TableRecord(dict(row)) for row in rows], schema=schema)
