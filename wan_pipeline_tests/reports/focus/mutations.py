"""For each rule, an export that breaks it, in one row or as a whole: made from one that breaks none."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from wan_pipeline.reports.focus.data import ExportData
from wan_pipeline.reports.focus.rules import Condition, Rule
from wan_pipeline.reports.focus.table import text_of

Row = dict[str, Any]
_WRONG_TEXT = {
    "one_of": "nonsense",
    "text": " \t",
    "matches": "a:b",
    "national": "XXX",
    "currency": "QQQ",
    "unit": "seconds of video",
    "child_of": "Other (Web)",
    "key_values": '{"x_A": [1]}',
    "keys": '{"Model": "a"}',
    "keys_pascal": '{"x_model": "a"}',
    "keys_known": '{"x_Unheard": "a"}',
    "keys_present": "{}",
    "values_text": '{"x_Model": 1}',
    "values_not_null": '{"job": null}',
    "values_not_empty": '{"job": ""}',
}
_WRONG_IN_CSV = {"number": "1E-9", "moment": "2026-03-01"}


def broken(data: ExportData, rule: Rule, row: int, other: int) -> ExportData:
    """`row` breaks the rule, by itself or together with row `other`."""
    table = data.table
    if rule.check == "present":
        return _as_data(data, table.drop_columns([rule.column]))
    if rule.check == "type":
        wrong = pa.array(["1"] * table.num_rows, pa.large_string())
        return _as_data(data, table.set_column(table.column_names.index(rule.column), rule.column, wrong))
    if rule.check in _WRONG_IN_CSV:
        texts = data.text[rule.column].to_pylist()
        texts[row] = _WRONG_IN_CSV[rule.check]
        index = data.text.column_names.index(rule.column)
        return _as_data(data, table, data.text.set_column(index, rule.column, pa.array(texts, pa.string())))
    rows = table.to_pylist()
    for condition in rule.when:
        _satisfy(rows[row], condition, table.schema, data)
    _break(rows[row], rows[other], rule, table.schema, data)
    return _as_data(data, pa.Table.from_pylist(rows, schema=table.schema))


def _as_data(data: ExportData, table: Any, text: Any = None) -> ExportData:
    return ExportData(table, text_of(table) if text is None else text, data.month, data.units_per_usd)


def _satisfy(row: Row, condition: Condition, schema: pa.Schema, data: ExportData) -> None:
    name = condition.column
    match condition.comparison:
        case "in":
            row[name] = condition.values[0]
        case "not in":
            row[name] = "Adjustment"
        case "is null":
            row[name] = None
        case "is not null":
            row[name] = row[name] if row[name] is not None else _something(schema, name)
        case "before":
            row[name] = data.month.since - timedelta(days=1)
        case "not before":
            row[name] = data.month.since + timedelta(hours=1)


def _break(row: Row, other: Row, rule: Rule, schema: pa.Schema, data: ExportData) -> None:
    name, arguments = rule.column, rule.arguments
    match rule.check:
        case "null" | "zero":
            row[name] = _something(schema, name)
        case "not_null":
            row[name] = None
        case "none_of":
            row[name] = arguments[0]
        case "not_negative":
            row[name] = -_least(schema, name)
        case "equals" if pa.types.is_decimal(schema.field(name).type):
            row[name] = row[arguments[0]] + _least(schema, name)
        case "equals":
            row[name] = f"{row[arguments[0]]}?"
        case "differs":
            row[name] = row[arguments[0]]
        case "product" | "factor" | "in_pricing_currency":
            row[name] += _least(schema, name)
        case "after":
            row[name] = row[arguments[0]]
        case "not_after":
            row[name] = row[arguments[0]] + timedelta(seconds=1)
        case "within" | "month_start":
            row[name] = data.month.until
        case "month_end":
            row[name] = data.month.until - timedelta(seconds=1)
        case "one_parent":
            row[name], row[arguments[0]] = other[name], f"{other[arguments[0]]}?"
        case "one_value_per":
            row[arguments[0]] = other[arguments[0]] = "X"
            row[name], other[name] = "one", "two"
        case _:
            row[name] = _WRONG_TEXT[rule.check]


def _something(schema: pa.Schema, name: str) -> Any:
    return Decimal(1) if pa.types.is_decimal(schema.field(name).type) else "X"


def _least(schema: pa.Schema, name: str) -> Decimal:
    return Decimal(1).scaleb(-schema.field(name).type.scale)
