"""Reconciliations as an asset: a UTC day by provider, compared with the provider's own books, and a check of what differs.

What belongs here: how a reconciliation shows in the catalog. What does not: any rule of it (reconciliation/).
"""

# No `from __future__ import annotations`: Dagster compares the context's annotation with its classes.

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,  # not exported, though AssetCheckEvaluation takes it
)

from wan_pipeline.defs import names
from wan_pipeline.defs.failures import retried_where_it_passes, told_plainly
from wan_pipeline.defs.metadata import Metadata, link, location
from wan_pipeline.defs.partitions import day_partitions
from wan_pipeline.defs.passing import patiently
from wan_pipeline.defs.resources import Installation
from wan_pipeline.defs.run_marks import marked_run
from wan_pipeline.defs.run_tags import ASKED_BY, NO_RUN_RETRIES, AskedBy

if TYPE_CHECKING:
    from wan_pipeline.reconciliation.findings import Finding
    from wan_pipeline.reconciliation.reconciling import Reconciliation
    from wan_pipeline.spend.audit_records import Explanation

EXPLAINED: Final = "explained"
RECONCILE: Final = "reconcile_books"
PROVIDERS: Final = ("aimlapi", "shortapi", "wavespeed")
AGAIN_AFTER: Final = timedelta(days=3)  # refunds and charges lag
_SHOWN = 50

# "2026-11-20|wavespeed". A backfill has one run for each: Dagster gives a run over several as a range from a first to a last
# key, and of two dimensions a range is a rectangle, which the rest of a half-done backfill mostly is not.
reconciliation_partitions = dg.MultiPartitionsDefinition(
    {"day": day_partitions, "provider": dg.StaticPartitionsDefinition(list(PROVIDERS))}
)


_spec = dg.AssetSpec(
    names.RECONCILIATIONS,
    deps=[dg.AssetDep(names.GENERATED_VIDEOS, partition_mapping=dg.AllPartitionMapping())],
    description=(
        "A UTC day's jobs at a provider against the provider's own books: AI/ML API's transactions, WaveSpeed's billing, "
        "and for any of them the invoices in the bucket's `invoices/`. What their evidence settles is corrected by an "
        "entry of its own; what else differs turns the check `explained` red until a person explains it: "
        "`wan-pipeline reconcile --accept`. Every line is in the CSV in the bucket's `reports/`."
    ),
    group_name="money",
    kinds={"python", "csv"},
    tags={"spends": "nothing"},
    owners=names.OWNERS,
    partitions_def=reconciliation_partitions,
    skippable=True,
)
_check_spec = dg.AssetCheckSpec(
    EXPLAINED,
    asset=names.RECONCILIATIONS,
    description=(
        "Every line of the provider's books and every job of the ledger is matched, corrected or explained. A warning "
        "where books could not be read, or there are none: then nothing is concluded."
    ),
    partitions_def=reconciliation_partitions,
)


@dg.multi_asset(  # of one asset: so its check may be logged, and not yielded
    name="reconciliations",
    specs=[_spec],
    check_specs=[_check_spec],
    can_subset=True,
    backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=1),
)
def reconciliations(context: dg.AssetExecutionContext, installation: Installation) -> Iterator[None]:
    """Reconcile each day and provider of the run."""
    yield from ()  # a generator that yields nothing: all is logged, a partition at a time
    from wan_pipeline.reconciliation.publishing import publish
    from wan_pipeline.reconciliation.reconciling import Reconciler
    from wan_pipeline.reports.period import Period

    with told_plainly(), retried_where_it_passes(context), marked_run(context, installation) as opened:
        reconciler = Reconciler(opened.ledger, opened.bucket, opened.connect, opened.simulated)
        invoices = reconciler.invoices()
        checked = bool(context.selected_asset_check_keys)
        for key in context.partition_keys:
            day, provider = _parts(key)
            result = reconciler.reconcile(provider, Period.day(day), invoices)
            uris = publish(result, opened.bucket)
            metadata = metadata_of(result, uris, opened.settings.public_base_url)
            event = dg.AssetMaterialization(names.RECONCILIATIONS, partition=key, metadata=metadata)
            if names.RECONCILIATIONS in context.selected_asset_keys:
                patiently(context.log_event, event)
            if checked:
                _log_check(context, key, result)


