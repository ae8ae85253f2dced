"""The report as files for programs: CSV and Parquet with the same columns and rows."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Any

from wan_pipeline.money import Money
from wan_pipeline.reports.sheet import CostSheet

_COUNTS = ("jobs", "stored", "failed", "ambiguous", "in_flight", "seconds")
_AMOUNTS = {  # column: field of Figures
    "quoted_low_usd": "quoted_low",
    "quoted_usd": "quoted",
    "billed_usd": "billed",
    "held_usd": "held",
    "unknown_usd": "unknown",
    "wasted_usd": "wasted",
    "usd_per_second": "usd_per_second",
}
_KEYS = ("day", "simulated", "provider", "model", "resolution", "campaign")
COLUMNS = (*_KEYS, *_COUNTS, *_AMOUNTS)


def csv_file(report: CostSheet) -> bytes:
    import pandas as pd

    lines = [
        {name: _as_text(value) if isinstance(value, (Money, bool)) else value for name, value in record.items()}
        for record in _records(report)
    ]
    # object: pandas would read a column of counts with a gap, or of amounts, as floats
    frame = pd.DataFrame(lines, columns=list(COLUMNS), dtype=object)
    return frame.to_csv(index=False, lineterminator="\n").encode()


def parquet_file(report: CostSheet) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [("day", pa.date32()), ("simulated", pa.bool_())]
        + [(name, pa.string()) for name in _KEYS[2:]]
        + [(name, pa.int64()) for name in _COUNTS]
        + [(name, pa.decimal128(38, 9)) for name in _AMOUNTS]
    )
    lines = [
        {name: _as_decimal(value) if isinstance(value, Money) else value for name, value in record.items()}
        for record in _records(report)
    ]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(lines, schema=schema), sink)
    return sink.getvalue()


def _records(report: CostSheet) -> list[dict[str, Any]]:
    return [
        {
            "day": report.day,
            **{name: getattr(row, name) for name in _KEYS[1:]},
            **{name: getattr(row.figures, name) for name in _COUNTS},
            **{name: getattr(row.figures, field) for name, field in _AMOUNTS.items()},
        }
        for row in report.rows
    ]


def _as_text(value: Money | bool) -> str:
    return str(value) if isinstance(value, Money) else str(value).lower()


def _as_decimal(amount: Money) -> Decimal:
    return amount.dollars.quantize(Decimal("1e-9"))
