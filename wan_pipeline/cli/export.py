"""`wan-pipeline export`: a month's charges in the FinOps Foundation's format, into the bucket."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from wan_pipeline.cli.console import json_time, json_usd, print_json, short_uri
from wan_pipeline.cli.opened import open_ledger, prepare_home, settings_bucket
from wan_pipeline.cli.options import example, json_option
from wan_pipeline.reports.period import Period
from wan_pipeline.settings import Settings

if TYPE_CHECKING:
    from wan_pipeline.reports.focus import FocusExport


class _Month(click.ParamType[Period]):
    name = "YYYY-MM"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Period:
        if isinstance(value, Period):
            return value
        try:
            month = Period.parse(value)
        except ValueError:
            month = None
        if month is None or not month.is_month:
            self.fail(f"{value!r} is not a month: write it as 2026-08", param, ctx)
        now = datetime.now(UTC)
        if not month.has_begun(now):
            self.fail(f"{value} has not begun: today is {now.date()} (UTC)", param, ctx)
        return month


@click.command(
    short_help="Write a month's charges in the FOCUS 1.2 format.",
    epilog=example("wan-pipeline export", "wan-pipeline export --month 2026-08 --json"),
)
@click.option("--month", type=_Month(), metavar="YYYY-MM", help="A UTC month. Default: the running one.")
@click.option(
    "--simulated/--live",
    default=None,
    help="Which charges: they lie in files of their own. Default: as WAN_MODE says.",
)
@json_option
def command(month: Period | None, simulated: bool | None, as_json: bool) -> None:
    """Write a month's charges to reports/ in the bucket, as CSV and Parquet in the format FOCUS 1.2.

    One row for each charge, refund, correction and top-up. Each rule of the format is checked first; where one is
    broken, nothing is written. Jobs of which nobody knows whether they are billed are not in it.
    """
    settings = Settings.load()
    prepare_home(settings)
    export, uris = write_export(settings, month or Period.month(datetime.now(UTC).date()), simulated)
    if as_json:
        print_json(as_object(export, uris))
        return
    print(f"{'Simulated charges' if export.simulated else 'Charges'} of {export.month} (UTC): {_counted(export)}")
    print(f"BilledCost {export.billed} USD, EffectiveCost {export.effective} USD")
    if export.ambiguous:
        print(f"Not in it: {export.ambiguous} ambiguous jobs, which may have been billed up to {export.unknown} USD")
    if not export.is_over:
        print("The month is not over.")
    print(f"Written: {short_uri(uris['csv'])} (and .parquet)")


def write_export(settings: Settings, month: Period, simulated: bool | None) -> tuple[FocusExport, dict[str, str]]:
    """The export, published; and the URI of each of its files."""
    from wan_pipeline.providers.issuing import ISSUERS
    from wan_pipeline.reports.focus import focus_export, publish

    kind = settings.mode == "demo" if simulated is None else simulated
    with open_ledger(settings) as ledger:
        export = focus_export(ledger.engine, month, ISSUERS, simulated=kind)
    return export, publish(export, settings_bucket(settings))


def as_object(export: FocusExport, uris: dict[str, str]) -> dict[str, Any]:
    """For a program."""
    return {
        "month": export.month.name,
        "simulated": export.simulated,
        "as_of": json_time(export.as_of),
        "month_is_over": export.is_over,
        "rows": export.rows,
        "billed_cost_usd": json_usd(export.billed),
        "effective_cost_usd": json_usd(export.effective),
        "corrections": export.corrections,
        "top_ups": export.purchases,
        "ambiguous_jobs_left_out": export.ambiguous,
        "unknown_usd_left_out": json_usd(export.unknown),
        "files": uris,
    }


def _counted(export: FocusExport) -> str:
    parts = ["1 row" if export.rows == 1 else f"{export.rows} rows"]
    if export.corrections:
        parts.append(f"{export.corrections} of them corrections of earlier months")
    if export.purchases:
        parts.append(f"{export.purchases} top-ups")
    return ", ".join(parts)
