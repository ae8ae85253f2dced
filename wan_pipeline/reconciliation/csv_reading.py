"""An invoice's rows as lines, by its mapping. A file with a mistake in it is refused whole, with all its mistakes.

What belongs here: text to values, and mistakes told with file, line, column, value and remedy. What does not: which files
there are (invoices.py), and what their lines mean for the ledger.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from fractions import Fraction
from typing import TypeVar

from wan_pipeline.money import NANOS_PER_USD, Money
from wan_pipeline.problems import Problem, ProblemsError
from wan_pipeline.reconciliation.mapping import Mapping
from wan_pipeline.reconciliation.sides import Line
from wan_pipeline.spend.audit_records import LineKind

MAX_SHOWN = 20
T = TypeVar("T")

_LONGEST_CELL = 100_000
_MOST = 10**9  # dollars on a line: nano-dollars of more are no number that a database keeps
_PLAIN = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,3})?")
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class _WrongError(ValueError):
    """What is wrong with a cell, and the remedy."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def read_lines(key: str, data: bytes, mapping: Mapping) -> list[Line]:
    """The file's lines. Raises ProblemsError: the first MAX_SHOWN mistakes, and how many there are in all."""
    text = _decoded(key, data, mapping.encoding)
    titles, rows = _rows(key, text, mapping)
    reader = _Reader(key, mapping, titles)
    for number, cells in rows:
        reader.read(number, cells)
    reader.raise_if_wrong()
    return _numbered(reader.lines)


class _Reader:
    def __init__(self, key: str, mapping: Mapping, titles: Sequence[str]) -> None:
        self._key, self._mapping, self._titles = key, mapping, titles
        self._places: MappingOf[str, int] = {title: place for place, title in reversed(list(enumerate(titles)))}
        self._words = mapping.kinds.by_word() if mapping.kinds else {}
        self._problems: list[Problem] = []
        self._wrong = 0
        self.lines: list[Line] = []

    def read(self, number: int, cells: Sequence[str]) -> None:
        if len(cells) != len(self._titles):
            message = f"the line has {len(cells)} fields, and the titles are {len(self._titles)}"
            self._tell(number, "", "", message, "Is the delimiter right, or a quote missing? Export the file anew")
            return
        columns, before = self._mapping.columns, self._wrong
        amount = self._cell(number, cells, columns.amount, self._amount)
        dated = self._cell(number, cells, columns.date, self._date)
        said = self._cell(number, cells, columns.kind, self._kind) if columns.kind else None
        if columns.currency:
            self._cell(number, cells, columns.currency, _is_usd)
        if self._wrong > before or amount is None or dated is None:
            return
        kind = said or (LineKind.REFUND if amount.nanos < 0 else LineKind.CHARGE)
        if said is LineKind.CHARGE and amount.nanos < 0:
            remedy = "Write `amounts: {charges_are: negative}` if it charges so, or map this kind to refund"
            self._tell(number, columns.amount, self._at(cells, columns.amount), "a charge of less than nothing", remedy)
            return
        at, until = dated
        line_id = (
            self._at(cells, columns.line_id) if columns.line_id else ""
        ) or f"{self._key.rpartition('/')[2]} line {number}"
        self.lines.append(
            Line(
                line_id=line_id,
                place=f"{self._key}, line {number}",
                kind=kind,
                reference=(self._at(cells, columns.reference) if columns.reference else "") or None,
                amount=Money(abs(amount.nanos)),
                at=at,
                until=until,
                model=(self._at(cells, columns.model) if columns.model else "") or None,
                detail=self._at(cells, columns.kind) if columns.kind and kind is LineKind.OTHER else "",
            )
        )

    def raise_if_wrong(self) -> None:
        if self._wrong > len(self._problems):
            message = f"there are {self._wrong:,} mistakes in all; these are the first {MAX_SHOWN}"
            self._problems.append(
                Problem(self._key, "", "", message, "Nothing of this file counts until all are mended")
            )
        if self._problems:
            raise ProblemsError(self._problems)

    def _at(self, cells: Sequence[str], title: str) -> str:
        return cells[self._places[title]].strip()

    def _cell(self, number: int, cells: Sequence[str], title: str, read: Callable[[str], T]) -> T | None:
        text = self._at(cells, title)
        try:
            return read(text)
        except _WrongError as error:
            self._tell(number, title, text, str(error), error.remedy)
            return None

    def _amount(self, text: str) -> Money:
        """What is billed by it: below zero for what is given back."""
        how = self._mapping.amounts
        plain = text.replace(",", ".") if how.decimal_comma and "." not in text else text
        if not _PLAIN.fullmatch(plain) or (how.decimal_comma and "." in text):
            sign = "1234,50" if how.decimal_comma else "1234.50"
            comma = "" if how.decimal_comma or "," not in text else ", or write `amounts: {decimal_comma: true}`"
            raise _WrongError("this is not an amount", f"Write it as {sign}, without currency or thousands{comma}")
        try:
            nanos = Fraction(Decimal(plain)) * Fraction(how.rate) * NANOS_PER_USD
        except (InvalidOperation, ValueError, OverflowError):
            raise _WrongError("this is not an amount", "Write it as 1234.50") from None
        if nanos.denominator != 1:
            remedy = "Is the unit or its rate right? Export amounts that are not divided"
            raise _WrongError("it is finer than a nano-dollar", remedy)
        if abs(nanos) > _MOST * NANOS_PER_USD:
            raise _WrongError("no invoice has that much on one line", "Is the column the right one?")
        return Money(int(nanos) if how.charges_are == "positive" else -int(nanos))

    def _date(self, text: str) -> tuple[datetime, datetime | None]:
        """The first moment that it can mean, and for a date alone the first one after it."""
        how = self._mapping.dates
        try:
            if how.format in ("unix", "unix_ms"):
                if not _PLAIN.fullmatch(text):
                    raise ValueError
                seconds = Fraction(Decimal(text)) / (1 if how.format == "unix" else 1000)
                at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(seconds * 1_000_000))
            elif how.format == "iso":
                at = datetime.fromisoformat(text)
            else:
                at = datetime.strptime(text, how.format)  # noqa: DTZ007 - the zone follows
            alone = how.is_date_alone or (how.format == "iso" and _is_date_alone(text))
            if at.tzinfo is None:
                at = at.replace(tzinfo=how.zone)
            until = None
            if alone:
                until = datetime.combine(at.date() + timedelta(days=1), time(), at.tzinfo).astimezone(UTC)
            at = at.astimezone(UTC)
        except (ValueError, OverflowError, InvalidOperation):
            example = "2026-11-20T23:59:59Z" if how.format == "iso" else f"the format {how.format!r} of the mapping"
            raise _WrongError("this is not a date", f"Write it as {example}, or set `dates: {{format: …}}`") from None
        if not _EARLIEST <= at < _LATEST:
            raise _WrongError("no invoice is of that time", "Is `dates: {format: …}` right: unix or unix_ms?")
        return at, until

    def _kind(self, text: str) -> LineKind:
        kind = self._words.get(text.casefold())
        if kind is None:
            known = ", ".join(sorted(self._words)) or "none"
            raise _WrongError(
                "the mapping does not say what this kind means", f"Add it to its `kinds:`; it knows {known}"
            )
        return LineKind(kind)

    def _tell(self, number: int, column: str, value: str, message: str, remedy: str) -> None:
        self._wrong += 1
        if len(self._problems) < MAX_SHOWN:
            where = ", ".join(part for part in (f"line {number}", f"column {column}" if column else "") if part)
            self._problems.append(Problem(self._key, where, value, message, remedy))


