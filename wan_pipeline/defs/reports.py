"""The cost reports as assets: what was bought on a UTC day, and in a UTC month, from the ledger, published into the bucket.

What belongs here: when they are made, and for which partitions. What does not: any figure of them (reports/), how they show
(report_metadata.py), which of them have to be made anew (changed_reports.py).
"""

# No `from __future__ import annotations`: Dagster compares the context's annotation with its classes.

from collections.abc import Iterator

import dagster as dg

from wan_pipeline.defs import names
from wan_pipeline.defs.failures import retried_where_it_passes, told_plainly
from wan_pipeline.defs.partitions import day_partitions, month_partitions
from wan_pipeline.defs.report_metadata import report_metadata
from wan_pipeline.defs.resources import Installation
from wan_pipeline.defs.run_marks import marked_run

_FORMS = (
    "by provider, model, resolution, sound and campaign, against the budgets and the {word} before, from the ledger. As"
    " HTML, Markdown, CSV, Parquet, JSON and a chart in the bucket's reports/. Made again, it says what has changed since."
)


@dg.asset(
    key=names.COST_REPORTS,
    # Any shot's video may have been bought on the day: which ones is in the ledger, not in their partition keys.
    deps=[dg.AssetDep(names.GENERATED_VIDEOS, partition_mapping=dg.AllPartitionMapping())],
    description=f"What was bought on a UTC day: {_FORMS.format(word='day')}",
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
    _make(context, installation, names.COST_REPORTS)


@dg.asset(
    key=names.MONTHLY_COST_REPORTS,
    deps=[dg.AssetDep(names.GENERATED_VIDEOS, partition_mapping=dg.AllPartitionMapping())],
    description=f"What was bought in a UTC month: by day, {_FORMS.format(word='month')}",
    group_name="money",
    kinds={"pandas", "parquet"},
    tags={"spends": "nothing"},
    owners=names.OWNERS,
    partitions_def=month_partitions,
    backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=12),
    output_required=False,
)
def monthly_cost_reports(context: dg.AssetExecutionContext, installation: Installation) -> Iterator[None]:
    """Make and publish the report of each month of the run."""
    yield from ()
    _make(context, installation, names.MONTHLY_COST_REPORTS)


def _make(context: dg.AssetExecutionContext, installation: Installation, asset: dg.AssetKey) -> None:
    from wan_pipeline.reports import Period, make

    with told_plainly(), retried_where_it_passes(context), marked_run(context, installation) as opened:
        for name in context.partition_keys:
            report, uris = make(opened.ledger.engine, opened.bucket, Period.parse(name), opened.budgets)
            metadata = report_metadata(report, uris, opened.settings.public_base_url)
            context.log_event(dg.AssetMaterialization(asset, partition=name, metadata=metadata))
