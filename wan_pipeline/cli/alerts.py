"""`wan-pipeline alerts`: what a person should know about the money, and whether the webhook was told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from wan_pipeline.cli.console import ago, json_time, print_json, say
from wan_pipeline.cli.opened import open_ledger
from wan_pipeline.cli.options import example, json_option
from wan_pipeline.settings import Settings

if TYPE_CHECKING:
    from wan_pipeline.spend.audit_records import Alert

_MOST = 200


@click.command(
    short_help="List what stands: budgets nearly used, money in doubt, waste.",
    epilog=example("wan-pipeline alerts", "wan-pipeline alerts --all --json"),
)
@click.option("--all", "cleared_too", is_flag=True, help=f"Those without a cause any more too; the newest {_MOST}.")
@json_option
def command(cleared_too: bool, as_json: bool) -> None:
    """Look for causes of alerts now, and list those that stand, the newest first.

    A budget that is used to 80 %, spend today over three times the usual, money in doubt for more than a day, waste over 5 %
    of a month's bills, a bill over its quote. Each is told once: by Dagster's alert sensor to WAN_ALERT_WEBHOOK_URL, and by
    the checks on the asset `budgets`. This command sends nothing.
    """
    from wan_pipeline.reports.watching import watch
    from wan_pipeline.spend.budget import budgets_of

    settings = Settings.load()
    simulated = settings.mode == "demo"
    with open_ledger(settings) as ledger:
        watch(ledger, budgets_of(settings), simulated=simulated)
        standing = ledger.alerts.open(simulated=simulated)
        listed = ledger.alerts.all(simulated=simulated, limit=_MOST) if cleared_too else standing
    if as_json:
        print_json([as_object(alert) for alert in listed])
        return
    if not standing:
        say(f"there is no cause for an alert{' (simulated money)' if simulated else ''}")
    now = datetime.now(UTC)
    for alert in listed:
        print(f"{alert.kind}: {alert.message}")
        print(f"    {_history(alert, now, with_webhook=settings.alert_webhook_url is not None)}")


def as_object(alert: Alert) -> dict[str, Any]:
    """For a program: moments in ISO 8601 UTC."""
    return {
        "kind": alert.kind,
        "subject": alert.subject,
        "message": alert.message,
        "simulated": alert.simulated,
        "stands": alert.cleared_at is None,
        "raised_at": json_time(alert.raised_at),
        "cleared_at": json_time(alert.cleared_at),
        "sent_at": json_time(alert.sent_at),
        "tries": alert.tries,
        "error": alert.error,
    }


def _history(alert: Alert, now: datetime, *, with_webhook: bool) -> str:
    parts = [f"raised {ago(alert.raised_at, now)}"]
    if alert.cleared_at is not None:
        parts.append(f"cleared {ago(alert.cleared_at, now)}")
    if alert.sent_at is not None:
        parts.append(f"the webhook was told {ago(alert.sent_at, now)}")
    elif alert.error is not None:
        parts.append(f"the webhook has not taken it: {alert.error}, {alert.tries} tries")
    elif with_webhook:
        parts.append("not sent yet: the alert sensor sends it, under `wan-pipeline dev` or a daemon of your own")
    return "; ".join(parts)
