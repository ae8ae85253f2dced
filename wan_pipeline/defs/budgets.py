"""The budgets in the catalog: what is allowed, held, billed and left; what is ambiguous; what waits for room.

What belongs here: how it shows. What does not: any sum of it (spend/budget.py). Materializing the asset shows it as it is
now; the recovery sensor shows it by itself, as an observation, where it has changed.
"""

# No `from __future__ import annotations`: Dagster compares the context's annotation with its classes.

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from wan_pipeline.defs import alerting, names
from wan_pipeline.defs.failures import retried_where_it_passes, told_plainly
from wan_pipeline.defs.metadata import Metadata
from wan_pipeline.defs.resources import Installation, OpenInstallation
from wan_pipeline.defs.run_marks import marked_run
from wan_pipeline.generation.outlook import Outlook, outlook
from wan_pipeline.money import Money
from wan_pipeline.spend.audit_records import Alert
from wan_pipeline.spend.records import BudgetLine, Deferral, Job

_MOST_ROWS = 50  # of ambiguous jobs, and of deferrals; the sums are of all


@dataclass(frozen=True, slots=True)
class Picture:
    """What is shown, at `at`. `views`: what is known of the ambiguous jobs that are listed, and what happens next."""

    lines: Sequence[BudgetLine]
    ambiguous: Sequence[Job]
    deferrals: Sequence[Deferral]
    at: datetime
    simulated: bool
    absent_after: timedelta
    views: Mapping[str, Outlook] = field(default_factory=dict[str, Outlook])
    alerts: Sequence[Alert] = ()

    @property
    def ambiguous_usd(self) -> Money:
        return Money.total(job.held for job in self.ambiguous)

    @property
    def digest(self) -> str:
        """The same while no amount has changed, nor what is ambiguous and what was seen of it, nor who waits, nor an
        alert."""
        amounts = [[line.name, line.allowed.nanos, line.held.nanos, line.billed.nanos] for line in self.lines]
        ambiguous = [[job.id, job.looks] for job in self.ambiguous]
        waiting, alerts = [each.shot for each in self.deferrals], [alert.id for alert in self.alerts]
        text = json.dumps([amounts, ambiguous, waiting, alerts])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def picture(opened: OpenInstallation) -> Picture:
    """As the ledger has it now."""
    ledger, simulated = opened.ledger, opened.simulated
    return Picture(
        lines=ledger.budget_lines(opened.budgets, simulated=simulated),
        ambiguous=ledger.ambiguous(simulated=simulated),
        deferrals=ledger.deferrals.load(simulated=simulated),
        at=datetime.now(UTC),
        simulated=simulated,
        absent_after=opened.absent_after,
        alerts=ledger.alerts.open(simulated=simulated),
    )


def with_views(seen: Picture, opened: OpenInstallation) -> Picture:
    """The same, with what is known of the ambiguous jobs."""
    shown = seen.ambiguous[:_MOST_ROWS]
    return replace(seen, views={job.id: outlook(opened.ledger, job, seen.absent_after, seen.at) for job in shown})


@dg.asset(
    key=names.BUDGETS,
    description=(
        "Every budget as it stands: allowed, held, billed, left, and until when. Beside it the ambiguous jobs, with what"
        " hangs on them and what happens next, and the shots that wait for room. The recovery sensor shows it by itself"
        " where it has changed; materializing shows it now. The checks are alerts, which the alert sensor looks for every"
        " minute. A job that waits for a person is decided by the job `resolve_job`, or by `wan-pipeline resolve`."
    ),
    group_name="money",
    kinds={"python"},
    tags={"spends": "nothing"},
    owners=names.OWNERS,
    check_specs=alerting.check_specs,
)
def budgets(
    context: dg.AssetExecutionContext, installation: Installation
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Show the budgets as they are now, and look for causes of alerts."""
    with told_plainly(), retried_where_it_passes(context), marked_run(context, installation) as opened:
        standing = alerting.look(opened)
        seen = with_views(picture(opened), opened)
    yield dg.MaterializeResult(asset_key=names.BUDGETS, metadata=_metadata(seen))
    yield from alerting.check_results(standing)


def picture_observation(seen: Picture) -> dg.AssetObservation:
    return dg.AssetObservation(names.BUDGETS, metadata=_metadata(seen))


def _metadata(seen: Picture) -> Metadata:
    metadata: Metadata = {
        "budgets": _table(["budget", "allowed_usd", "held_usd", "billed_usd", "left_usd", "until"], _budget_rows(seen)),
        "ambiguous_usd": dg.MetadataValue.text(str(seen.ambiguous_usd)),
        "ambiguous_jobs": dg.MetadataValue.int(len(seen.ambiguous)),
        "deferred_shots": dg.MetadataValue.int(len(seen.deferrals)),
        "simulated": dg.MetadataValue.bool(seen.simulated),
    }
    if seen.ambiguous:
        columns = ["job", "shot", "provider", "held_usd", "since", "known", "next"]
        metadata["ambiguous"] = _table(columns, [_ambiguous_row(job, seen) for job in seen.ambiguous[:_MOST_ROWS]])
    if seen.alerts:
        metadata["alerts"] = alerting.alerts_table(seen.alerts)
    if seen.deferrals:
        columns = ["shot", "limit", "needed_usd", "since", "until", "reason"]
        metadata["deferred"] = _table(columns, [_deferred_row(each) for each in seen.deferrals[:_MOST_ROWS]])
    metadata["ambiguous_usd_plot"] = dg.MetadataValue.float(float(seen.ambiguous_usd.dollars))
    for line in seen.lines:
        name = "".join(char if char.isalnum() else "_" for char in line.name.lower()).strip("_")
        metadata[f"{name}_used_plot"] = dg.MetadataValue.float(float((line.held + line.billed).dollars))
    return metadata


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> dg.MetadataValue:
    schema = dg.TableSchema(columns=[dg.TableColumn(name) for name in columns])
    return dg.MetadataValue.table(records=[dg.TableRecord(dict(row)) for row in rows], schema=schema)


def _budget_rows(seen: Picture) -> list[dict[str, str]]:
    return [
        {
            "budget": line.name,
            "allowed_usd": str(line.allowed),
            "held_usd": str(line.held),
            "billed_usd": str(line.billed),
            "left_usd": str(line.left),
            "until": _moment(line.until) or "for good",
        }
        for line in seen.lines
    ]


def _ambiguous_row(job: Job, seen: Picture) -> dict[str, str]:
    view = seen.views[job.id]
    said = [f"{look.witness}: {look.verdict}, {look.detail} ({_moment(look.at)})" for look in view.last_words]
    said += [f"a callback has named {hint}" for hint in view.hints]
    return {
        "job": job.id,
        "shot": job.shot,
        "provider": job.provider,
        "held_usd": str(job.held),
        "since": _moment(job.doubted_at or job.updated_at),
        "known": "; ".join([job.error or "no answer came", *said]),
        "next": view.next,
    }


def _deferred_row(each: Deferral) -> dict[str, str]:
    return {
        "shot": each.shot,
        "limit": each.limit or f"{each.provider} could not be reached",
        "needed_usd": str(each.needed),
        "since": _moment(each.since),
        "until": _moment(each.until) or "there is room",
        "reason": each.reason,
    }


def _moment(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if moment else ""
