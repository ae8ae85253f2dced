"""Output: tables and JSON on stdout, everything about the way there on stderr.

On a terminal tables have its width; elsewhere they have the width they need, so that a line is a row for grep.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from wan_pipeline.money import Money

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDE = 400


def console(file: IO[str] | None = None) -> Console:
    """A rich console on stdout, or on `file`."""
    from rich.console import Console

    stream = sys.stdout if file is None else file
    if stream.isatty():
        return Console(file=stream, highlight=False)
    return Console(file=stream, highlight=False, width=_WIDE, no_color=True)


def eye_width() -> int:
    """How wide running text may be: as the terminal, elsewhere 80 columns."""
    return max(40, min(shutil.get_terminal_size((80, 24)).columns, 100)) if sys.stdout.isatty() else 80


def say(text: str) -> None:
    """One line to the person, on stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def print_json(value: Any) -> None:
    """Data for a program, alone on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class Column:
    """A table's column; numbers stand on the right. What is `spare` is left out where a terminal is too narrow."""

    title: str
    right: bool = False
    spare: bool = False


def print_table(
    columns: Sequence[Column], rows: Iterable[Sequence[str]], *, total: Sequence[str] | None = None
) -> None:
    """The rows on stdout, a line of totals under them where given."""
    target = console()
    cells = [list(row) for row in rows]
    shown = list(range(len(columns)))
    if target.is_terminal:  # a narrower title; elsewhere a table has one line of titles
        columns = [replace(column, title=column.title.replace(" USD", "\nUSD")) for column in columns]
    table = _table(columns, cells, total, shown)
    if not target.is_terminal:
        with target.capture() as captured:
            target.print(table)
        lines = [line.rstrip() for line in captured.get().splitlines()]
        sys.stdout.write("\n".join(line for line in lines if line) + "\n")
        return
    for spare in [index for index, column in enumerate(columns) if column.spare]:
        if target.measure(table, options=target.options.update(max_width=_WIDE)).maximum <= target.width:
            break
        shown.remove(spare)
        table = _table(columns, cells, total, shown)
    too_wide = target.measure(table, options=target.options.update(max_width=_WIDE)).maximum - target.width
    if too_wide > 0:
        _fold_paths(cells, [index for index in shown if not columns[index].right], too_wide)
        table = _table(columns, cells, total, shown)
    target.print(table)


def _fold_paths(cells: list[list[str]], indexes: Sequence[int], too_wide: int) -> None:
    """Break models, shots and files after a slash, and not within a name, as far as that makes the table narrow enough."""

    def width(index: int) -> int:
        return max((len(line) for row in cells for line in row[index].split("\n")), default=0)

    enough = sum(map(width, indexes)) - too_wide
    while sum(map(width, indexes)) > enough:  # each time the widest that can still be folded
        for index in sorted(indexes, key=width, reverse=True):
            folded = [_folded(row[index], width(index) - 1) for row in cells]
            if None not in folded:
                for row, text in zip(cells, folded, strict=True):
                    row[index] = text or ""
                break
        else:
            return


def _folded(text: str, width: int) -> str | None:
    """The text in lines of at most `width`, broken after slashes; None where a name is longer than that."""
    lines = [""]
    for name in re.findall(r"[^/]*/|[^/]+", text.replace("\n", "")):
        if len(name) > width:
            return None
        if len(lines[-1]) + len(name) > width:
            lines.append(name)
        else:
            lines[-1] += name
    return "\n".join(lines)


def _table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], total: Sequence[str] | None, shown: Sequence[int]
) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for index in shown:
        column = columns[index]
        table.add_column(column.title, justify="right" if column.right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[index]) for index in shown))
    if total is not None:
        table.add_section()
        table.add_row(*(Text(total[index], style="bold") for index in shown))
    return table


def usd(amount: Money | None) -> str:
    """For JSON and for eyes that must see every digit: a plain decimal; empty where nobody knows."""
    return "" if amount is None else str(amount)


def json_usd(amount: Money | None) -> str | None:
    """For JSON: a decimal string; null where nobody knows."""
    return None if amount is None else str(amount)


def json_time(moment: datetime | None) -> str | None:
    """ISO 8601, UTC."""
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def seconds(value: float | None) -> str:
    """`2`, `5.04`; empty for none."""
    if value is None:
        return ""
    return f"{Decimal(str(value)).quantize(Decimal('0.01'), rounding=ROUND_HALF_EVEN):f}".rstrip("0").rstrip(".")


def short_uri(uri: str | None) -> str:
    """A file's path relative to here where it is below, so that it can be read and opened; other URIs as they are."""
    if uri is None or not uri.startswith("file://"):
        return uri or ""
    path = Path(unquote(urlsplit(uri).path))
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def video_file(uri: str | None) -> str:
    """For a table's cell: on a terminal the key in the bucket, elsewhere the path or URI that a script can use."""
    if uri and sys.stdout.isatty() and "/videos/" in uri:
        return "videos/" + unquote(uri.rpartition("/videos/")[2])
    return short_uri(uri)


def ago(moment: datetime, now: datetime) -> str:
    """`12 minutes ago`."""
    seconds = max(0, int((now - moment).total_seconds()))
    for size, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return f"{seconds // size} {name}s ago"
    return "1 second ago" if seconds == 1 else f"{seconds} seconds ago"
