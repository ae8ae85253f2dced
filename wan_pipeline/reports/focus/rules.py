"""The rules of FOCUS 1.2 as data: the tables in rules/*.psv, read into values.

A line says: column | which of its requirements | check | arguments | when. The requirements of a column are counted from one
in the order of the specification (tag v1.2), so that every one of its 492 is accounted for: by a check, as one that no
program can check (`no_check`, with the reason), as a permission (`may`), or as a line that demands nothing by itself
(`heading`, `see`). Number 0 is the house's own. `when` holds one or more conditions, all of which must hold:

    ChargeCategory in Usage; Purchase and ChargeClass is null
    x_SubmittedAt before BillingPeriodStart

What belongs here: reading. What a check does is in checks.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

TABLES = ("billing", "charge", "discounts", "pricing", "things")
UNCHECKED = frozenset({"no_check", "may", "heading", "see"})
_COMPARISONS = (" is not null", " is null", " not before ", " before ", " not in ", " in ")


@dataclass(frozen=True, slots=True)
class Condition:
    """`ChargeCategory in Usage; Purchase`: column, comparison (`in`), values or the other column."""

    column: str
    comparison: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One line. `numbers`: of the column's requirements."""

    column: str
    numbers: tuple[int, ...]
    check: str
    arguments: tuple[str, ...]
    when: tuple[Condition, ...]
    text: str  # the line's check, arguments and conditions as written

    @property
    def name(self) -> str:
        """`ContractedCost 10`."""
        return f"{self.column} {','.join(map(str, self.numbers))}"


@cache
def requirements() -> tuple[Rule, ...]:
    """Every line of the tables, checked or not."""
    return tuple(rule for table in TABLES for rule in _read(table))


@cache
def rules() -> tuple[Rule, ...]:
    """The lines that a program checks."""
    return tuple(rule for rule in requirements() if rule.check not in UNCHECKED)


@cache
def subcategories() -> frozenset[tuple[str, str]]:
    """The allowed pairs of ServiceCategory and ServiceSubcategory."""
    pairs: set[tuple[str, str]] = set()
    for line in _lines("subcategories.psv"):
        category, children = line.split("|")
        pairs |= {(category.strip(), child) for child in _listed(children)}
    return frozenset(pairs)


@cache
def currencies() -> frozenset[str]:
    """The codes of ISO 4217."""
    return frozenset(code for line in _lines("currencies.txt") for code in line.split())


def _read(table: str) -> Iterator[Rule]:
    for line in _lines(f"{table}.psv"):
        fields = [field.strip() for field in line.split(" |")]
        column, numbers, check, arguments, when = [*fields, "", ""][:5]
        # A reason is a sentence, and a pattern may hold anything: only lists are taken apart.
        whole = check in ("no_check", "matches")
        yield Rule(
            column=column,
            numbers=tuple(int(number) for number in numbers.split(",")),
            check=check,
            arguments=(arguments,) if whole else _listed(arguments),
            when=tuple(_condition(part) for part in when.split(" and ") if part),
            text=f"{check} {arguments}".strip() + (f", when {when}" if when else ""),
        )


def _condition(text: str) -> Condition:
    for comparison in _COMPARISONS:
        column, found, rest = text.partition(comparison)
        if found:
            return Condition(column.strip(), comparison.strip(), _listed(rest))
    raise ValueError(f"the rules of FOCUS: {text!r} is no condition")


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(";") if part.strip())


def _lines(name: str) -> Iterator[str]:
    text = files("wan_pipeline.reports.focus").joinpath("rules", name).read_text(encoding="utf-8")
    return (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
