"""The mapping file beside an invoice: which of its columns says what, and how it is written. docs/reconciliation.md.

What belongs here: the file's schema, and mistakes in it told with file, line, value and remedy. What does not: reading the
invoice by it (csv_reading.py), finding both in the bucket (invoices.py).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from wan_pipeline.problems import Problem, ProblemsError
from wan_pipeline.shots.yaml_reading import Document, UnreadableYamlError, read_yaml

ENDING = ".mapping.yaml"
_REMEDY = "See docs/reconciliation.md"
_FARTHEST = 30  # powers of ten between a unit and a dollar
_YEARS = range(2000, 2200)  # of which there are invoices


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Columns(_Strict):
    """The titles of the columns. Without a `line_id` file and line are its id; without a `reference` nothing can be tied to
    a job."""

    line_id: str | None = None
    reference: str | None = None
    amount: str
    date: str
    kind: str | None = None
    model: str | None = None
    currency: str | None = None


class Amounts(_Strict):
    """How amounts are written. `usd_per_unit`: of a unit that is no dollar, such as a provider's credit."""

    unit: Literal["usd", "credits"] = "usd"
    usd_per_unit: Decimal | None = None
    charges_are: Literal["positive", "negative"] = "positive"
    decimal_comma: bool = False

    @field_validator("usd_per_unit", mode="before")
    @classmethod
    def _exact(cls, value: object) -> object:
        """As a text: 0.0000005 as a bare YAML number would be a float, and money is none."""
        if value is None or isinstance(value, Decimal):
            return value
        try:
            rate = Decimal(value.strip()) if isinstance(value, str) else None
        except InvalidOperation:
            rate = None
        if rate is None or not rate.is_finite() or rate <= 0 or abs(rate.adjusted()) > _FARTHEST:
            raise ValueError('write an amount above 0 in quotes, e.g. "0.0000005"')
        return rate

    @model_validator(mode="after")
    def _rate_where_there_is_one(self) -> Self:
        if (self.unit == "credits") != (self.usd_per_unit is not None):
            raise ValueError("usd_per_unit belongs to `unit: credits`, and to nothing else")
        return self

    @property
    def rate(self) -> Decimal:
        """Dollars for one unit."""
        return self.usd_per_unit or Decimal(1)


class Dates(_Strict):
    """`format`: iso, unix (seconds), unix_ms, or as strptime has it. `time_zone`: of a date that names none."""

    format: str = "iso"
    time_zone: str = "UTC"

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("there is no such time zone: write e.g. UTC or Asia/Singapore") from None
        return name

    @field_validator("format")
    @classmethod
    def _known_format(cls, text: str) -> str:
        if text not in ("iso", "unix", "unix_ms") and "%" not in text:
            raise ValueError("write iso, unix, unix_ms, or a format such as %d/%m/%Y %H:%M:%S")
        if "%" in text:
            try:
                datetime.strptime(datetime(2026, 11, 20, tzinfo=UTC).strftime(text), text)  # noqa: DTZ007 - only tried
            except (ValueError, re.error):
                raise ValueError("no date can be read by it: write e.g. %d/%m/%Y %H:%M:%S, each part once") from None
        return text

    @property
    def is_date_alone(self) -> bool:
        """Does the format name no time of day?"""
        return "%" in self.format and not any(code in self.format for code in ("%H", "%I", "%c", "%X", "%s"))

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)


def _words(value: object) -> object:
    """One word is a list of one."""
    return [value] if isinstance(value, (str, int)) and not isinstance(value, bool) else value


Words = Annotated[tuple[str, ...], BeforeValidator(lambda value: _as_texts(_words(value)))]


def _as_texts(value: object) -> object:
    return tuple(str(each) for each in value) if isinstance(value, list) else value


class Kinds(_Strict):
    """Which values of the column `kind` mean what; capitals do not matter."""

    charge: Words = ()
    refund: Words = ()
    topup: Words = ()
    other: Words = ()

    @model_validator(mode="after")
    def _each_word_once(self) -> Self:
        words = Counter(
            word for kind in type(self).model_fields for word in {w.casefold() for w in getattr(self, kind)}
        )
        if twice := [word for word, count in words.items() if count > 1]:
            raise ValueError(f"{twice[0]!r} is said to mean two kinds: leave it in one of them")
        return self

    def by_word(self) -> dict[str, str]:
        return {word.casefold(): kind for kind in type(self).model_fields for word in getattr(self, kind)}


