"""Alerts in Dagster: the sensor that looks for causes and has them told, and the checks on `budgets` that show them.

A tick looks at the ledger (reports/watching.py), raises what is new and clears what is over, sends what the webhook has not
taken (reports/webhook.py), and evaluates a check where what stands has changed. Each alert is told once, however many ticks,
processes and hosts there are: the ledger keeps which. A lost cursor costs one long look.

What belongs here: when it is looked, and how it shows. What does not: what gives cause for an alert (reports/causes.py).
"""

# No `from __future__ import annotations`: Dagster compares the context's annotation with its classes.

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,  # not exported, though AssetCheckEvaluation takes it
)

from wan_pipeline.defs import names
from wan_pipeline.defs.metadata import Metadata
from wan_pipeline.defs.resources import Installation, OpenInstallation
from wan_pipeline.reports.causes import KINDS, RULES
from wan_pipeline.reports.watching import Watched, watch
from wan_pipeline.reports.webhook import Sending, send_due
from wan_pipeline.spend.audit_records import Alert

INTERVAL_SECONDS = 60
WASTE_EVERY = timedelta(minutes=10)  # a sum over all jobs of a month: 0.2 s of CPU where there are 75,000
_MOST_ROWS = 50

check_specs = [dg.AssetCheckSpec(kind, asset=names.BUDGETS, description=rule) for kind, rule in RULES.items()]


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a tick tells the next one. `entry`: the newest money entry that was looked at; `shown`: by check, the digest
    of the subjects that its last evaluation showed."""

    entry: int | None = None
    waste_at: datetime | None = None
    shown: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        try:
            kept = json.loads(text or "{}")
            entry, waste_at = kept.get("entry"), kept.get("waste_at")
            shown = {str(kind): str(digest) for kind, digest in kept.get("shown", {}).items()}
            return cls(None if entry is None else int(entry), _aware(waste_at), shown)
        except (ValueError, TypeError, AttributeError):  # edited in the UI
            return cls()

    def write(self) -> str:
        waste_at = self.waste_at.isoformat() if self.waste_at else None
        kept = {"entry": self.entry, "waste_at": waste_at, "shown": self.shown}
        return json.dumps(kept, separators=(",", ":"))


@dg.sensor(
    name="alert_sensor",
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Tells once of what a person should know about the money: a budget that is nearly used, unusual spend, money in"
        " doubt, waste, bills over their quotes. By the checks on `budgets`, and by WAN_ALERT_WEBHOOK_URL. Buys nothing."
    ),
)
def alert_sensor(context: dg.SensorEvaluationContext, installation: Installation) -> dg.SensorResult:
    """One tick."""
    cursor = Cursor.read(context.cursor)
    with installation.open() as opened:
        now = opened.ledger.now()
        with_waste = cursor.waste_at is None or abs(now - cursor.waste_at) >= WASTE_EVERY
        watched = _watch(opened, after_entry=cursor.entry, with_waste=with_waste)
        sending = _send(opened, now)
        standing = opened.ledger.alerts.open(simulated=opened.simulated)
    shown = {kind: _digest(alerts) for kind, alerts in _by_kind(KINDS, standing).items()}
    changed = [kind for kind in KINDS if cursor.shown.get(kind) != shown[kind]]
    evaluations = evaluations_of(context.instance, changed, standing) if changed else []
    waste_at = now if with_waste else cursor.waste_at
    return dg.SensorResult(
        skip_reason=_told(watched, sending, standing),
        cursor=Cursor(watched.last_entry, waste_at, shown).write(),
        asset_events=evaluations,
    )


def look(opened: OpenInstallation) -> list[Alert]:
    """The alerts that stand now, all rules looked at; what is new is raised, and sent by the sensor's next tick."""
    _watch(opened)
    return opened.ledger.alerts.open(simulated=opened.simulated)


def check_results(standing: Sequence[Alert]) -> list[dg.AssetCheckResult]:
    """For the op that materializes `budgets`."""
    return [
        dg.AssetCheckResult(
            asset_key=names.BUDGETS,
            check_name=kind,
            passed=not alerts,
            severity=dg.AssetCheckSeverity.WARN,
            description=_description(alerts),
            metadata=_metadata(alerts),
        )
        for kind, alerts in _by_kind(KINDS, standing).items()
    ]


