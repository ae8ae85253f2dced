"""The checks of columns that hold JSON: the export's tags, and what belongs to a SKU's price. See checks.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from wan_pipeline.reports.focus.arrow import flags
from wan_pipeline.reports.focus.data import ExportData, Pairs
from wan_pipeline.reports.focus.rules import Rule

_PASCAL = re.compile(r"(x_)?[A-Z][A-Za-z0-9]*$")


def _key_values(data: ExportData, rule: Rule) -> Any:
    """A JSON object; keys are there once; values are texts, numbers, booleans or null."""

    def is_wrong(pairs: Pairs | None) -> bool:
        return pairs is None or len(dict(pairs)) < len(pairs) or any(isinstance(value, list) for _, value in pairs)

    valid = data.table[rule.column].is_valid().to_pylist()
    return flags(there and is_wrong(pairs) for there, pairs in zip(valid, data.objects(rule.column), strict=True))


def _of_pairs(broken: Callable[[Pairs, tuple[str, ...]], bool]) -> Callable[[ExportData, Rule], Any]:
    def check(data: ExportData, rule: Rule) -> Any:
        return flags(pairs is not None and broken(pairs, rule.arguments) for pairs in data.objects(rule.column))

    return check


def _odd_key(pairs: Pairs, _: tuple[str, ...]) -> bool:
    return any(_PASCAL.match(key) is None for key, _ in pairs)


JSON_CHECKS: dict[str, Callable[[ExportData, Rule], Any]] = {
    "key_values": _key_values,
    "keys": _of_pairs(lambda pairs, begins: any(not key.startswith(begins) for key, _ in pairs)),
    "keys_pascal": _of_pairs(_odd_key),
    "keys_known": _of_pairs(lambda pairs, known: any(key not in known for key, _ in pairs)),
    "keys_present": _of_pairs(lambda pairs, wanted: not {key for key, _ in pairs} >= set(wanted)),
    "values_text": _of_pairs(lambda pairs, _: any(not isinstance(value, str) for _, value in pairs)),
    "values_not_null": _of_pairs(lambda pairs, _: any(value is None for _, value in pairs)),
    "values_not_empty": _of_pairs(lambda pairs, _: any(value == "" for _, value in pairs)),
}
