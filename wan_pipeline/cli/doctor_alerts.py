"""What `doctor` finds about alerts: whether anybody is told, and what stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from wan_pipeline.cli.findings import Finding
from wan_pipeline.settings import Settings

if TYPE_CHECKING:
    from wan_pipeline.spend.ledger import Ledger

_WEBHOOK = "WAN_ALERT_WEBHOOK_URL"


def alerts_of(settings: Settings, ledger: Ledger) -> Iterator[Finding]:
    """Of the present mode. The URL is a secret, and not shown."""
    simulated = settings.mode == "demo"
    failing = ledger.alerts.failing(simulated=simulated)
    if settings.alert_webhook_url is None:
        status = "ok" if simulated else "note"
        shown = "is not set: alerts show in the UI's asset budgets and by `wan-pipeline alerts` alone"
        yield Finding(
            _WEBHOOK, status, shown, "" if simulated else "set it to have each posted once as JSON, as Slack takes it"
        )
    elif failing:
        many = "1 alert" if len(failing) == 1 else f"{len(failing)} alerts"
        yield Finding(
            _WEBHOOK,
            "note",
            f"{many} the webhook has not taken, the latest after {failing[0].tries} tries: {failing[0].error}",
            "is the URL right, and the webhook up? They are sent again by themselves",
        )
    else:
        yield Finding(_WEBHOOK, "ok", "is set: each alert is posted once, by Dagster's alert sensor")
    standing = len(ledger.alerts.open(simulated=simulated))
    if standing:
        stand = "1 stands" if standing == 1 else f"{standing} stand"
        yield Finding(
            "alerts", "note", f"{stand}{' (simulated money)' if simulated else ''}", "`wan-pipeline alerts` lists them"
        )
