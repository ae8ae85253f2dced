"""`wan-pipeline run`: list the bucket, make what is missing, wait."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from wan_pipeline.cli.console import print_json, say
from wan_pipeline.cli.exits import WrongUseError
from wan_pipeline.cli.options import example, json_option, shots_option
from wan_pipeline.settings import Settings

if TYPE_CHECKING:
    from wan_pipeline.cli.making import Made


@click.command(
    epilog=example(
        "wan-pipeline run",
        "wan-pipeline run --shot spring/cat --shot spring/dog",
        "wan-pipeline run --new-take --shot spring/cat      buys this very request once more",
    )
)
@shots_option("Only this shot, and also if an unbilled failure of it stands. May be repeated.")
@click.option("--retry-failed", is_flag=True, help="Try again what has failed without being billed.")
@click.option("--new-take", is_flag=True, help="Buy the shots named by --shot again, on purpose.")
@click.option("--outdated", is_flag=True, help="Make anew the shots whose _defaults.yaml has changed since.")
@json_option
def command(shots: tuple[str, ...], retry_failed: bool, new_take: bool, outdated: bool, as_json: bool) -> int:
    """Make the videos that are missing, and wait for them.

    What is bought already is not bought again, what is in flight is joined or collected, and what became of lost answers
    is looked for. Exit status: 0 all made, or put off until there is room in a budget; 1 a shot failed, now or earlier;
    2 wrong use or configuration; 130 stopped by Ctrl-C: what was in flight is collected by the next run.
    """
    if new_take and not shots:
        raise WrongUseError("--new-take buys again what is there: name the shots, --new-take --shot KEY")
    settings = Settings.load()  # a wrong one is told before anything slow is imported
    from wan_pipeline.cli.making import Asked, make
    from wan_pipeline.cli.opened import open_installation
    from wan_pipeline.spend.records import ClaimOptions

    with open_installation() as opened:
        options = ClaimOptions(retry_failed=retry_failed, new_take=new_take, outdated=outdated)
        made = make(opened, Asked(shots, options, settings.settle_seconds))
        return _tell(made, settings, as_json=as_json, new_take=new_take)


def _tell(made: Made, settings: Settings, *, as_json: bool, new_take: bool) -> int:
    from wan_pipeline.cli.results import exit_status, print_rows, totals
    from wan_pipeline.generation.events import Verdict

    status = made.stopped_by or exit_status(made.rows)
    if as_json:
        simulated = settings.mode == "demo"
        shots = [row.as_json() for row in made.rows]
        print_json({"simulated": simulated, "exit_status": status, "totals": totals(made.rows), "shots": shots})
        return status
    shown = [row for row in made.rows if row.verdict is not Verdict.REUSED or row.reused_from]
    if shown:
        print_rows(shown)
    _summarise(made, len(made.rows) - len(shown), settings, new_take=new_take)
    return status


def _summarise(made: Made, there: int, settings: Settings, *, new_take: bool) -> None:
    from wan_pipeline.cli.results import totals
    from wan_pipeline.generation.events import Verdict

    if not made.rows:
        say(f"there are no shots: put images into inbox/ of {settings.bucket_url}")
        return
    if there == len(made.rows):
        print(f"Nothing to do: {_videos_are(there)} there already.")
        return
    counts = [f"{count} {verdict}" for verdict, count in Counter(row.verdict for row in made.rows).items()]
    if there:
        print(f"{_videos_are(there)} there already.")
    money = " (simulated: nothing was bought)" if settings.mode == "demo" else ""
    print(f"{', '.join(sorted(counts))}; billed in this run: {totals(made.rows)['billed_usd']} USD{money}")
    deferred = [row for row in made.rows if row.verdict is Verdict.DEFERRED]
    if deferred:
        untils = [row.deferred.until for row in deferred if row.deferred is not None and row.deferred.until is not None]
        when = f", from {min(untils):%Y-%m-%d %H:%M} UTC on" if untils else ""
        print(
            f"Deferred: a new take is not asked for again by itself; say this again once there is room{when}."
            if new_take
            else f"Deferred: made by themselves once there is room{when}, the oldest first, while `wan-pipeline dev` is up;"
            " or by saying this again."
        )
    if any(row.verdict is Verdict.OUTDATED for row in made.rows):
        print("Outdated: a _defaults.yaml has changed. `wan-pipeline run --outdated` makes those anew.")


def _videos_are(number: int) -> str:
    return "1 video is" if number == 1 else f"{number} videos are"
