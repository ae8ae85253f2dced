"""The month's FOCUS export as an asset; its job, schedule, and the sensor that remakes it. Its figures: reports/focus."""

# No `from __future__ import annotations`: Dagster compares the context's annotation with its classes.

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from wan_pipeline.defs import names
from wan_pipeline.defs.failures import retried_where_it_passes, told_plainly
from wan_pipeline.defs.metadata import Metadata, link, location
from wan_pipeline.defs.partitions import month_partitions
from wan_pipeline.defs.resources import Installation
from wan_pipeline.defs.run_marks import marked_run
from wan_pipeline.defs.run_tags import ASKED_BY, NO_RUN_RETRIES, AskedBy

if TYPE_CHECKING:
    from wan_pipeline.reports.focus import FocusExport

_REPORTS_PER_TICK = 100


@dg.asset(
    key=names.FOCUS_EXPORTS,
    # Any shot's video may have been bought in the month: which ones is in the ledger, not in their partition keys.
    deps=[dg.AssetDep(names.GENERATED_VIDEOS, partition_mapping=dg.AllPartitionMapping())],
    description=(
        "The month's charges in the FinOps Foundation's format FOCUS 1.2, as CSV and Parquet in the bucket's reports/: one "
        "row for each charge, refund, correction and top-up. Published only where it keeps every rule of the format. In "
        "demo mode the simulated charges, in files of their own."
    ),
    group_name="money",
    kinds={"csv", "parquet"},
    tags={"spends": "nothing"},
    owners=names.OWNERS,
    partitions_def=month_partitions,
    backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=12),
    output_required=False,
)
def focus_exports(context: dg.AssetExecutionContext, installation: Installation) -> Iterator[None]:
    """Make, check and publish the export of each month of the run."""
    yield from ()  # a generator that yields nothing: all is logged, a month at a time
    from wan_pipeline.providers.issuing import ISSUERS
    from wan_pipeline.reports.focus import focus_export, publish
    from wan_pipeline.reports.period import Period

    with told_plainly(), retried_where_it_passes(context), marked_run(context, installation) as opened:
        for name in context.partition_keys:
            export = focus_export(opened.ledger.engine, Period.parse(name), ISSUERS, simulated=opened.simulated)
            uris = publish(export, opened.bucket)
            metadata = _metadata(export, uris, opened.settings.public_base_url)
            context.log_event(dg.AssetMaterialization(names.FOCUS_EXPORTS, partition=name, metadata=metadata))


def _metadata(export: "FocusExport", uris: Mapping[str, str], public_base_url: str | None) -> Metadata:
    prefix = "sim_" if export.simulated else ""  # never one plot, or one sum, of both
    text, count = dg.MetadataValue.text, dg.MetadataValue.int
    table = link(public_base_url, f"{export.key}.csv")
    metadata: Metadata = {"export": dg.MetadataValue.url(table)} if table else {}
    return metadata | {
        f"{prefix}rows": count(export.rows),
        f"{prefix}billed_cost_usd": text(str(export.billed)),
        f"{prefix}effective_cost_usd": text(str(export.effective)),
        f"{prefix}corrections": count(export.corrections),
        f"{prefix}top_ups": count(export.purchases),
        f"{prefix}ambiguous_jobs_left_out": count(export.ambiguous),
        f"{prefix}unknown_usd_left_out": text(str(export.unknown)),
        "as_of": text(f"{export.as_of:%Y-%m-%d %H:%M} UTC" + ("" if export.is_over else ": the month is not over")),
        **{f"file_{ending}": location(uri) for ending, uri in uris.items()},
    }


focus_export_job = dg.define_asset_job(
    "focus_export",
    selection=dg.AssetSelection.assets(names.FOCUS_EXPORTS),
    description="The FOCUS export of the chosen UTC months.",
    tags={"spends": "nothing", **NO_RUN_RETRIES},
    executor_def=dg.in_process_executor,
)


@dg.schedule(
    name="monthly_focus_export",
    cron_schedule="0 1 2 * *",
    execution_timezone="UTC",
    job=focus_export_job,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="The FOCUS export of last month (UTC), a day after its end: what is billed late is in it.",
)
def monthly_focus_export(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Last month's, from the time the tick is for: a tick that comes late exports the month it was meant for."""
    moment: datetime = context.scheduled_execution_time.astimezone(UTC)
    month = (moment.replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    return dg.RunRequest(run_key=f"focus-{month}", partition_key=month, tags={ASKED_BY: str(AskedBy.SCHEDULE)})


@dg.sensor(
    name="changed_exports",
    job=focus_export_job,
    minimum_interval_seconds=600,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Has the FOCUS export of a month made anew whose report was: what changed the one is in the other.",
)
def changed_exports(context: dg.SensorEvaluationContext, installation: Installation) -> dg.SensorResult:
    """One tick: of the monthly reports since the last one, those of months that are exported already."""
    from wan_pipeline.reports.focus import key_of
    from wan_pipeline.reports.period import Period

    cursor = context.cursor or ""
    seen = int(cursor) if cursor.isdigit() else 0
    wanted = dg.AssetRecordsFilter(asset_key=names.MONTHLY_COST_REPORTS, after_storage_id=seen)
    records = context.instance.fetch_materializations(wanted, limit=_REPORTS_PER_TICK, ascending=True).records
    newest = {record.partition_key: record.storage_id for record in records if record.partition_key}
    requests: list[dg.RunRequest] = []
    if newest:
        with installation.open() as opened:
            for name, storage_id in newest.items():
                month = Period.parse(name)
                key = f"{key_of(month, simulated=opened.simulated)}.csv"
                if month.is_over(datetime.now(UTC)) and opened.bucket.exists(key):
                    tags = {ASKED_BY: str(AskedBy.SENSOR)}
                    requests.append(dg.RunRequest(run_key=f"focus-{name}-{storage_id}", partition_key=name, tags=tags))
    reason = None if requests else "no exported month has a newer report"
    last = max(newest.values(), default=seen)
    return dg.SensorResult(run_requests=requests, skip_reason=reason, cursor=str(last))
