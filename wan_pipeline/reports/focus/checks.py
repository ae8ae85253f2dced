"""What each check of the rules' tables does: over a whole column at once, giving the rows that break it.

A check is called where its columns are there. It says nothing of rows in which a value that it compares is null, unless
null is what it is about. Decimals are compared as whole numbers, without rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from wan_pipeline.reports.focus.arrow import flags, functions
from wan_pipeline.reports.focus.data import ExportData
from wan_pipeline.reports.focus.json_checks import JSON_CHECKS
from wan_pipeline.reports.focus.rules import Rule, currencies, subcategories

Check = Callable[[ExportData, Rule], Any]  # a boolean array: True where the rule is broken

_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$"
_MOMENT = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$"
_UNIT = r"^([1-9][0-9]* )?[A-Z][A-Za-z]*(-[A-Z][A-Za-z]*)*(/([1-9][0-9]* )?[A-Z][A-Za-z]*)?$"


def _is_null(data: ExportData, rule: Rule) -> Any:
    return data.table[rule.column].is_valid()


def _is_not_null(data: ExportData, rule: Rule) -> Any:
    return data.table[rule.column].is_null()


def _one_of(data: ExportData, rule: Rule) -> Any:
    allowed = rule.arguments
    if allowed == ("@subcategories",):
        allowed = tuple(child for _, child in subcategories())
    return _and(_valid(data, rule), _not(_among(data.text[rule.column], allowed)))


def _none_of(data: ExportData, rule: Rule) -> Any:
    return _among(data.text[rule.column], rule.arguments)


def _text(data: ExportData, rule: Rule) -> Any:
    pc = functions()

    return pc.equal(pc.utf8_trim_whitespace(data.text[rule.column]), "")


def _like(pattern: str) -> Check:
    def check(data: ExportData, rule: Rule) -> Any:
        pc = functions()

        return _not(pc.match_substring_regex(data.text[rule.column], pattern))

    return check


def _matches(data: ExportData, rule: Rule) -> Any:
    return _like(f"^({rule.arguments[0]})$")(data, rule)


def _national(data: ExportData, rule: Rule) -> Any:
    return _and(_valid(data, rule), _not(_among(data.text[rule.column], currencies())))


def _currency(data: ExportData, rule: Rule) -> Any:
    """Three capital letters are a national currency; anything else but blanks is the name of a virtual one."""
    pc = functions()

    looks_national = pc.match_substring_regex(data.text[rule.column], "^[A-Z]{3}$")
    return pc.or_kleene(_and(looks_national, _national(data, rule)), _text(data, rule))


def _equals(data: ExportData, rule: Rule) -> Any:
    pc = functions()

    other = rule.arguments[0]
    if data.is_decimal(rule.column, other):
        more = data.places(rule.column) - data.places(other)
        up, down = 10 ** max(-more, 0), 10 ** max(more, 0)

        def differ(mine: int, theirs: int) -> bool:
            return mine * up != theirs * down

        return _pairwise(data, (rule.column, other), differ)
    return pc.not_equal(data.text[rule.column], data.text[other])


def _differs(data: ExportData, rule: Rule) -> Any:
    pc = functions()

    return pc.equal(data.text[rule.column], data.text[rule.arguments[0]])


def _zero(data: ExportData, rule: Rule) -> Any:
    return _pairwise(data, (rule.column,), _is_something)


def _not_negative(data: ExportData, rule: Rule) -> Any:
    return _pairwise(data, (rule.column,), _is_negative)


def _product(data: ExportData, rule: Rule) -> Any:
    """This column is the product of the two."""
    return _is_product(data, (rule.column, *rule.arguments))


def _factor(data: ExportData, rule: Rule) -> Any:
    """This column, times the first, is the second."""
    other, product = rule.arguments
    return _is_product(data, (product, rule.column, other))


def _is_product(data: ExportData, columns: tuple[str, ...]) -> Any:
    if not data.is_decimal(*columns):
        return _nowhere(data)
    product, *factors = map(data.places, columns)
    up, down = 10 ** max(sum(factors) - product, 0), 10 ** max(product - sum(factors), 0)

    def differ(cost: int, price: int, quantity: int) -> bool:
        return cost * up != price * quantity * down

    return _pairwise(data, columns, differ)


def _in_pricing_currency(data: ExportData, rule: Rule) -> Any:
    """This column is the other one, in units of the row's PricingCurrency."""
    other = rule.arguments[0]
    needed = ("ProviderName", "PricingCurrency")
    if not data.is_decimal(rule.column, other) or not data.has(*needed):
        return _nowhere(data)
    keys = zip(*(data.text[name].to_pylist() for name in needed), strict=True)
    rates = [1 if key[1] == "USD" else data.units_per_usd.get(key, 0) for key in keys]
    mine, theirs = data.places(rule.column), data.places(other)
    return flags(
        a is not None and b is not None and a * 10**theirs != b * rate * 10**mine
        for a, b, rate in zip(data.units(rule.column), data.units(other), rates, strict=True)
    )