def _parts(key: str) -> tuple[date, str]:
    """`2026-11-20|wavespeed`: the dimensions in the order of their names, as Dagster writes them."""
    day, _, provider = str(key).partition("|")
    return date.fromisoformat(day), provider


def _log_check(context: dg.AssetExecutionContext, key: str, result: "Reconciliation") -> None:
    from wan_pipeline.reconciliation.reconciling import Verdict

    bad = result.verdict in (Verdict.UNEXPLAINED, Verdict.UNREADABLE)
    nothing = result.verdict is Verdict.NO_BOOKS and not result.jobs
    evaluation = dg.AssetCheckEvaluation(
        asset_key=names.RECONCILIATIONS,
        check_name=EXPLAINED,
        passed=result.verdict is Verdict.EXPLAINED or nothing,
        severity=dg.AssetCheckSeverity.ERROR if bad else dg.AssetCheckSeverity.WARN,
        description=told(result),
        partition=key,
        metadata=_check_metadata(result),
        target_materialization_data=_newest(context.instance, key),
    )
    # Dagster logs it (a test sees it), but its annotation does not say so.
    patiently(context.log_event, cast(Any, evaluation))


def _newest(instance: dg.DagsterInstance, key: str) -> AssetCheckEvaluationTargetMaterializationData | None:
    filters = dg.AssetRecordsFilter(asset_key=names.RECONCILIATIONS, asset_partitions=[key])
    records = patiently(instance.fetch_materializations, filters, limit=1).records
    if not records:
        return None
    return AssetCheckEvaluationTargetMaterializationData(
        storage_id=records[0].storage_id, run_id=records[0].run_id, timestamp=records[0].timestamp
    )


def told(result: "Reconciliation") -> str:
    """What it came to, in a sentence."""
    from wan_pipeline.reconciliation.reconciling import Verdict

    match result.verdict:
        case Verdict.EXPLAINED:
            return "every line and every job is matched, corrected or explained"
        case Verdict.UNEXPLAINED:
            count = len(result.unexplained)
            return "1 difference is not explained" if count == 1 else f"{count} differences are not explained"
        case Verdict.UNREADABLE:
            return f"invoices with mistakes, refused whole: {', '.join(each.key for each in result.refused)}"
        case Verdict.NOT_READ:
            return f"the books could not be read, so nothing is concluded: {result.unread}"
        case Verdict.NO_BOOKS:
            jobs = "1 job is" if result.jobs == 1 else f"{result.jobs} jobs are"
            return (
                f"there are no books to compare with: drop invoices/{result.provider}-{result.period.first:%Y-%m}.csv and a"
                f" mapping into the bucket (docs/reconciliation.md); {jobs} charged in the ledger"
            )


