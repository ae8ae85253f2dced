"""A month's cost export in the FinOps Foundation's format FOCUS 1.2: made from the ledger, checked, CSV and Parquet."""

from __future__ import annotations

import gc
import io
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Engine

from wan_pipeline.bucket import Bucket
from wan_pipeline.money import Money
from wan_pipeline.reports.focus.charges import charges
from wan_pipeline.reports.focus.checking import refuse_unless_clean
from wan_pipeline.reports.focus.data import ExportData
from wan_pipeline.reports.focus.issuer import Issuers
from wan_pipeline.reports.focus.reading import read_month
from wan_pipeline.reports.focus.table import table_of, text_of
from wan_pipeline.reports.period import Period

VERSION = "1.2"


@dataclass(frozen=True)
class FocusExport:
    """A month of one kind of job, live or simulated, as it stood at `as_of`; every rule holds of it.

    `billed` and `effective` are the sums of BilledCost and EffectiveCost. `ambiguous` jobs are no rows: nobody knows whether
    they are billed; `unknown` is what they may have cost at most.
    """

    month: Period
    simulated: bool
    as_of: datetime
    table: Any
    text: Any
    billed: Money
    effective: Money
    corrections: int
    purchases: int
    ambiguous: int
    unknown: Money

    @property
    def rows(self) -> int:
        return int(self.table.num_rows)

    @property
    def is_over(self) -> bool:
        """Was the month over when it was read."""
        return self.month.is_over(self.as_of)

    @property
    def key(self) -> str:
        """Where its files lie in the bucket, without their endings."""
        return key_of(self.month, simulated=self.simulated)

    def to_csv(self) -> bytes:
        """UTF-8; every value quoted, null empty; decimals plain, moments in ISO 8601 with Z."""
        import pyarrow.csv as arrow_csv

        sink = io.BytesIO()
        arrow_csv.write_csv(self.text, sink)
        return sink.getvalue()

    def to_parquet(self) -> bytes:
        """Decimals as decimal128, moments as UTC timestamps; the file's metadata says which version of FOCUS it is."""
        import pyarrow.parquet as pq

        said = {"focus_version": VERSION, "simulated": str(self.simulated).lower(), "as_of": self.as_of.isoformat()}
        sink = io.BytesIO()
        pq.write_table(self.table.replace_schema_metadata(said), sink, compression="zstd")
        return sink.getvalue()


def key_of(month: Period, *, simulated: bool) -> str:
    """`reports/2026/11/focus-2026-11`; simulated charges lie in files of their own."""
    return f"reports/{month.first:%Y/%m}/focus-{month.name}{'-simulated' if simulated else ''}"


def focus_export(engine: Engine, month: Period, issuers: Issuers, *, simulated: bool = False) -> FocusExport:
    """The month's export, each rule of FOCUS checked. Raises ProblemsError where one is broken (column, row, value, rule),
    ValueError where `month` is no month."""
    if not month.is_month:
        raise ValueError(f"FOCUS is exported by the month, and {month} is a day")
    with _no_search_for_circles():
        return _export(engine, month, issuers, simulated)


def _export(engine: Engine, month: Period, issuers: Issuers, simulated: bool) -> FocusExport:
    money = read_month(engine, month, simulated=simulated)
    rows = list(charges(money, issuers))
    rates = {(row.issuer.title, row.pricing_currency): row.pricing_units_per_usd for row in rows}
    billed = Money(sum(row.figures.billed for row in rows))
    effective = Money(sum(row.figures.effective for row in rows))
    corrections = sum(row.figures.is_correction for row in rows)
    table = table_of(rows, month)
    rows.clear()  # a month of 75,000 charges is held once, as columns
    money.lines.clear()
    text = text_of(table)
    refuse_unless_clean(ExportData(table, text, month, rates), key_of(month, simulated=simulated))
    return FocusExport(
        month=month,
        simulated=simulated,
        as_of=money.as_of,
        table=table,
        text=text,
        billed=billed,
        effective=effective,
        corrections=corrections,
        purchases=len(money.top_ups),
        ambiguous=money.ambiguous,
        unknown=money.unknown,
    )


@contextmanager
def _no_search_for_circles() -> Generator[None]:
    """A month is hundreds of thousands of small values that live to its end, none of which refers back: the garbage
    collector would look through all of them again and again, a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def publish(export: FocusExport, bucket: Bucket) -> dict[str, str]:
    """Writes the CSV and the Parquet file; gives the URI of each by its ending. Run again, it replaces them. Both are made
    before the first is written. Raises BucketError."""
    files = {
        "csv": (export.to_csv(), "text/csv; charset=utf-8"),
        "parquet": (export.to_parquet(), "application/vnd.apache.parquet"),
    }
    for ending, (data, content_type) in files.items():
        bucket.write(f"{export.key}.{ending}", data, content_type)
    return {ending: bucket.uri(f"{export.key}.{ending}") for ending in files}
