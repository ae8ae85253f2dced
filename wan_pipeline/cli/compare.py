"""`wan-pipeline compare`: what each model that could make a shot would cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from wan_pipeline.cli.console import Column, print_json, print_table, usd
from wan_pipeline.cli.exits import ALL_MADE, FAILED
from wan_pipeline.cli.opened import open_installation
from wan_pipeline.cli.options import check_keys, example, json_option

if TYPE_CHECKING:
    from wan_pipeline.generation.comparing import Comparison, Offer


@click.command(
    epilog=example("wan-pipeline compare --shot spring/cat", "wan-pipeline compare --shot spring/cat --json")
)
@click.option("--shot", "key", required=True, metavar="KEY", help="The shot, as `quote` lists it.")
@json_option
def command(key: str, as_json: bool) -> int:
    """Say what each model that could make a shot would cost, and why the others cannot. Buys nothing.

    The shot is taken as it is, but for its model: no setting is changed to make a model fit. The cheapest upper bound comes
    first. Exit status 1 where no model can make it.
    """
    with open_installation() as opened:
        from wan_pipeline.generation.comparing import compare

        shots = {shot.key: shot for shot in opened.discover()}
        check_keys([key], shots.keys())
        from wan_pipeline.providers.catalog import catalog

        made = compare(shots[key], opened.parts(), catalog().values())
        simulated = opened.simulated
    if as_json:
        _print_as_json(made, simulated=simulated)
    else:
        _print_for_eyes(made, simulated=simulated)
    return ALL_MADE if any(offer.possible for offer in made.offers) else FAILED


def _print_for_eyes(made: Comparison, *, simulated: bool) -> None:
    from wan_pipeline.cli.quoting import sound

    able = [offer for offer in made.offers if offer.order is not None and offer.possible]
    if able:
        print_table(
            [
                Column("model"),
                Column("seconds", right=True),
                Column("size"),
                Column("sound"),
                Column("at least USD", right=True),
                Column("at most USD", right=True),
                Column("at most USD/s", right=True),
                Column(""),
            ],
            [
                (
                    offer.model,
                    str(offer.order.duration_s),
                    offer.order.resolution,
                    sound(offer.order.has_audio),
                    usd(offer.least),
                    usd(offer.most),
                    usd(offer.most_per_second),
                    "the shot's own" if offer.own else "",
                )
                for offer in able
                if offer.order is not None
            ],
        )
    said = " (simulated)" if simulated else ""
    print(f"{len(able)} of {len(made.offers)} models can make {made.shot}{said}. Nothing is bought.")
    for offer in able:
        if offer.told is not None and not offer.low <= offer.told.billed <= offer.high:
            print(f"{offer.model}: its provider says {offer.told}, the catalog says {usd(offer.high)} USD")
        for note in offer.notes:
            print(f"{offer.model}: {note}")
    for offer in made.offers:
        for problem in offer.problems:
            print(f"{offer.model} cannot: {problem}")
    for provider, reason in made.unasked.items():
        print(f"{provider} could not be asked for its prices, the catalog's count: {reason}")


def _print_as_json(made: Comparison, *, simulated: bool) -> None:
    print_json(
        {
            "shot": made.shot,
            "simulated": simulated,
            "offers": [_offer_as_json(offer) for offer in made.offers],
            "unasked": dict(made.unasked),
        }
    )


def _offer_as_json(offer: Offer) -> dict[str, Any]:
    order = offer.order if offer.possible else None
    return {
        "model": offer.model,
        "own": offer.own,
        "possible": offer.possible,
        "duration_s": None if order is None else order.duration_s,
        "resolution": None if order is None else order.resolution,
        "has_audio": None if order is None else order.has_audio,
        "quoted_low_usd": None if order is None else str(offer.least),
        "quoted_usd": None if order is None else str(offer.most),
        "usd_per_second": None if order is None else str(offer.most_per_second),
        "catalog_usd": None if order is None else str(offer.high),
        "provider_usd": None if offer.told is None else str(offer.told.billed),
        "rule": offer.rule,
        "notes": list(offer.notes),
        "reasons": [str(problem) for problem in offer.problems],
    }