def metadata_of(result: "Reconciliation", uris: Mapping[str, str], public_base_url: str | None) -> Metadata:
    """What the catalog shows of it: what a person has to look at comes first."""
    from wan_pipeline.reconciliation.publishing import base_key

    text, count = dg.MetadataValue.text, dg.MetadataValue.int
    metadata: Metadata = {"verdict": text(result.verdict.value), "told": text(told(result))}
    lines = link(public_base_url, f"{base_key(result)}.csv")
    if lines:
        metadata["every_line"] = dg.MetadataValue.url(lines)
    findings = (*result.corrected, *result.findings)
    if findings:
        metadata["findings"] = _table(findings)
    if result.earlier:
        metadata["explained_earlier"] = _explained_earlier(result.earlier)
    figures: Metadata = {}
    for comparison in result.comparisons:
        name, balance = comparison.book.name.rpartition("/")[2], comparison.balance
        metadata[f"{name}: balance"] = dg.MetadataValue.md(
            "\n".join(
                ["| from the ledger to their books | USD |", "|---|---:|"]
                + [f"| {what} | {amount} |" for what, amount in balance.lines]
            )
        )
        figures |= {
            f"{name}: lines": count(comparison.line_count),
            f"{name}: matched": count(comparison.matched),
            f"{name}: ledger_usd": text(str(balance.ledger)),
            f"{name}: theirs_usd": text(str(balance.theirs)),
        }
    metadata |= {
        "unexplained": count(len(result.unexplained)),
        "corrected": count(len(result.corrected)),
        "jobs": count(result.jobs),
        "billed_usd": text(str(result.billed)),
        "kind": text("simulated" if result.simulated else "live"),
        "as_of": text(f"{result.as_of:%Y-%m-%d %H:%M} UTC" + (": the day is not over" if result.is_running else "")),
    }
    return metadata | figures | {f"file_{ending}": location(uri) for ending, uri in uris.items()}


def _check_metadata(result: "Reconciliation") -> Metadata:
    metadata: Metadata = {"unexplained": dg.MetadataValue.int(len(result.unexplained))}
    if result.unexplained:
        metadata["findings"] = _table(result.unexplained)
        metadata["remedy"] = dg.MetadataValue.text(
            f"wan-pipeline reconcile --date {result.period.name} --provider {result.provider} --accept REASON"
            " --finding KEY"
        )
    mistakes = [str(problem) for each in result.refused for problem in each.problems]
    if mistakes:
        metadata["mistakes"] = dg.MetadataValue.text("\n".join(mistakes))
    return metadata


def _table(findings: Sequence["Finding"]) -> dg.MetadataValue:
    return _rows(
        {
            "key": each.key[:12],
            "kind": f"{each.kind.value} ({each.line_kind.value})",
            "what": each.words,
            "theirs_usd": "" if each.theirs is None else str(each.theirs),
            "ours_usd": "" if each.ours is None else str(each.ours),
            "standing": each.standing.value + (f" by {_said(each.explanation)}" if each.explanation else ""),
            "shot": each.job.shot if each.job else "",
        }
        for each in findings[:_SHOWN]
    )


def _explained_earlier(explanations: Sequence["Explanation"]) -> dg.MetadataValue:
    """What people have said of differences that there are no more."""
    return _rows(
        {"key": each.finding[:12], "what": each.what, "explained": f"by {_said(each)}"}
        for each in explanations[-_SHOWN:]
    )


def _said(explanation: "Explanation") -> str:
    return f'{explanation.who} on {explanation.at:%Y-%m-%d}: "{explanation.reason}"'


def _rows(rows: Iterable[dict[str, str]]) -> dg.MetadataValue:
    return dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in rows])


reconcile_books = dg.define_asset_job(
    RECONCILE,
    selection=dg.AssetSelection.assets(names.RECONCILIATIONS),
    description="The ledger against the provider's own books, for the chosen UTC days and providers.",
    tags={"spends": "nothing", **NO_RUN_RETRIES},
    executor_def=dg.in_process_executor,
)


@dg.schedule(
    name="daily_reconciliation",
    cron_schedule="15 1 * * *",
    execution_timezone="UTC",
    job=reconcile_books,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Yesterday (UTC) against the providers' books, and once more the day that was yesterday three days ago.",
)
def daily_reconciliation(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    """By the time the tick is for: a tick that comes late reconciles the days it was meant for."""
    yesterday = context.scheduled_execution_time.astimezone(UTC).date() - timedelta(days=1)
    return [
        dg.RunRequest(
            run_key=f"reconcile-{day}-{provider}{suffix}",
            partition_key=dg.MultiPartitionKey({"day": day.isoformat(), "provider": provider}),
            tags={ASKED_BY: str(AskedBy.SCHEDULE)},
        )
        for day, suffix in ((yesterday, ""), (yesterday - AGAIN_AFTER, "-again"))
        for provider in PROVIDERS
    ]