class Covers(_Strict):
    """The days that the invoice tells of, first and last included, in UTC."""

    first: Annotated[date, BeforeValidator(lambda value: _as_day(value))]
    last: Annotated[date, BeforeValidator(lambda value: _as_day(value))]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first.year not in _YEARS or self.last.year not in _YEARS:
            raise ValueError("no invoice is of that time")
        if self.last < self.first:
            raise ValueError("the last day comes before the first")
        return self


def _as_day(value: object) -> object:
    try:
        return date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("write a day as 2026-11-30") from None


class Mapping(_Strict):
    """How the invoices of one provider are written."""

    provider: Literal["shortapi", "aimlapi", "wavespeed"]
    columns: Columns
    amounts: Amounts = Amounts()
    dates: Dates = Dates()
    kinds: Kinds | None = None
    covers: Covers | None = None
    delimiter: str = Field(",", min_length=1, max_length=1)
    encoding: str = "utf-8"
    skip_rows: int = Field(0, ge=0, le=1000)
    skip_last_rows: int = Field(0, ge=0, le=1000)

    @field_validator("delimiter", mode="before")
    @classmethod
    def _tab(cls, value: object) -> object:
        if value in ('"', "\n", "\r"):
            raise ValueError("no file is divided by that: write e.g. ; or tab")
        return "\t" if value in ("tab", "\\t") else value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, name: str) -> str:
        try:
            "".encode(name)
        except (LookupError, UnicodeError):
            raise ValueError("there is no such encoding: write e.g. utf-8 or windows-1252") from None
        return name

    @model_validator(mode="after")
    def _kinds_for_a_column(self) -> Self:
        if (self.columns.kind is None) != (self.kinds is None):
            raise ValueError("columns.kind and kinds go together: the column, and what its values mean")
        return self


def read_mapping(key: str, data: bytes) -> Mapping:
    """The mapping in this file. Raises ProblemsError with all its mistakes."""
    try:
        document = read_yaml(data)
    except UnreadableYamlError as error:
        flaw = error.flaw
        where = f"line {flaw.line}" if flaw.line else ""
        raise ProblemsError([Problem(key, where, flaw.value, flaw.message, flaw.remedy)]) from None
    problems = [
        Problem(key, _where(flaw.path, document), flaw.value, flaw.message, flaw.remedy) for flaw in document.flaws
    ]
    mapping: Mapping | None = None
    if not isinstance(document.value, dict):
        problems.append(Problem(key, "", "", "names with values are expected", f"Begin with `provider:`. {_REMEDY}"))
    else:
        try:
            mapping = Mapping.model_validate(document.value)
        except ValidationError as error:
            problems += [_problem(key, item, document) for item in error.errors()]
    if problems or mapping is None:
        raise ProblemsError(problems)
    return mapping


def _problem(key: str, item: ErrorDetails, document: Document) -> Problem:
    path = tuple(part for part in item["loc"])
    where = _where(path, document)
    value = document.texts.get(path, "")
    match item["type"]:
        case "extra_forbidden":
            name = str(path[-1])
            choices = _names(path[:-1])
            near = get_close_matches(name.casefold().replace("-", "_"), choices, n=1, cutoff=0.6)
            hint = f"Did you mean {near[0]}? " if near else ""
            return Problem(key, where, name, "there is no such setting", f"{hint}There are: {', '.join(choices)}")
        case "missing":
            return Problem(key, where, "", "it is missing", f"Add it. {_REMEDY}")
        case "literal_error":
            options = str(item.get("ctx", {}).get("expected", "")).replace("'", "")
            return Problem(key, where, value, "no such option", f"Write one of: {options}")
        case "value_error":
            message = item["msg"].removeprefix("Value error, ")
            return Problem(key, where, value, message, _REMEDY)
        case _:
            return Problem(key, where, value, item["msg"], _REMEDY)


def _names(path: Sequence[int | str]) -> list[str]:
    model: Any = Mapping
    sections: dict[str, type[BaseModel]] = {
        "columns": Columns,
        "amounts": Amounts,
        "dates": Dates,
        "kinds": Kinds,
        "covers": Covers,
    }
    if path:
        model = sections.get(str(path[0]), Mapping)
    return list(model.model_fields)


def _where(path: tuple[int | str, ...], document: Document) -> str:
    """`line 4, columns.amount`: of what is missing, the line of what should hold it."""
    line = next((document.lines[path[:size]] for size in range(len(path), -1, -1) if path[:size] in document.lines), 0)
    name = ".".join(str(part) for part in path)
    return ", ".join(part for part in (f"line {line}" if line else "", name) if part)
