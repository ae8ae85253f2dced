"""Every rule of FOCUS 1.2 is accounted for, and whatever breaks one is found, named and kept from being published."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pyarrow as pa
import pytest

from wan_pipeline.bucket import open_bucket
from wan_pipeline.problems import ProblemsError
from wan_pipeline.reports.focus import checking, export
from wan_pipeline.reports.focus.checking import check, violations
from wan_pipeline.reports.focus.checks import CHECKS
from wan_pipeline.reports.focus.data import ExportData
from wan_pipeline.reports.focus.rules import Rule, requirements, rules
from wan_pipeline_tests.reports.focus.months import export_of, month_of_all_kinds
from wan_pipeline_tests.reports.focus.mutations import broken

# What no program can check here, by name; rules/*.psv has the reason of each.
NOT_CHECKED = """
BillingAccountName 4
InvoiceId 6
InvoiceId 8
SubAccountId 5
SubAccountId 6
BilledCost 6
BilledCost 7
BilledCost 8
ChargeDescription 5
ContractedCost 6
EffectiveCost 7
EffectiveCost 13
EffectiveCost 14
ListCost 6
CapacityReservationId 9
CapacityReservationId 10
CapacityReservationStatus 8
CapacityReservationStatus 9
CommitmentDiscountId 8
CommitmentDiscountId 9
CommitmentDiscountName 7
CommitmentDiscountQuantity 12
CommitmentDiscountQuantity 13
CommitmentDiscountQuantity 15
CommitmentDiscountQuantity 16
CommitmentDiscountUnit 10
CommitmentDiscountUnit 11
RegionId 5
ContractedUnitPrice 11
ListUnitPrice 10
PricingCategory 11
PricingCategory 12
PricingUnit 10
ResourceId 9
ServiceName 7
ServiceName 10
SkuId 11
SkuPriceDetails 9
SkuPriceDetails 10
SkuPriceDetails 11
SkuPriceDetails 14
SkuPriceDetails 15
SkuPriceDetails 17
SkuPriceDetails 19
SkuPriceDetails 23
SkuPriceId 11
SkuPriceId 14
SkuPriceId 15
SkuPriceId 16
Tags 6
Tags 10
Tags 11
Tags 13
Tags 14
Tags 16
Tags 18
"""


@pytest.fixture(scope="module")
def sound() -> ExportData:
    made = export_of(month_of_all_kinds())
    rates = {("AI/ML API", "Credits"): 2_000_000}
    return ExportData(made.table, made.text, made.month, rates)


def test_each_of_the_492_requirements_of_the_57_columns_is_accounted_for_once() -> None:
    numbers: dict[str, list[int]] = defaultdict(list)
    for line in requirements():
        numbers[line.column] += [number for number in line.numbers if number]
    assert len(numbers) == 57
    for column, found in numbers.items():
        assert sorted(found) == list(range(1, len(found) + 1)), column
    assert sum(map(len, numbers.values())) == 492


def test_what_no_program_checks_is_listed_by_name_with_a_reason_and_nothing_else_is_left_out() -> None:
    kinds = Counter({"checked": 0})
    left_out = []
    for line in requirements():
        own = [number for number in line.numbers if number]
        kinds[line.check if line.check in ("no_check", "may", "heading", "see") else "checked"] += len(own)
        if line.check == "no_check":
            assert len(line.arguments[0]) > 10, line
            left_out += [f"{line.column} {number}" for number in own]
    assert left_out == NOT_CHECKED.strip().splitlines()
    assert kinds == {"checked": 323, "no_check": 56, "heading": 69, "may": 30, "see": 14}


def test_the_21_mandatory_columns_are_marked_and_every_column_has_a_type_and_must_be_there() -> None:
    levels = {rule.column: rule.arguments[0] for rule in rules() if rule.check == "present"}
    assert Counter(levels.values()) == {"Mandatory": 21, "Conditional": 32, "Recommended": 4}
    typed = {rule.column for rule in rules() if rule.check in ("type", "key_values")}
    assert typed == set(levels)


def test_every_check_is_used_and_every_rule_has_one() -> None:
    assert {rule.check for rule in rules()} == {*CHECKS, "present", "type"}


def test_an_export_of_every_kind_of_line_breaks_no_rule_and_has_the_columns_in_order(sound: ExportData) -> None:
    assert check(sound) == []
    names = sound.table.column_names
    assert len([name for name in names if not name.startswith("x_")]) == 57
    assert names == sorted(names, key=lambda name: (name.startswith("x_"), name))
    assert {name for name in names if not name.startswith("x_")} == {line.column for line in requirements()}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: f"{rule.name} {rule.check}".replace(" ", "-"))
def test_a_row_that_breaks_the_rule_is_found(sound: ExportData, rule: Rule) -> None:
    usages = [row for row, each in enumerate(sound.table["ChargeCategory"].to_pylist()) if each == "Usage"]
    found = {each.row for each in violations(broken(sound, rule, usages[0], usages[-1]), rule)}
    assert found & {usages[0], None}, f"{rule.name}: {rule.text}"


def test_a_broken_rule_is_told_with_column_job_value_and_rule_and_nothing_is_published(
    sound: ExportData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = next(rule for rule in rules() if rule.name == "ContractedCost 10")
    bad = broken(sound, rule, 0, 1)
    monkeypatch.setattr(export, "table_of", lambda rows, month: bad.table)
    bucket = open_bucket(str(tmp_path))
    with pytest.raises(ProblemsError) as raised:
        export.publish(export_of(month_of_all_kinds()), bucket)
    told = str(raised.value)
    assert "reports/2026/03/focus-2026-03: ContractedCost of job j" in told
    assert "breaks the rule ContractedCost 10 of FOCUS 1.2 (product ContractedUnitPrice; PricingQuantity" in told
    assert bad.text["ContractedCost"][0].as_py() in told
    assert list(bucket.list()) == []


def test_of_many_rows_that_break_a_rule_the_first_are_told(sound: ExportData) -> None:
    table = sound.table
    index = table.column_names.index("BillingCurrency")
    wrong = table.set_column(index, "BillingCurrency", pa.array(["dollars"] * table.num_rows, pa.string()))
    bad = ExportData(wrong, wrong_text(sound, index, table.num_rows), sound.month, sound.units_per_usd)
    with pytest.raises(ProblemsError) as raised:
        checking.refuse_unless_clean(bad, "f")
    assert 5 <= len(raised.value.problems) <= 20


def wrong_text(sound: ExportData, index: int, count: int) -> pa.Table:
    return sound.text.set_column(index, "BillingCurrency", pa.array(["dollars"] * count, pa.string()))
