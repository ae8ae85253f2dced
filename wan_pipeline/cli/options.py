"""Options that several commands have."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar

import click

from wan_pipeline.cli.exits import WrongUseError

F = TypeVar("F", bound=Callable[..., Any])


def json_option(command: F) -> F:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print data as JSON on stdout, nothing else there.")(
        command
    )


def shots_option(help_text: str) -> Callable[[F], F]:
    """`--shot KEY`, any number of times."""
    return click.option("--shot", "shots", multiple=True, metavar="KEY", help=help_text)


def example(*lines: str) -> str:
    """An epilog with examples, as they are written."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def check_keys(asked: Iterable[str], known: Collection[str]) -> None:
    """Raises WrongUseError for shots that there are not, naming those that are spelled nearly so."""
    lines: list[str] = []
    for key in asked:
        if key in known:
            continue
        near = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
        if not near:
            near = [other for other in sorted(known) if other.rpartition("/")[2] == key.rpartition("/")[2]][:3]
        hint = f"nearly so: {', '.join(near)}" if near else "a shot's key is its path below inbox/ without the ending"
        lines.append(f"there is no shot {key!r} in the bucket; {hint}")
    if lines:
        raise WrongUseError("; ".join(lines))
