"""The group of commands, and what becomes of errors: an exit status and a few plain words.

Exit statuses: 0 all made · 1 a shot failed · 2 wrong use or configuration · 70 an error nobody foresaw · 130 Ctrl-C ·
143 SIGTERM.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import click

from wan_pipeline.cli.exits import FAILED, INTERRUPTED, UNFORESEEN, WRONG_USE, WrongUseError

# In the order of a newcomer's way; each is the file of that name in this package.
COMMANDS = (
    "demo",
    "dev",
    "run",
    "quote",
    "compare",
    "jobs",
    "resolve",
    "report",
    "reconcile",
    "export",
    "alerts",
    "retire",
    "doctor",
    "simulator",
    "receiver",
)


class Commands(click.Group):
    """Imports a command's file when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"wan_pipeline.cli.{cmd_name}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(COMMANDS)}."
            raise click.UsageError(f"there is no command {name!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Settings are environment variables (WAN_MODE, WAN_HOME, WAN_BUCKET_URL, …): `wan-pipeline doctor` shows "
    "them, docs/operating.md explains them. Without any, everything is simulated and nothing is bought.",
)
@click.version_option(package_name="wan-pipeline", prog_name="wan-pipeline")
@click.option("--debug", is_flag=True, help="Show the traceback of an error, and Dagster's warnings.")
def commands(debug: bool) -> None:
    """Images in a bucket become videos, bought from several providers, each cent accounted for.

    \b
    Begin with:
      wan-pipeline demo      eight sample videos, made by simulated providers: nothing is bought
      wan-pipeline dev       Dagster's UI over the same
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The entry point: runs the command and leaves with its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # After the command's name too: that is where one remembers it.
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    if not debug and not sys.warnoptions:
        warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    status = run(given, debug=debug)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = _reader_gone()
    sys.exit(status)


def run(arguments: list[str], *, debug: bool = False) -> int:
    """The command's exit status; errors are told on stderr."""
    try:
        result: Any = commands.main(arguments, prog_name="wan-pipeline", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        return WRONG_USE
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        return _reader_gone()
    except Exception as error:  # noqa: BLE001 - the last floor: every error becomes words and an exit status
        known = _known(error)
        if debug:
            traceback.print_exc()
        if known is not None:
            _say(known)
            return WRONG_USE
        if not debug:
            _say(f"{type(error).__name__}: {error}\nNobody foresaw this error; its traceback is in {_written(error)}")
        return UNFORESEEN


def _known(error: Exception) -> str | None:
    """The words for an error that its reader can put right."""
    from wan_pipeline.problems import ConfigurationError, ProblemsError

    if isinstance(error, (ConfigurationError, ProblemsError, WrongUseError)):
        return str(error)
    # An error of the bucket can only come from a command that has imported the bucket.
    bucket = sys.modules.get("wan_pipeline.bucket.base")
    if bucket is not None and isinstance(error, bucket.BucketError):
        return f"WAN_BUCKET_URL: {error}"
    return None


def _written(error: Exception) -> Path:
    """The traceback in a file."""
    text = "".join(traceback.format_exception(error))
    name = f"error-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.txt"
    for folder in (Path(os.environ.get("WAN_HOME") or ".wan") / "errors", Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        except OSError:
            continue
        return folder / name
    sys.stderr.write(text)
    return Path("the lines above")


def _say(text: str) -> None:
    sys.stderr.write(f"wan-pipeline: {text}\n")


def _reader_gone() -> int:
    """`wan-pipeline jobs | head`: whoever read our output has enough of it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED
