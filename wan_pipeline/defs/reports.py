"""The daily cost report as an asset: what was bought on a UTC day, from the ledger, published into the bucket.

What belongs here: how a report shows in the catalog. What does not: any figure of it (reports/).
"""

# No `from __future__ import annotations`: Dagster compares the context's annotation with its classes.

from collections.abc import Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from wan_pipeline.defs import names
from wan_pipeline.defs.failures import retried_where_it_passes, told_plainly
from wan_pipeline.defs.metadata import Metadata, link, location
from wan_pipeline.defs.partitions import day_partitions
from wan_pipeline.defs.resources import Installation
from wan_pipeline.defs.run_marks import marked_run

if TYPE_CHECKING:
    from wan_pipeline.reports import CostReport

_BAR_CELLS = 16
_MAX_BARS = 8  # the UI hides markdown of more than about 1,000 characters behind a click


@dg.asset(
    key=names.COST_REPORTS,
    # Any shot's video may have been bought on the day: which ones is in the ledger, not in their partition keys.
    deps=[dg.AssetDep(names.GENERATED_VIDEOS, partition_mapping=dg.AllPartitionMapping())],
    description=(
        "What was bought on a UTC day: by provider, model, resolution and campaign, from the ledger. "
        "As CSV, Parquet, Markdown and a chart in the bucket's reports/."
    ),
    group_name="money",
    kinds={"pandas", "parquet"},
    tags={"spends": "nothing"},
    owners=names.OWNERS,
    partitions_def=day_partitions,
    backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=31),
    output_required=False,
)
def cost_reports(context: dg.AssetExecutionContext, installation: Installation) -> Iterator[None]:
    """Make and publish the report of each day of the run."""
    yield from ()  # a generator that yields nothing: all is logged, a day at a time
    from wan_pipeline.reports import cost_report, publish

    with told_plainly(), retried_where_it_passes(context), marked_run(context, installation) as opened:
        for day in context.partition_keys:
            report = cost_report(opened.ledger.engine, date.fromisoformat(day))
            uris = publish(report, opened.bucket)
            metadata = _metadata(report, uris, opened.settings.public_base_url)
            context.log_event(dg.AssetMaterialization(names.COST_REPORTS, partition=day, metadata=metadata))


def _metadata(report: "CostReport", uris: Mapping[str, str], public_base_url: str | None) -> Metadata:
    metadata: Metadata = {}
    for kind in report.kinds:
        total = report.total(simulated=kind)
        prefix = "sim_" if kind else ""  # never one plot, or one sum, of both
        metadata |= {
            f"{prefix}jobs": dg.MetadataValue.int(total.jobs),
            f"{prefix}failed": dg.MetadataValue.int(total.failed),
            f"{prefix}video_seconds": dg.MetadataValue.int(total.seconds),
            f"{prefix}quoted_usd": dg.MetadataValue.text(str(total.quoted)),
            f"{prefix}billed_usd": dg.MetadataValue.text(str(total.billed)),
            f"{prefix}unknown_usd": dg.MetadataValue.text(str(total.unknown)),
            f"{prefix}wasted_usd": dg.MetadataValue.text(str(total.wasted)),
            f"{prefix}usd_per_second": dg.MetadataValue.text(str(total.usd_per_second or "none")),
            f"{prefix}spend_usd_plot": dg.MetadataValue.float(float(total.billed.dollars)),
        }
    if report.kinds:
        metadata["chart"] = dg.MetadataValue.md("\n\n".join(_bars(report, kind) for kind in report.kinds))
    metadata["table"] = dg.MetadataValue.md(report.table_markdown())
    metadata |= {f"file_{ending}": location(uri) for ending, uri in uris.items()}
    picture = link(public_base_url, f"reports/{report.day:%Y/%m}/{report.day.isoformat()}.png")
    if picture and report.kinds:
        # The UI shows pictures by http(s) only: it strips data: URIs.
        metadata["picture"] = dg.MetadataValue.md(f"[![billed by model]({picture})]({picture})")
    return metadata


def _bars(report: "CostReport", simulated: bool) -> str:
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
