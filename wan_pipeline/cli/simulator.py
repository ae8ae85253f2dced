"""`wan-pipeline simulator`: the three providers, simulated, as an HTTP server; and its books."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from wan_pipeline.cli.console import print_json, say
from wan_pipeline.cli.exits import WrongUseError
from wan_pipeline.cli.options import example
from wan_pipeline.settings import Settings

_VARIABLES = ("SHORTAPI", "AIMLAPI", "WAVESPEED")
_KEYS = ("SHORTAPI_KEY", "AIMLAPI_KEY", "WAVESPEED_API_KEY")


@click.command(
    short_help="Serve the three providers, simulated.",
    epilog=example(
        "wan-pipeline simulator",
        "wan-pipeline simulator --latency 30 --max-in-flight 5 --key secret",
        "wan-pipeline simulator --books",
    )
    + "\n\n  Each option can also be set as WAN_SIMULATOR_<OPTION>, e.g. WAN_SIMULATOR_LATENCY=30.",
)
@click.option("--host", default="127.0.0.1", envvar="WAN_SIMULATOR_HOST", show_default=True)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8060,
    envvar="WAN_SIMULATOR_PORT",
    show_default=True,
    help="0: a free one.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="WAN_SIMULATOR_FOLDER",
    help="Its books and videos. Default: $WAN_HOME/simulator, demo mode's.",
)
@click.option(
    "--latency",
    type=click.FloatRange(0),
    default=2.0,
    envvar="WAN_SIMULATOR_LATENCY",
    show_default=True,
    help="Seconds that a job takes.",
)
@click.option(
    "--jitter",
    type=click.FloatRange(0, 1),
    default=0.3,
    envvar="WAN_SIMULATOR_JITTER",
    show_default=True,
    help="Give or take this share of it.",
)
@click.option(
    "--max-in-flight",
    type=click.IntRange(1),
    envvar="WAN_SIMULATOR_MAX_IN_FLIGHT",
    help="Jobs at once for each provider; more get a 429. Default: no limit.",
)
@click.option(
    "--render",
    type=click.Choice(["each", "shared"]),
    default="each",
    envvar="WAN_SIMULATOR_RENDER",
    show_default=True,
    help="shared: one video for each size and length, for measurements.",
)
@click.option("--seed", type=int, default=0, envvar="WAN_SIMULATOR_SEED", show_default=True, help="Of the latencies.")
@click.option(
    "--key",
    "keys",
    multiple=True,
    envvar="WAN_SIMULATOR_KEY",
    help="An API key it takes. Default: any. May be repeated.",
)
@click.option(
    "--result-ttl",
    type=click.FloatRange(0, min_open=True),
    envvar="WAN_SIMULATOR_RESULT_TTL",
    help="Seconds that a result can be fetched. Default: a day, and seven at WaveSpeed.",
)
@click.option(
    "--billing-lag",
    type=click.FloatRange(0),
    default=0.0,
    envvar="WAN_SIMULATOR_BILLING_LAG",
    show_default=True,
    help="Seconds until an account shows a charge or refund.",
)
@click.option(
    "--list-inputs/--no-list-inputs",
    default=True,
    envvar="WAN_SIMULATOR_LIST_INPUTS",
    show_default=True,
    help="Does WaveSpeed's list of predictions tell their inputs?",
)
@click.option(
    "--opening-balance",
    metavar="USD",
    envvar="WAN_SIMULATOR_OPENING_BALANCE",
    help="What each account begins with and cannot overdraw. Default: no end of it.",
)
@click.option("--books", is_flag=True, help="Print its books as JSON, and leave.")
def command(
    host: str,
    port: int,
    folder: Path | None,
    latency: float,
    jitter: float,
    max_in_flight: int | None,
    render: str,
    seed: int,
    keys: tuple[str, ...],
    result_ttl: float | None,
    billing_lag: float,
    list_inputs: bool,
    opening_balance: str | None,
    books: bool,
) -> None:
    """Serve ShortAPI, AI/ML API and WaveSpeed, simulated, until Ctrl-C.

    It renders real videos and keeps books of what it has charged, which outlive it. Words in a prompt make it refuse,
    fail, or give a result file that is no good: see docs/operating.md.
    """
    folder = folder or Settings.load().home / "simulator"
    if books:
        _print_books(folder)
        return
    from wan_pipeline.simulator.config import SimulatorConfig
    from wan_pipeline.simulator.server import serve

    try:
        config = SimulatorConfig(
            folder=folder,
            latency_s=latency,
            jitter=jitter,
            max_in_flight=max_in_flight,
            render="shared" if render == "shared" else "each",
            seed=seed,
            keys=frozenset(keys) or None,
            result_ttl_s=result_ttl,
            billing_lag_s=billing_lag,
            list_inputs=list_inputs,
            opening_balance_usd=opening_balance,
        )
    except ValueError as error:
        raise WrongUseError(f"{error}: write e.g. --opening-balance 25.50") from error
    try:
        serve(config, host, port, log=lambda url: _told(url, folder, keys))
    except KeyboardInterrupt:
        return  # the usual way to end it
    except OSError as error:
        raise WrongUseError(
            f"{host}:{port} cannot be served ({error.strerror or error}): choose another --port, or 0 for a free one"
        ) from error


def _told(url: str, folder: Path, keys: tuple[str, ...]) -> None:
    key = keys[0] if keys else "simulated"
    lines = [
        f"# The simulated providers answer at {url}; their books are in {folder}. Ctrl-C ends them.",
        "# In the shell of the pipeline:",
        "export WAN_MODE=live",
        *(f"export {name}_BASE_URL={url}" for name in _VARIABLES),
        *(f"export {name}={key}" for name in _KEYS),
        "# A bucket in a folder also needs WAN_PUBLIC_BASE_URL, where the simulator can fetch its files.",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _print_books(folder: Path) -> None:
    from wan_pipeline.simulator.app import books_json
    from wan_pipeline.simulator.books import Books

    if not (folder / "books.sqlite").exists():
        say(f"no simulator has kept books in {folder} yet")
    print_json(books_json(Books(folder)))
