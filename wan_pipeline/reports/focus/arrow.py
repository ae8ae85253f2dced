"""Arrow's compute functions, imported where they are used. They are made when the module is loaded, so no checker of types
knows them."""

from __future__ import annotations

from typing import Any


def functions() -> Any:
    """The module pyarrow.compute."""
    import pyarrow.compute

    return pyarrow.compute
