"""`wan-pipeline quote`: what shots would cost, before anything is bought."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from wan_pipeline.cli.console import say
from wan_pipeline.cli.exits import ALL_MADE, FAILED, WrongUseError
from wan_pipeline.cli.opened import open_installation
from wan_pipeline.cli.options import check_keys, example, json_option, shots_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wan_pipeline.defs.resources import OpenInstallation
    from wan_pipeline.generation.quotation import Quotation
    from wan_pipeline.shots.shot import Shot


@click.command(epilog=example("wan-pipeline quote", "wan-pipeline quote --shot spring/cat --json"))
@shots_option("Only this shot. May be repeated.")
@click.option("--all", "all_shots", is_flag=True, help="Every shot in the bucket, which is the default.")
@json_option
def command(shots: tuple[str, ...], all_shots: bool, as_json: bool) -> int:
    """Say what the shots will cost, at least and at most, and how many days the budgets make of it. Buys nothing.

    Input files are read and checked as before a purchase. The sums are by model and by campaign, and against what is left of
    each budget. A provider that tells prices for nothing (WaveSpeed) is asked for them, and what it says otherwise than the
    catalog is shown; where it cannot be reached, that is said. Exit status 1 where a shot is not ready.
    """
    if shots and all_shots:
        raise WrongUseError("--all means every shot, and --shot names some: leave one of them out")
    with open_installation() as opened:
        found = opened.discover()
        check_keys(shots, {shot.key for shot in found})
        chosen = [shot for shot in found if not shots or shot.key in shots]
        made = quotation_of(opened, chosen)
        simulated = opened.simulated
        if not chosen and not as_json:
            say(f"there are no shots: put images into inbox/ of {opened.bucket.url}")
            return ALL_MADE
    from wan_pipeline.cli import quoting

    if as_json:
        quoting.print_as_json(made, simulated=simulated)
    else:
        quoting.print_for_eyes(made, simulated=simulated)
    return FAILED if any(quote.problem for quote in made.quotes) else ALL_MADE


def quotation_of(opened: OpenInstallation, shots: Sequence[Shot]) -> Quotation:
    """Runs the engine over these shots as far as the quote, and puts everything together."""
    from wan_pipeline.generation.events import Stage
    from wan_pipeline.generation.foretelling import QuoteNotes
    from wan_pipeline.generation.quotation import quotation
    from wan_pipeline.spend.records import ClaimOptions

    notes = QuoteNotes()
    with opened.start(shots, Stage.QUOTE, ClaimOptions(), None) as batch:
        for event in batch.events():
            notes.note(event)
    return quotation(notes, opened.parts(), opened.limits_of, datetime.now(UTC))