def _after(data: ExportData, rule: Rule) -> Any:
    pc = functions()

    return pc.less_equal(data.table[rule.column], data.table[rule.arguments[0]])


def _not_after(data: ExportData, rule: Rule) -> Any:
    pc = functions()

    return pc.greater(data.table[rule.column], data.table[rule.arguments[0]])


def _within(data: ExportData, rule: Rule) -> Any:
    pc = functions()

    column, (begin, end) = data.table[rule.column], rule.arguments
    return pc.or_kleene(pc.less(column, data.table[begin]), pc.greater_equal(column, data.table[end]))


def _month_start(data: ExportData, rule: Rule) -> Any:
    return _is_moment(data, rule, data.month.since)


def _month_end(data: ExportData, rule: Rule) -> Any:
    return _is_moment(data, rule, data.month.until)


def _is_moment(data: ExportData, rule: Rule, moment: Any) -> Any:
    pc = functions()

    return pc.not_equal(data.text[rule.column], f"{moment:%Y-%m-%dT%H:%M:%SZ}")


def _one_parent(data: ExportData, rule: Rule) -> Any:
    """Each value of this column stands beside one value of the other, throughout."""
    return _several(data, child=rule.column, parent=rule.arguments[0])


def _one_value_per(data: ExportData, rule: Rule) -> Any:
    """Beside each value of the other column stands one value of this one."""
    return _several(data, child=rule.arguments[0], parent=rule.column)


def _several(data: ExportData, child: str, parent: str) -> Any:
    from collections import Counter

    pairs = data.text.group_by([child, parent]).aggregate([]).to_pylist()
    parents = Counter(pair[child] for pair in pairs if pair[child] is not None and pair[parent] is not None)
    return _among(data.text[child], [value for value, count in parents.items() if count > 1])


def _child_of(data: ExportData, rule: Rule) -> Any:
    parent = rule.arguments[0]
    pairs = zip(data.text[parent].to_pylist(), data.text[rule.column].to_pylist(), strict=True)
    allowed = subcategories()
    return flags(None not in pair and pair not in allowed for pair in pairs)


CHECKS: dict[str, Check] = {
    "null": _is_null,
    "not_null": _is_not_null,
    "one_of": _one_of,
    "none_of": _none_of,
    "text": _text,
    "number": _like(_NUMBER),
    "moment": _like(_MOMENT),
    "unit": _like(_UNIT),
    "matches": _matches,
    "national": _national,
    "currency": _currency,
    "equals": _equals,
    "differs": _differs,
    "zero": _zero,
    "not_negative": _not_negative,
    "product": _product,
    "factor": _factor,
    "in_pricing_currency": _in_pricing_currency,
    "after": _after,
    "not_after": _not_after,
    "within": _within,
    "month_start": _month_start,
    "month_end": _month_end,
    "one_parent": _one_parent,
    "one_value_per": _one_value_per,
    "child_of": _child_of,
    **JSON_CHECKS,
}


def _is_something(amount: int) -> bool:
    return amount != 0


def _is_negative(amount: int) -> bool:
    return amount < 0


def _valid(data: ExportData, rule: Rule) -> Any:
    return data.table[rule.column].is_valid()


def _among(column: Any, values: Iterable[Any]) -> Any:
    import pyarrow as pa

    pc = functions()

    return pc.is_in(column, value_set=pa.array(list(values), pa.string()))


def _and(one: Any, other: Any) -> Any:
    pc = functions()

    return pc.and_kleene(one, other)


def _not(mask: Any) -> Any:
    pc = functions()

    return pc.invert(mask)


def _pairwise(data: ExportData, columns: tuple[str, ...], broken: Callable[..., bool]) -> Any:
    """Row by row over decimal columns, where none of them is null."""
    if not data.is_decimal(*columns):
        return _nowhere(data)
    rows = zip(*map(data.units, columns), strict=True)
    return flags(None not in row and broken(*row) for row in rows)


def _nowhere(data: ExportData) -> Any:
    return flags([False] * data.rows)
