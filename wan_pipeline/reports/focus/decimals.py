"""Exact decimal columns out of whole numbers, and their plain text. No float, no exponent.

What belongs here: what Arrow lacks. Its own conversion of a decimal to text writes zero as `0E-9`, which FOCUS forbids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_BYTES = 16
DIGITS = 38


def decimals(units: Sequence[int | None], places: int) -> Any:
    """A decimal128(38, places) array: each number counts units of the last place; None is null."""
    import pyarrow as pa

    data = b"".join((0 if unit is None else unit).to_bytes(_BYTES, "little", signed=True) for unit in units)
    valid = None
    if None in units:
        valid = pa.array([unit is not None for unit in units], pa.bool_()).buffers()[1]
    return pa.Array.from_buffers(pa.decimal128(DIGITS, places), len(units), [valid, pa.py_buffer(data)])


def plain_text(column: Any) -> Any:
    """Decimals as strings, with one decimal place at least, so that whoever guesses a column's type guesses a decimal:
    `0.425`, `-3.0`, `0.0`; null stays null."""
    import pyarrow as pa

    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    coded = array.dictionary_encode()
    texts = pa.array([_plain(value) for value in coded.dictionary.to_pylist()], pa.string())
    return texts.take(coded.indices)


def _plain(value: Any) -> str:
    whole, _, places = format(value, "f").partition(".")
    return f"{whole}.{places.rstrip('0') or '0'}"
