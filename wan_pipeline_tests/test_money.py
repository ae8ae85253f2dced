"""Money is exact: what goes in as text comes out as the same text, and no float gets in."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from wan_pipeline.money import Money

nanos = st.integers(-(10**18), 10**18)


@given(nanos)
def test_the_text_of_an_amount_gives_the_amount_back(amount: int) -> None:
    assert Money.usd(str(Money(amount))) == Money(amount)
    assert Money.usd(Money(amount).dollars) == Money(amount)
    assert len(str(Money(amount)).partition(".")[2]) >= 2


@given(st.lists(nanos))
def test_a_sum_is_the_sum_of_its_parts_in_any_order(amounts: list[int]) -> None:
    assert Money.total(Money(each) for each in amounts) == Money.total(Money(each) for each in reversed(amounts))
    assert Money.total(Money(each) for each in amounts).nanos == sum(amounts)


@given(nanos, st.fractions(0, 100))
def test_a_product_is_never_below_the_exact_one_and_never_a_whole_nano_dollar_above_it(
    amount: int, factor: Fraction
) -> None:
    exact = Fraction(amount) * factor
    assert 0 <= (Money(amount) * factor).nanos - exact < 1


@pytest.mark.parametrize("wrong", [0.1, True, float("nan")])
def test_a_float_is_no_money(wrong: float) -> None:
    with pytest.raises(TypeError):
        Money.usd(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        _ = Money(1) * 0.5  # type: ignore[operator]


@pytest.mark.parametrize("wrong", ["", "one", "1.2.3", "NaN", "Infinity", "0.0000000001", "1e-10", "1,5"])
def test_what_is_no_exact_amount_is_refused_with_the_amount_named(wrong: str) -> None:
    with pytest.raises(ValueError):
        Money.usd(wrong)


@pytest.mark.parametrize(
    ("written", "shown"),
    [("0.085", "0.085"), ("1", "1.00"), ("-0.0000005", "-0.0000005"), (" 2.50 ", "2.50"), ("1E+2", "100.00")],
)
def test_amounts_are_shown_as_plain_decimals(written: str, shown: str) -> None:
    assert str(Money.usd(written)) == shown
    assert Money.usd(written).dollars == Decimal(shown)


def test_half_a_micro_dollar_is_one_credit() -> None:
    assert str(Money.credits(1)) == "0.0000005"
    assert Money.credits(1_575_000) == Money.usd("0.7875")


def test_pydantic_reads_it_from_text_writes_it_as_text_and_refuses_a_float() -> None:
    class Bill(BaseModel):
        amount: Money

    assert Bill.model_validate_json('{"amount": "0.125"}').model_dump_json() == '{"amount":"0.125"}'
    with pytest.raises(ValidationError):
        Bill.model_validate({"amount": 0.125})
