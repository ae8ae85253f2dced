"""`wan-pipeline report`: a UTC day's cost report, into the bucket and onto the screen."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import click

from wan_pipeline.cli.console import Column, json_time, json_usd, print_json, print_table, short_uri, usd
from wan_pipeline.cli.opened import open_ledger, prepare_home, settings_bucket
from wan_pipeline.cli.options import example, json_option
from wan_pipeline.settings import Settings

if TYPE_CHECKING:
    from wan_pipeline.reports.figures import Figures
    from wan_pipeline.reports.report import CostReport


class _Day(click.ParamType[date]):
    name = "YYYY-MM-DD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        try:
            day = date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day: write it as 2026-08-31", param, ctx)
        today = datetime.now(UTC).date()
        if day > today:
            self.fail(f"{value} has not begun: today is {today} (UTC)", param, ctx)
        return day


@click.command(
    short_help="Write and print a day's cost report.",
    epilog=example("wan-pipeline report", "wan-pipeline report --date 2026-08-31 --json"),
)
@click.option("--date", "day", type=_Day(), metavar="YYYY-MM-DD", help="A UTC day. Default: today.")
@json_option
def command(day: date | None, as_json: bool) -> None:
    """Write a day's cost report to reports/ in the bucket, and print it.

    By provider, model, resolution and campaign: jobs, seconds, quoted, billed, failed. Simulated and real money are
    never added up.
    """
    settings = Settings.load()
    prepare_home(settings)
    report, uris = write_report(settings, day or datetime.now(UTC).date())
    if as_json:
        print_json(as_object(report, uris))
        return
    print_report(report)
    print(f"Written: {short_uri(uris['md'])} (and .csv, .parquet, .png)")


def write_report(settings: Settings, day: date) -> tuple[CostReport, dict[str, str]]:
    """The report, published; and the URI of each of its files."""
    from wan_pipeline.reports.publishing import publish
    from wan_pipeline.reports.report import cost_report

    with open_ledger(settings) as ledger:
        report = cost_report(ledger.engine, day)
    return report, publish(report, settings_bucket(settings))


def as_object(report: CostReport, uris: dict[str, str]) -> dict[str, Any]:
    """For a program."""
    return {
        "date": report.day.isoformat(),
        "as_of": json_time(report.as_of),
        "rows": [
            {
                "simulated": row.simulated,
                "provider": row.provider,
                "model": row.model,
                "resolution": row.resolution,
                "campaign": row.campaign,
                **_figures(row.figures),
            }
            for row in report.rows
        ],
        "totals": [{"simulated": kind, **_figures(report.total(simulated=kind))} for kind in report.kinds],
        "files": uris,
    }


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        "jobs": figures.jobs,
        "stored": figures.stored,
        "failed": figures.failed,
        "ambiguous": figures.ambiguous,
        "in_flight": figures.in_flight,
        "seconds": figures.seconds,
        "quoted_low_usd": json_usd(figures.quoted_low),
        "quoted_usd": json_usd(figures.quoted),
        "billed_usd": json_usd(figures.billed),
        "held_usd": json_usd(figures.held),
        "unknown_usd": json_usd(figures.unknown),
        "wasted_usd": json_usd(figures.wasted),
        "usd_per_second": json_usd(figures.usd_per_second),
    }


def print_report(report: CostReport) -> None:
    """The day's table, a line of totals for each kind."""
    print(f"Costs of {report.day.isoformat()} (UTC)")
    if not report.rows:
        print("No job was submitted on that day.")
        return
    columns = [
        Column("kind", spare=True),
        Column("provider", spare=True),
        Column("model"),
        Column("size"),
        Column("campaign"),
        Column("jobs", right=True),
        Column("failed", right=True),
        Column("seconds", right=True),
        Column("quoted USD", right=True),
        Column("billed USD", right=True),
        Column("held USD", right=True, spare=True),
        Column("unknown USD", right=True, spare=True),
        Column("wasted USD", right=True, spare=True),
        Column("USD per second", right=True, spare=True),
    ]
    for kind in report.kinds:
        print_table(
            columns,
            [
                (
                    _kind(kind),
                    row.provider,
                    row.model,
                    row.resolution,
                    row.campaign or "",
                    *_cells(row.figures),
                )
                for row in report.rows
                if row.simulated is kind
            ],
            total=("total", "", "", "", "", *_cells(report.total(simulated=kind))),
        )


def _cells(figures: Figures) -> tuple[str, ...]:
    return (
        str(figures.jobs),
        str(figures.failed),
        str(figures.seconds),
        usd(figures.quoted),
        usd(figures.billed),
        usd(figures.held),
        usd(figures.unknown),
        usd(figures.wasted),
        usd(figures.usd_per_second),
    )


def _kind(simulated: bool) -> str:
    return "simulated" if simulated else "live"
