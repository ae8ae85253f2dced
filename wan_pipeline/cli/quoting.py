"""How a quotation reads: tables and a few lines for eyes, one JSON object for programs. No sum is made here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from wan_pipeline.cli.console import Column, json_time, json_usd, print_json, print_table, usd
from wan_pipeline.money import ZERO, Money

if TYPE_CHECKING:
    from wan_pipeline.generation.foretelling import ShotQuote
    from wan_pipeline.generation.quotation import Quotation, Total
    from wan_pipeline.spend.backlog import Planned

_MOST_LINES = 20  # of shots that do not fit today


# --- for eyes ---


def print_for_eyes(made: Quotation, *, simulated: bool) -> None:
    """The shots, the sums, and what stands in the way; one row or line each."""
    _print_shots(made)
    said = " (simulated)" if simulated else ""
    print(
        f"{len(made.to_buy)} of {len(made.quotes)} shots to be bought: {usd(made.low)} to {usd(made.high)} USD{said}. "
        "Nothing is bought."
    )
    if made.to_buy:
        _print_totals("model", made.by_model())
        _print_totals("campaign", made.by_campaign())
    for each in made.against_budgets():
        short = "" if each.enough else f": NOT ENOUGH for the {usd(each.needed)} USD that may be needed"
        needed = f", {usd(each.needed)} USD may be needed" if each.enough and each.needed else ""
        print(f"{each.line.name}: {usd(each.line.left)} USD left{needed}{short}")
    _print_prices(made)
    print(f"how long: {made.plan}")
    not_today = made.plan.not_today
    for each in not_today[:_MOST_LINES]:
        print(f"{each.shot} ({usd(each.needed)} USD) {_when(each)}")
    if len(not_today) > _MOST_LINES:
        print(f"and {len(not_today) - _MOST_LINES} more do not fit now: see --json")


def _print_shots(made: Quotation) -> None:
    print_table(
        [
            Column("shot"),
            Column("model"),
            Column("seconds", right=True),
            Column("size", spare=True),
            Column("sound", spare=True),
            Column("at least USD", right=True),
            Column("at most USD", right=True),
            Column("status"),
        ],
        [_row(quote) for quote in made.quotes],
    )
    for quote in made.quotes:
        if quote.problem:
            print(f"{quote.shot}: {quote.status}: {quote.problem}")
    of_note: dict[str, list[str]] = {}
    for quote in made.quotes:
        for note in quote.notes:
            of_note.setdefault(note, []).append(quote.shot)
    for note, shots in of_note.items():
        print(f"{shots[0] if len(shots) == 1 else f'{len(shots)} shots, e.g. {shots[0]}'}: {note}")


def _row(quote: ShotQuote) -> tuple[str, ...]:
    order = quote.order
    return (
        quote.shot,
        quote.model or "",
        "" if order is None else str(order.duration_s),
        "" if order is None else order.resolution,
        sound(None if order is None else order.has_audio),
        "" if quote.problem else usd(quote.least),
        "" if quote.problem else usd(quote.most),
        quote.status,
    )


def sound(has_audio: bool | None) -> str:
    """For a table's cell; empty where the model's document does not say."""
    return {True: "yes", False: "no", None: ""}[has_audio]


def _print_totals(what: str, totals: Sequence[Total]) -> None:
    print_table(
        [
            Column(what),
            Column("shots", right=True),
            Column("at least USD", right=True),
            Column("at most USD", right=True),
        ],
        [(total.name or f"(no {what})", str(total.shots), usd(total.low), usd(total.high)) for total in totals],
    )


def _print_prices(made: Quotation) -> None:
    shots, catalog, told = made.told()
    if shots:
        differences = made.differences()
        of_shots = "1 shot" if shots == 1 else f"{shots} shots"
        same = (
            "as the catalog says"
            if not differences
            else f"the catalog says {usd(catalog)} USD ({_signed(told - catalog)})"
        )
        print(f"by their provider's own word {of_shots} cost {usd(told)} USD: {same}")
        for each in differences:
            more = f"the catalog says {usd(each.catalog)} USD ({_signed(each.told - each.catalog)})"
            said = f"{usd(each.told)} USD for {each.shots}, {more}: `wan-pipeline doctor` says what to do"
            print(f"{each.model}, {each.what}: {said}")
    for provider, reason in made.prices.unasked.items():
        print(f"{provider} could not be asked for its prices, the catalog's count: {reason}")


def _signed(amount: Money) -> str:
    return f"{'' if amount.nanos < 0 else '+'}{amount}"


def _when(each: Planned) -> str:
    if each.day is None:
        return f"never fits: {each.why} ({each.limit})"
    return f"does not fit now: it waits for {each.limit}, until {each.day}"


# --- for programs ---


def print_as_json(made: Quotation, *, simulated: bool) -> None:
    """Money as decimal strings."""
    shots, catalog, told = made.told()
    planned = {each.shot: each for each in made.plan.planned}
    print_json(
        {
            "simulated": simulated,
            "shots": [shot_as_json(quote, planned.get(quote.shot), made.plan.today) for quote in made.quotes],
            "totals": {"to_pay_low_usd": str(made.low), "to_pay_usd": str(made.high)},
            "by_model": [_total_as_json("model", total) for total in made.by_model()],
            "by_campaign": [_total_as_json("campaign", total) for total in made.by_campaign()],
            "budgets_left_usd": {line.name: str(line.left) for line in made.lines},
            "budgets": [
                {
                    "budget": each.line.name,
                    "allowed_usd": str(each.line.allowed),
                    "left_usd": str(each.line.left),
                    "needed_usd": str(each.needed),
                    "enough": each.enough,
                    "until": json_time(each.line.until),
                }
                for each in made.against_budgets()
            ],
            "provider_prices": {
                "shots": shots,
                "catalog_usd": str(catalog),
                "told_usd": str(told),
                "differences": [
                    {
                        "model": each.model,
                        "what": each.what,
                        "shots": each.shots,
                        "catalog_usd": str(each.catalog),
                        "told_usd": str(each.told),
                    }
                    for each in made.differences()
                ],
                "unasked": dict(made.prices.unasked),
            },
            "backlog": {
                "days": made.plan.days,
                "until": None if not made.plan.spent else max(made.plan.spent).isoformat(),
                "limit": made.plan.limit or None,
                "explanation": str(made.plan),
                "never": [each.shot for each in made.plan.never],
                "spent_usd": {day.isoformat(): str(amount) for day, amount in made.plan.spent.items()},
            },
        }
    )


def shot_as_json(quote: ShotQuote, planned: Planned | None, today: date) -> dict[str, Any]:
    """One shot's. `day`: when there is room for it; null: never, or nothing is to be bought."""
    pays, order = quote.to_be_bought and not quote.status.startswith("not before"), quote.order
    day = None if planned is None else planned.day
    return {
        "shot": quote.shot,
        "model": quote.model,
        "campaign": quote.campaign,
        "status": quote.status,
        "duration_s": None if order is None else order.duration_s,
        "resolution": None if order is None else order.resolution,
        "has_audio": None if order is None else order.has_audio,
        "quoted_low_usd": None if quote.problem else json_usd(quote.least),
        "quoted_usd": None if quote.problem else json_usd(quote.most),
        "catalog_usd": None if quote.problem else json_usd(quote.high),
        "provider_usd": None if quote.told is None else str(quote.told.billed),
        "to_pay_low_usd": json_usd(quote.least if pays else ZERO),
        "to_pay_usd": json_usd(quote.most if pays else ZERO),
        "fits_now": None if planned is None else day == today,
        "day": None if day is None else day.isoformat(),
        "waits_for": None if planned is None or not planned.limit else planned.limit,
        "why": None if planned is None or not planned.why else planned.why,
        "rule": quote.rule,
        "warnings": list(quote.notes),
        "problem": quote.problem or None,
    }


def _total_as_json(what: str, total: Total) -> dict[str, Any]:
    return {
        what: total.name or None,
        "shots": total.shots,
        "to_pay_low_usd": str(total.low),
        "to_pay_usd": str(total.high),
    }
