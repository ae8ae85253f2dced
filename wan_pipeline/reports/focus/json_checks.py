"""The checks of columns that hold JSON: the export's tags, and what belongs to a SKU's price. See checks.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from wan_pipeline.reports.focus.arrow import flags
from wan_pipeline.reports.focus.data import ExportData, Pairs
from wan_pipeline.reports.focus.rules import Rule

Check = Callable[[ExportData, Rule], Any]  # as in checks.py

_PASCAL = re.compile(r"(x_)?[A-Z][A-Za-z0-9]*$")


def _of_pairs(broken: Callable[[Pairs, tuple[str, ...]], bool], otherwise: bool = False) -> Check:
    """A check of each distinct text; `otherwise`: what is said of one that is no JSON object."""

    def check(data: ExportData, rule: Rule) -> Any:
        objects, places = data.objects(rule.column)
        return flags(otherwise if pairs is None else broken(pairs, rule.arguments) for pairs in objects).take(places)

    return check


def _no_key_values(pairs: Pairs, _: tuple[str, ...]) -> bool:
    """Keys are there once; values are texts, numbers, booleans or null."""
    return len(dict(pairs)) < len(pairs) or any(isinstance(value, list) for _, value in pairs)


def _odd_key(pairs: Pairs, _: tuple[str, ...]) -> bool:
    return any(_PASCAL.match(key) is None for key, _ in pairs)


JSON_CHECKS: dict[str, Check] = {
    "key_values": _of_pairs(_no_key_values, otherwise=True),
    "keys": _of_pairs(lambda pairs, begins: any(not key.startswith(begins) for key, _ in pairs)),
    "keys_pascal": _of_pairs(_odd_key),
    "keys_known": _of_pairs(lambda pairs, known: any(key not in known for key, _ in pairs)),
    "keys_present": _of_pairs(lambda pairs, wanted: not {key for key, _ in pairs} >= set(wanted)),
    "values_text": _of_pairs(lambda pairs, _: any(not isinstance(value, str) for _, value in pairs)),
    "values_not_null": _of_pairs(lambda pairs, _: any(value is None for _, value in pairs)),
    "values_not_empty": _of_pairs(lambda pairs, _: any(value == "" for _, value in pairs)),
}
