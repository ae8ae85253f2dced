"""Whole numbers become decimals, and text, and whole numbers again, exactly, however large they are."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.reports.focus.decimals import decimals, plain_text, units_of

_sizes = st.sampled_from([10, 2**63 - 1, 2**63, 10**37])
_units = _sizes.flatmap(lambda most: st.lists(st.none() | st.integers(-most, most), max_size=5))


@settings(deadline=None)
@given(_units, st.integers(0, 15))
def test_no_digit_is_lost_between_whole_numbers_decimals_and_text(units: list[int | None], places: int) -> None:
    column = decimals(units, places)
    exact = [None if unit is None else Decimal((unit < 0, tuple(map(int, str(abs(unit)))), -places)) for unit in units]
    assert column.to_pylist() == exact
    assert units_of(column) == units
    assert units_of(column[1:]) == units[1:]
    for text, value in zip(plain_text(column).to_pylist(), exact, strict=True):
        assert (text is None) == (value is None)
        if text is not None:
            assert Decimal(text) == value
            assert "E" not in text
            assert "." in text
