"""`wan-pipeline report --sql`: the answer to a question in SQL, as a table, as JSON, or as CSV.

What belongs here: how an answer reads. What does not: what may be asked (spend/asking.py).
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice
from math import isfinite
from typing import Any

from wan_pipeline.cli.console import Column, json_time, print_table, say
from wan_pipeline.cli.exits import WrongUseError
from wan_pipeline.cli.opened import open_ledger
from wan_pipeline.problems import printable
from wan_pipeline.settings import Settings

_TABLE_ROWS = 200
_AT_ONCE = 1000


def answer_sql(settings: Settings, sql: str, *, as_json: bool, as_csv: bool) -> None:
    """Asks the ledger, and prints the answer on stdout. Raises WrongUseError for what is refused, or cannot be answered."""
    from wan_pipeline.spend.asking import AskingError, asked

    if as_json and as_csv:
        raise WrongUseError("--json or --csv: only one of them")
    with open_ledger(settings):
        pass  # it is there, and has the tables and views of this version
    try:
        with asked(settings.ledger_url, sql) as answer:
            if as_json:
                _print_json(answer.columns, answer.rows)
            elif as_csv:
                _print_csv(answer.columns, answer.rows)
            else:
                _print_rows(answer.columns, answer.rows)
    except AskingError as error:
        raise WrongUseError(f"--sql: {error}") from None


def _print_json(columns: Sequence[str], rows: Iterator[Sequence[Any]]) -> None:
    """An array of objects. Amounts are as in the column: whole nano-dollars, or decimal text."""
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise WrongUseError(f"--sql: two columns are called {twice[0]}: name one of them by AS")
    first = True
    while some := list(islice(rows, _AT_ONCE)):
        objects = [dict(zip(columns, map(_json_value, row), strict=True)) for row in some]
        text = ",\n".join(json.dumps(each, ensure_ascii=False) for each in objects)
        sys.stdout.write(("[\n" if first else ",\n") + text)
        first = False
    sys.stdout.write("[]\n" if first else "\n]\n")


def _print_csv(columns: Sequence[str], rows: Iterator[Sequence[Any]]) -> None:
    """A line of names, then a line for each row; nothing where a value is NULL."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_text(value) for value in row])


def _print_rows(columns: Sequence[str], rows: Iterator[Sequence[Any]]) -> None:
    shown = list(islice(rows, _TABLE_ROWS + 1))
    if not shown:
        say("no rows")
        return
    more = len(shown) > _TABLE_ROWS
    numbers = [
        all(isinstance(row[index], (int, Decimal, float, type(None))) for row in shown) for index in range(len(columns))
    ]
    titles = [Column(name, right=right) for name, right in zip(columns, numbers, strict=True)]
    print_table(titles, [[_shown(value) for value in row] for row in shown[:_TABLE_ROWS]])
    if more:
        say(f"the first {_TABLE_ROWS} rows; --csv or --json gives all of them")


def _shown(value: Any) -> str:
    """For a terminal: what providers have said can hold colour codes, which are shown and not obeyed."""
    return "\n".join(printable(line) for line in _text(value).split("\n"))


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and not isfinite(value):
        return str(value)  # JSON has no word for it
    if value is None or isinstance(value, (bool, int, float, str, list, dict)):
        return value
    return _text(value)


def _text(value: Any) -> str:
    """As a person and a program read it: moments in ISO 8601 UTC, decimals in full."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return json_time(value.astimezone(UTC)) or "" if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
