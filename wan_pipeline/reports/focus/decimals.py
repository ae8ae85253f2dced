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

    try:
        whole = pa.array(units, pa.int64()).cast(pa.decimal128(DIGITS, 0))  # a fifth of the time of what follows
    except OverflowError:
        data = b"".join((0 if unit is None else unit).to_bytes(_BYTES, "little", signed=True) for unit in units)
        valid = pa.array([unit is not None for unit in units], pa.bool_()).buffers()[1]
        return pa.Array.from_buffers(pa.decimal128(DIGITS, places), len(units), [valid, pa.py_buffer(data)])
    return _with_places(whole, places)


def units_of(array: Any) -> list[int | None]:
    """The whole numbers that `decimals` was given."""
    import pyarrow as pa

    try:
        numbers: list[int | None] = _with_places(array, 0).cast(pa.int64()).to_pylist()
    except pa.ArrowInvalid:  # some are larger
        numbers = [None if value is None else int(value) for value in _with_places(array, 0).to_pylist()]
    return numbers


def _with_places(array: Any, places: int) -> Any:
    """The same whole numbers, read as units of another decimal place."""
    import pyarrow as pa

    kind = pa.decimal128(DIGITS, places)
    return pa.Array.from_buffers(kind, len(array), array.buffers(), null_count=-1, offset=array.offset)


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
