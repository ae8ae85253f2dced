"""The report as files for programs: CSV and Parquet with the same columns and rows, and a CSV of the bills that are not
the quotes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from wan_pipeline.money import Money
from wan_pipeline.reports.figures import AMOUNTS, COUNTS
from wan_pipeline.reports.sheet import CostSheet

_AMOUNTS = {  # column: attribute of Figures
    **{f"{name}_usd": name for name in AMOUNTS},
    "billed_usd": "billed",
    "wasted_usd": "wasted",
    "usd_per_second": "usd_per_second",
}
_KEYS = ("provider", "model", "resolution", "sound", "campaign")
_DIFFERENCE = (
    "simulated",
    "job",
    "shot",
    "provider",
    "model",
    "state",
    "quoted_low_usd",
    "quoted_usd",
    "billed_usd",
    "basis",
    "how",
    "difference_usd",
)


def csv_file(report: CostSheet) -> bytes:
    return _csv(columns(report), _records(report))


def differences_file(report: CostSheet) -> bytes:
    return _csv(
        (report.period.word, *_DIFFERENCE),
        (
            {
                report.period.word: report.period.name,
                "simulated": each.simulated,
                "job": each.job,
                "shot": each.shot,
                "provider": each.provider,
                "model": each.model,
                "state": each.state.value,
                "quoted_low_usd": each.quoted_low,
                "quoted_usd": each.quoted,
                "billed_usd": each.billed,
                "basis": each.basis and each.basis.value,
                "how": each.how,
                "difference_usd": each.difference,
            }
            for each in report.differences
        ),
    )


def parquet_file(report: CostSheet) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [(report.period.word, pa.string() if report.period.is_month else pa.date32()), ("simulated", pa.bool_())]
        + [(name, pa.string()) for name in _KEYS]
        + [(name, pa.int64()) for name in COUNTS]
        + [(name, pa.decimal128(38, 9)) for name in _AMOUNTS]
    )
    lines = [
        {name: _as_decimal(value) if isinstance(value, Money) else value for name, value in record.items()}
        for record in _records(report)
    ]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(lines, schema=schema), sink)
    return sink.getvalue()


def columns(report: CostSheet) -> tuple[str, ...]:
    """Of the CSV and of the Parquet file: `day` (or `month`), the dimensions, counts, amounts."""
    return (report.period.word, "simulated", *_KEYS, *COUNTS, *_AMOUNTS)


def _records(report: CostSheet) -> list[dict[str, Any]]:
    period = report.period
    return [
        {
            period.word: period.name if period.is_month else period.first,
            "simulated": row.simulated,
            **{name: getattr(row, name) for name in _KEYS},
            **{name: getattr(row.figures, name) for name in COUNTS},
            **{name: getattr(row.figures, field) for name, field in _AMOUNTS.items()},
        }
        for row in report.rows
    ]


def _csv(columns: Sequence[str], records: Iterable[Mapping[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: _as_text(value) for name, value in record.items()})
    return text.getvalue().encode()


def _as_text(value: Any) -> Any:
    """What nobody has said is empty."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, Money) else value


def _as_decimal(amount: Money) -> Decimal:
    return amount.dollars.quantize(Decimal("1e-9"))
