"""How a cost report shows in the catalog: tables, bars of text, plots, and where its files are.

Amounts are exact decimal strings; the floats are there because the UI plots nothing but numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import dagster as dg

from wan_pipeline.defs.metadata import Metadata, link, location

if TYPE_CHECKING:
    from wan_pipeline.reports import CostReport, Figures
    from wan_pipeline.reports.table import Table

_BAR_CELLS = 16
_MAX_BARS = 8  # the UI hides markdown of more than about 1,000 characters behind a click
_MOST_CHANGES = 3
_PLOTTED = ("refunded", "unknown", "wasted")


def report_metadata(report: CostReport, uris: Mapping[str, str], public_base_url: str | None) -> Metadata:
    """Everything that is shown of one day or month."""
    from wan_pipeline.reports import listings, tables

    metadata: Metadata = {}
    page = link(public_base_url, f"{report.period.key}.html")
    if page:
        metadata["report"] = dg.MetadataValue.url(page)
    for number, change in enumerate(report.changes[:_MOST_CHANGES]):
        suffix = f"_{number + 1}" if number else ""
        metadata[f"changed{suffix}"] = _table(listings.changed_table(change))
        metadata[f"changed_since{suffix}"] = dg.MetadataValue.timestamp(change.since)
        causes = listings.causes_table(change)
        if causes.rows:
            metadata[f"changed_by{suffix}"] = _table(causes)
    if report.unreadable:
        metadata["published_before"] = dg.MetadataValue.text(f"cannot be compared with: {report.unreadable}")
    if report.kinds:
        metadata["chart"] = dg.MetadataValue.md("\n\n".join(_bars(report, kind) for kind in report.kinds))
    metadata["table"] = dg.MetadataValue.md(report.table_markdown())
    plots: Metadata = {}
    for kind in report.kinds:
        prefix = "sim_" if kind else ""  # never one plot, or one sum, of both
        total = report.total(simulated=kind)
        metadata |= {f"{prefix}{name}": value for name, value in _totals(total).items()}
        plots |= {f"{prefix}{name}_plot": dg.MetadataValue.float(value) for name, value in _plots(total).items()}
        for each in tables.kind_tables(report, simulated=kind):
            if each.name != "rows" and each.rows:
                metadata[f"{prefix}{_TABLE_NAMES.get(each.name, f'by_{each.name}')}"] = _table(each)
    metadata["as_of"] = dg.MetadataValue.timestamp(report.as_of)
    metadata |= {f"file_{ending}": location(uri) for ending, uri in uris.items()}
    picture = link(public_base_url, f"{report.period.key}.png")
    if picture and report.kinds:
        # The UI shows pictures by http(s) only: it strips data: URIs.
        metadata["picture"] = dg.MetadataValue.md(f"[![billed by model]({picture})]({picture})")
    return metadata | plots


_TABLE_NAMES = {
    "budgets": "against_budgets",
    "compared": "against_previous",
    "days": "by_day",
    "dearest": "dearest_shots",
    "differences": "bills_that_differ",
    "refunds": "refunds",
}


def _totals(total: Figures) -> Metadata:
    counts = {
        "jobs": total.jobs,
        "takes": total.takes,
        "failed": total.failed,
        "ambiguous": total.ambiguous,
        "video_seconds": total.seconds,
    }
    amounts = ("quoted", "billed", "charged", "refunded", "held", "unknown", "wasted")
    rate = total.usd_per_second
    metadata: Metadata = {name: dg.MetadataValue.int(count) for name, count in counts.items()}
    metadata |= {f"{name}_usd": dg.MetadataValue.text(str(getattr(total, name))) for name in amounts}
    metadata["usd_per_second"] = dg.MetadataValue.text("none" if rate is None else str(rate))
    return metadata


def _plots(total: Figures) -> dict[str, float]:
    """For the eye only: what the UI draws over the partitions."""
    values = {"spend_usd": float(total.billed.dollars)}
    values |= {f"{name}_usd": float(getattr(total, name).dollars) for name in _PLOTTED}
    rate = total.usd_per_second
    return values if rate is None else values | {"usd_per_second": float(rate.dollars)}


def _table(table: Table) -> dg.MetadataValue:
    """Cells are text: an amount stays exact. A line of totals comes last."""
    rows = [*table.rows, *([] if table.total is None else [table.total])]
    names = [heading.replace(" ", "_").replace("/", "_per_") for heading in table.headings]
    schema = dg.TableSchema(columns=[dg.TableColumn(name) for name in names])
    records = [dg.TableRecord(dict(zip(names, row, strict=True))) for row in rows]
    if table.more:
        records.append(
            dg.TableRecord({**dict.fromkeys(names, ""), names[0]: f"… {table.more:,} more: see {table.all_in}"})
        )
    return dg.MetadataValue.table(records=records, schema=schema)


def _bars(report: CostReport, simulated: bool) -> str:
    """What was billed by model, as bars of text: shown wherever the UI is, with nothing to be fetched."""
    billed = {model or "": figures.billed for (model,), figures in report.by("model", simulated=simulated).items()}
    dearest = sorted(billed.items(), key=lambda item: (-item[1].nanos, item[0]))
    most = max((amount.nanos for amount in billed.values()), default=0)
    width = max((len(model) for model in billed), default=0)
    lines = [f"billed by model, USD{', simulated' if simulated else ''}"]
    for model, amount in dearest[:_MAX_BARS]:
        cells = -(-_BAR_CELLS * max(amount.nanos, 0) // most) if most > 0 else 0
        lines.append(f"{model:{width}}  {'█' * cells} {amount}")
    if len(dearest) > _MAX_BARS:
        lines.append(f"and {len(dearest) - _MAX_BARS} more: see the table")
    return "```\n" + "\n".join(lines) + "\n```"
