"""`wan-pipeline report`: a UTC day's or month's cost report, into the bucket and onto the screen."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from wan_pipeline.cli.console import Column, print_json, print_table, short_uri, usd
from wan_pipeline.cli.exits import WrongUseError
from wan_pipeline.cli.opened import open_ledger, prepare_home, settings_bucket
from wan_pipeline.cli.options import example, json_option
from wan_pipeline.reports.period import Period
from wan_pipeline.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wan_pipeline.reports.figures import Figures
    from wan_pipeline.reports.report import CostReport
    from wan_pipeline.reports.table import Table


class _PeriodType(click.ParamType[Period]):
    """A day, or a month, that has begun."""

    def __init__(self, word: str, pattern: str, like: str) -> None:
        self.name = pattern
        self._word = word
        self._like = like

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Period:
        if isinstance(value, Period):
            return value
        try:
            period = Period.parse(value)
        except ValueError:
            period = None
        if period is None or period.word != self._word:
            self.fail(f"{value!r} is not a {self._word}: write it as {self._like}", param, ctx)
        now = datetime.now(UTC)
        if not period.has_begun(now):
            self.fail(f"{value} has not begun: today is {now.date()} (UTC)", param, ctx)
        return period


_DAY = _PeriodType("day", "YYYY-MM-DD", "2026-08-31")
_MONTH = _PeriodType("month", "YYYY-MM", "2026-08")


@click.command(
    short_help="Write and print a day's or a month's cost report.",
    epilog=example(
        "wan-pipeline report",
        "wan-pipeline report --date 2026-08-31 --json",
        "wan-pipeline report --month 2026-08",
        'wan-pipeline report --sql "SELECT day, model, sum(billed_nanos) FROM daily_costs GROUP BY day, model" --csv',
    ),
)
@click.option("--date", "day", type=_DAY, metavar="YYYY-MM-DD", help="A UTC day. Default: today.")
@click.option("--month", type=_MONTH, metavar="YYYY-MM", help="A UTC month.")
@click.option(
    "--sql", metavar="SELECT", help="Answer this question to the ledger instead; docs/ledger.md. It writes nothing."
)
@click.option("--csv", "as_csv", is_flag=True, help="With --sql: as CSV.")
@json_option
def command(day: Period | None, month: Period | None, sql: str | None, as_csv: bool, as_json: bool) -> None:
    """Write a day's or a month's cost report to reports/ in the bucket, and print it.

    By provider, model, resolution, sound and campaign: jobs, takes, seconds, quoted, billed, refunded, wasted; against the
    budgets and the period before. One that was published before says what has changed since. Simulated and real money are
    never added up.
    """
    if day is not None and month is not None:
        raise WrongUseError("a report is on a day or on a month: leave out --date or --month")
    if as_csv and sql is None:
        raise WrongUseError("--csv goes with --sql: a report's rows are in its .csv file, which is always written")
    if sql is not None and (day or month):
        raise WrongUseError("--sql is a question of its own: leave out --date and --month, and say in it of which days")
    settings = Settings.load()
    prepare_home(settings)
    if sql is not None:
        from wan_pipeline.cli.report_sql import answer_sql

        answer_sql(settings, sql, as_json=as_json, as_csv=as_csv)
        return
    report, uris = write_report(settings, day or month or Period.day(datetime.now(UTC).date()))
    if as_json:
        print_json(as_object(report, uris))
        return
    print_report(report)
    print(f"Written: {short_uri(uris['html'])} (and .md, .csv, .parquet, .png, .json, -differences.csv)")


def write_report(settings: Settings, period: Period) -> tuple[CostReport, dict[str, str]]:
    """The report, published; and the URI of each of its files."""
    from wan_pipeline.reports.publishing import make
    from wan_pipeline.spend.budget import budgets_of

    with open_ledger(settings) as ledger:
        return make(ledger.engine, settings_bucket(settings), period, budgets_of(settings))


def as_object(report: CostReport, uris: dict[str, str]) -> dict[str, Any]:
    """For a program: what the report's own JSON file says, and where the files are."""
    from wan_pipeline.reports import record

    return record.as_object(report) | {"files": uris}


def print_report(report: CostReport) -> None:
    """The table with a line of totals for each kind; then what is dear, what is doubtful, what has changed."""
    from wan_pipeline.reports import listings, tables, words

    print(f"Costs of {report.period} (UTC). {words.as_of(report)}")
    if report.unreadable:
        print(f"What was published before cannot be compared with: {report.unreadable}. It is replaced.")
    for change in report.changes[:1]:
        figures = listings.changed_table(change)
        print(f"\n{figures.title} (found at {words.moment(change.as_of)} UTC)")
        _print(figures)
        causes = listings.causes_table(change)
        if causes.rows:
            _print(causes)
    if report.changes:
        print()
    if not report.rows:
        print(words.nothing(report))
        return
    for kind in report.kinds:
        _print_rows(report, kind)
        for each in tables.kind_tables(report, simulated=kind):
            if each.name in ("budgets", "compared", "dearest", "differences"):
                print(f"\n{each.title}{' (simulated)' if kind else ''}")
                _print(each)


def _print_rows(report: CostReport, kind: bool) -> None:
    columns = [
        Column("kind", spare=True),
        Column("provider", spare=True),
        Column("model"),
        Column("size"),
        Column("sound", spare=True),
        Column("campaign"),
        Column("jobs", right=True),
        Column("takes", right=True, spare=True),
        Column("failed", right=True),
        Column("seconds", right=True),
        Column("quoted USD", right=True),
        Column("billed USD", right=True),
        Column("refunded USD", right=True, spare=True),
        Column("held USD", right=True, spare=True),
        Column("unknown USD", right=True, spare=True),
        Column("wasted USD", right=True, spare=True),
        Column("USD per second", right=True, spare=True),
    ]
    print_table(
        columns,
        [
            (
                _kind(kind),
                row.provider,
                row.model,
                row.resolution,
                row.sound,
                row.campaign or "",
                *_cells(row.figures),
            )
            for row in report.rows
            if row.simulated is kind
        ],
        total=("total", "", "", "", "", "", *_cells(report.total(simulated=kind))),
    )


def _print(table: Table) -> None:
    columns = [Column(heading, right=index >= table.words) for index, heading in enumerate(table.headings)]
    rows: Sequence[Sequence[str]] = table.rows
    if rows:
        print_table(columns, rows)
    if table.more:
        print(f"… {table.more:,} more, see {table.all_in}")
    if table.note:
        print(table.note)


def _cells(figures: Figures) -> tuple[str, ...]:
    return (
        str(figures.jobs),
        str(figures.takes),
        str(figures.failed),
        str(figures.seconds),
        usd(figures.quoted),
        usd(figures.billed),
        usd(figures.refunded),
        usd(figures.held),
        usd(figures.unknown),
        usd(figures.wasted),
        usd(figures.usd_per_second),
    )


def _kind(simulated: bool) -> str:
    return "simulated" if simulated else "live"