def evaluations_of(
    instance: dg.DagsterInstance, kinds: Sequence[str], standing: Sequence[Alert]
) -> list[dg.AssetCheckEvaluation]:
    """For a sensor: evaluations of the newest materialization. One that names another, or none where there is one, counts as
    not executed on the check's page."""
    target = _newest_materialization(instance)
    return [
        dg.AssetCheckEvaluation(
            asset_key=names.BUDGETS,
            check_name=kind,
            passed=not alerts,
            severity=dg.AssetCheckSeverity.WARN,
            description=_description(alerts),
            metadata=_metadata(alerts),
            target_materialization_data=target,
        )
        for kind, alerts in _by_kind(kinds, standing).items()
    ]


def alerts_table(alerts: Sequence[Alert]) -> dg.MetadataValue:
    """At most fifty, the newest first; `webhook`: when it was told, or why it was not."""
    columns = ["since", "kind", "what", "webhook"]
    schema = dg.TableSchema(columns=[dg.TableColumn(name) for name in columns])
    rows = [
        {
            "since": f"{alert.raised_at.astimezone(UTC):%Y-%m-%d %H:%M}",
            "kind": alert.kind,
            "what": alert.message,
            "webhook": f"{alert.sent_at.astimezone(UTC):%Y-%m-%d %H:%M}" if alert.sent_at else alert.error or "",
        }
        for alert in alerts[:_MOST_ROWS]
    ]
    return dg.MetadataValue.table(records=[dg.TableRecord(dict(row)) for row in rows], schema=schema)


def _watch(opened: OpenInstallation, after_entry: int | None = None, with_waste: bool = True) -> Watched:
    return watch(
        opened.ledger,
        opened.budgets,
        simulated=opened.simulated,
        after_entry=after_entry,
        with_waste=with_waste,
    )


def _send(opened: OpenInstallation, now: datetime) -> Sending | None:
    """None: no webhook is set, and alerts show in the catalog and by `wan-pipeline alerts` alone."""
    url = opened.settings.alert_webhook_url
    return None if url is None else send_due(opened.ledger.alerts, url, simulated=opened.simulated, now=now)


def _told(watched: Watched, sending: Sending | None, standing: Sequence[Alert]) -> str:
    count = "1 alert stands" if len(standing) == 1 else f"{len(standing)} alerts stand"
    parts = [count if standing else "there is no cause for an alert"]
    parts += [f"new: {len(watched.raised)}"] if watched.raised else []
    if sending is not None:
        parts += [f"sent: {sending.sent}"] if sending.sent else []
        parts += [f"not taken by the webhook: {sending.failed} ({sending.error})"] if sending.failed else []
    return "; ".join(parts)


def _by_kind(kinds: Sequence[str], standing: Sequence[Alert]) -> dict[str, list[Alert]]:
    return {kind: [alert for alert in standing if alert.kind == kind] for kind in kinds}


def _digest(alerts: Sequence[Alert]) -> str:
    subjects = sorted(alert.subject for alert in alerts)
    return hashlib.sha256(json.dumps(subjects).encode()).hexdigest()[:16]


def _description(alerts: Sequence[Alert]) -> str:
    if not alerts:
        return "no cause"
    more = f" (and {len(alerts) - 1} more)" if len(alerts) > 1 else ""
    return f"{alerts[0].message}{more}"


def _metadata(alerts: Sequence[Alert]) -> Metadata:
    return {"alerts": alerts_table(alerts)} if alerts else {}


def _newest_materialization(instance: dg.DagsterInstance) -> AssetCheckEvaluationTargetMaterializationData | None:
    records = instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=names.BUDGETS), limit=1).records
    if not records:
        return None
    return AssetCheckEvaluationTargetMaterializationData(
        storage_id=records[0].storage_id, run_id=records[0].run_id, timestamp=records[0].timestamp
    )


def _aware(text: str | None) -> datetime | None:
    moment = datetime.fromisoformat(text) if text else None
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
