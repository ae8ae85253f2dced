"""Holds an export against every rule before it is published, and says what breaks one: column, row, value, rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from wan_pipeline.problems import Problem, ProblemsError
from wan_pipeline.reports.focus.arrow import functions
from wan_pipeline.reports.focus.checks import CHECKS
from wan_pipeline.reports.focus.data import ExportData
from wan_pipeline.reports.focus.rules import Condition, Rule, rules

_ROWS_OF_A_RULE = 5
_SHOWN = 20
_REMEDY = "Nothing was published: the export or the rule is wrong (wan_pipeline/reports/focus), not your ledger"


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule, and a row that breaks it; `row` None: the column as a whole does. `whose`: the row's job and entry."""

    rule: Rule
    row: int | None
    whose: str
    value: str


def check(data: ExportData) -> list[Violation]:
    """All violations, of each rule the first few."""
    return [violation for rule in rules() for violation in violations(data, rule)]


def refuse_unless_clean(data: ExportData, file: str) -> None:
    """Raises ProblemsError that names the first violations, each with column, row, value and rule."""
    found = check(data)
    if not found:
        return
    problems = [
        Problem(
            file,
            each.rule.column + (f" of {each.whose}" if each.row is not None else ""),
            each.value,
            f"breaks the rule {each.rule.name} of FOCUS 1.2 ({each.rule.text})",
            _REMEDY,
        )
        for each in found[:_SHOWN]
    ]
    raise ProblemsError(problems)


def violations(data: ExportData, rule: Rule) -> list[Violation]:
    """The first few of one rule."""
    if rule.check == "present":
        return [] if data.has(rule.column) else [Violation(rule, None, "", "there is no such column")]
    if not data.has(rule.column, *_other_columns(rule)):
        return []  # what is missing is told by the rule that it be there
    if rule.check == "type":
        kind = data.table[rule.column].type
        return [] if _is_of_type(kind, rule.arguments[0]) else [Violation(rule, None, "", str(kind))]
    import pyarrow as pa

    pc = functions()

    if not data.rows or not _comparable(data, rule):
        return []
    mask = CHECKS[rule.check](data, rule)
    for condition in rule.when:
        mask = pc.and_kleene(mask, _holds(data, condition))
    mask = mask.combine_chunks() if isinstance(mask, pa.ChunkedArray) else mask
    rows: Sequence[int] = pc.indices_nonzero(mask.fill_null(False)).to_pylist()
    return [Violation(rule, row, _whose(data, row), _value(data, rule, row)) for row in rows[:_ROWS_OF_A_RULE]]


def _holds(data: ExportData, condition: Condition) -> Any:
    import pyarrow as pa

    pc = functions()

    column = data.table[condition.column]
    match condition.comparison:
        case "is null":
            return column.is_null()
        case "is not null":
            return column.is_valid()
        case "before" | "not before":
            earlier = pc.less(column, data.table[condition.values[0]]).fill_null(False)
            return earlier if condition.comparison == "before" else pc.invert(earlier)
        case _:
            among = pc.is_in(data.text[condition.column], value_set=pa.array(condition.values, pa.string()))
            return among if condition.comparison == "in" else pc.invert(among)


@cache
def _other_columns(rule: Rule) -> tuple[str, ...]:
    """Those that the rule needs beside its own."""
    names = [condition.column for condition in rule.when]
    names += [condition.values[0] for condition in rule.when if "before" in condition.comparison]
    if rule.check in _ABOUT_OTHERS:
        names += rule.arguments
    return tuple(names)


_ABOUT_OTHERS = frozenset(
    {
        "equals",
        "differs",
        "product",
        "factor",
        "in_pricing_currency",
        "after",
        "not_after",
        "within",
        "one_parent",
        "one_value_per",
        "child_of",
    }
)


def _is_of_type(kind: Any, name: str) -> bool:
    import pyarrow as pa

    if name == "Decimal":
        return bool(pa.types.is_decimal(kind))
    if name == "Date/Time":
        return bool(pa.types.is_timestamp(kind)) and kind.tz == "UTC"
    return bool(pa.types.is_string(kind))


def _comparable(data: ExportData, rule: Rule) -> bool:
    """Moments are compared with moments; where a column is of another type, the rule on its type tells."""
    import pyarrow as pa

    names = [condition.column for condition in rule.when if "before" in condition.comparison]
    names += [condition.values[0] for condition in rule.when if "before" in condition.comparison]
    if rule.check in ("after", "not_after", "within"):
        names += [rule.column, *rule.arguments]
    return all(pa.types.is_timestamp(data.table[name].type) for name in names)


def _whose(data: ExportData, row: int) -> str:
    parts = [
        f"{word} {data.text[name][row].as_py()}"
        for word, name in (("job", "ResourceId"), ("entry", "x_LedgerEntryId"))
        if data.has(name) and data.text[name][row].is_valid
    ]
    return ", ".join([*parts, f"row {row + 1}"])


def _value(data: ExportData, rule: Rule, row: int) -> str:
    value = data.text[rule.column][row].as_py()
    return "null" if value is None else str(value)
