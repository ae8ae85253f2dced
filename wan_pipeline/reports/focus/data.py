"""An export as the checks see it: typed columns, their text, their whole numbers, their JSON; each made once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wan_pipeline.reports.focus.decimals import units_of
from wan_pipeline.reports.period import Period

Pairs = list[tuple[str, Any]]


@dataclass
class ExportData:
    """`table`: as it goes into Parquet; `text`: as it goes into CSV; `units_per_usd`: by ProviderName, PricingCurrency."""

    table: Any
    text: Any
    month: Period
    units_per_usd: Mapping[tuple[str, str], int]
    _units: dict[str, list[int | None]] = field(default_factory=dict)
    _json: dict[str, tuple[list[Pairs | None], Any]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return int(self.table.num_rows)

    def has(self, *names: str) -> bool:
        return all(name in self.table.column_names for name in names)

    def is_decimal(self, *names: str) -> bool:
        import pyarrow as pa

        return self.has(*names) and all(pa.types.is_decimal(self.table[name].type) for name in names)

    def places(self, name: str) -> int:
        """How many decimal places a decimal column has."""
        return int(self.table[name].type.scale)

    def units(self, name: str) -> list[int | None]:
        """A decimal column as whole numbers of units of its last place."""
        if name not in self._units:
            self._units[name] = units_of(self.table[name].combine_chunks())
        return self._units[name]

    def objects(self, name: str) -> tuple[list[Pairs | None], Any]:
        """A column of JSON texts: each distinct one as a list of key and value (None where it is no JSON object), and for
        each row the place of its own among them."""
        if name not in self._json:
            coded = self.text[name].combine_chunks().dictionary_encode()
            self._json[name] = [_pairs(text) for text in coded.dictionary.to_pylist()], coded.indices
        return self._json[name]


def _pairs(text: str) -> Pairs | None:
    try:
        value = json.loads(text, object_pairs_hook=_Object, parse_constant=_refuse)
    except ValueError:
        return None
    return list(value) if isinstance(value, _Object) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


class _Object(list[tuple[str, Any]]):
    """A JSON object, with a key that is there twice kept twice."""

    __slots__ = ()
