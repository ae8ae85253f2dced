"""Small help with Arrow: its compute functions, imported where they are used, and arrays of yes and no."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def functions() -> Any:
    """The module pyarrow.compute; its functions are made when it is loaded, so no checker of types knows them."""
    import pyarrow.compute

    return pyarrow.compute


def flags(values: Iterable[bool]) -> Any:
    """A boolean array."""
    import pyarrow as pa

    return pa.array(list(values), pa.bool_())