def _decoded(key: str, data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
        text.encode()  # some encodings have halves of characters, which no file or database takes
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        line = data.count(b"\n", 0, start) + 1
        found = data[start : start + 4].hex(" ")
        remedy = "Write the right `encoding:` into the mapping, e.g. windows-1252; or export the file anew"
        problem = Problem(key, f"line {line}", f"bytes {found}", f"this is not {encoding} text", remedy)
        raise ProblemsError([problem]) from None
    if "\x00" in text:
        line = text.count("\n", 0, text.index("\x00")) + 1
        remedy = "Is it a CSV file, and its encoding right? Export it anew"
        raise ProblemsError([Problem(key, f"line {line}", "", "a NUL character stands here", remedy)])
    return text.removeprefix("\ufeff")


def _rows(key: str, text: str, mapping: Mapping) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The titles, and each row with the number of its line. Raises ProblemsError."""
    csv.field_size_limit(_LONGEST_CELL)
    lines = io.StringIO(text, newline="")
    for _ in range(mapping.skip_rows):
        lines.readline()
    reader = csv.reader(lines, delimiter=mapping.delimiter, strict=True)
    rows: list[tuple[int, list[str]]] = []
    begins = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((mapping.skip_rows + begins, cells))
            begins = reader.line_num + 1
    except csv.Error as error:
        remedy = "Is a quote not closed, or the file cut off? Export it anew"
        where = f"line {mapping.skip_rows + max(begins, reader.line_num)}"
        raise ProblemsError([Problem(key, where, "", f"this is not CSV: {error}", remedy)]) from None
    if not rows:
        remedy = "Export it anew, or correct `skip_rows:`"
        raise ProblemsError([Problem(key, "", "", "the file has no line of titles", remedy)])
    (number, first), rest = rows[0], rows[1:]
    titles = [title.strip() for title in first]
    problems = _wrong_titles(key, number, titles, mapping)
    if problems:
        raise ProblemsError(problems)
    return titles, rest[: max(0, len(rest) - mapping.skip_last_rows)]


def _wrong_titles(key: str, number: int, titles: Sequence[str], mapping: Mapping) -> list[Problem]:
    wanted: dict[str, str] = {name: title for name, title in mapping.columns if title is not None}
    counts = Counter(titles)
    problems: list[Problem] = []
    for name, title in wanted.items():
        if counts[title] == 1:
            continue
        near = get_close_matches(title, titles, n=1, cutoff=0.6)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        if counts[title]:
            message, remedy = "two columns have this title", "Rename one of them in the file"
        else:
            message = f"no column has this title, which the mapping's columns.{name} names"
            remedy = f"{hint}There are: {', '.join(titles)[:300]}. Or correct `delimiter:` or `skip_rows:`"
        problems.append(Problem(key, f"line {number}", title, message, remedy))
    return problems


def _numbered(lines: Sequence[Line]) -> list[Line]:
    """Lines with the same id are told apart by how many came before."""
    seen: Counter[str] = Counter()
    numbered: list[Line] = []
    for line in lines:
        seen[line.line_id] += 1
        count = seen[line.line_id]
        numbered.append(line if count == 1 else replace(line, occurrence=count))
    return numbered


def _is_date_alone(text: str) -> bool:
    """Is it a date of ISO 8601 without a time, however written: 2026-11-20, 20261120, 2026-W47-5?"""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_usd(text: str) -> str:
    if text.casefold() not in ("usd", "us$", "$"):
        raise _WrongError("only US dollars are compared", "Have the invoice made in USD")
    return text
