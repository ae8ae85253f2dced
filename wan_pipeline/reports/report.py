"""The daily and the monthly cost report: made from one reading of the ledger, and had as a table, a page or a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from sqlalchemy.engine import Connection, Engine

from wan_pipeline.reports.changes import Change, Published, changes_since
from wan_pipeline.reports.figures import BudgetRow, Previous
from wan_pipeline.reports.period import Period
from wan_pipeline.reports.reading import causes_since, job_rows, refund_rows, sums_of
from wan_pipeline.reports.sheet import CostSheet
from wan_pipeline.reports.snapshot import snapshot
from wan_pipeline.reports.summing import add_up, totals, totals_of
from wan_pipeline.spend import budget
from wan_pipeline.spend.records import Budgets

NO_BUDGETS = Budgets(daily=None, monthly=None, shot=None)


@dataclass(frozen=True, slots=True)
class CostReport(CostSheet):
    """A period's costs, and the ways they can be had."""

    def table_markdown(self) -> str:
        """The rows as a Markdown table, with a line of totals for each kind."""
        from wan_pipeline.reports.markdown import table

        return table(self)

    def to_markdown(self) -> str:
        """The whole report as a page; it shows the chart from the file `<name>.png` beside it."""
        from wan_pipeline.reports.markdown import page

        return page(self)

    def to_html(self) -> bytes:
        """The whole report as one file that needs nothing else: no script, no network."""
        from wan_pipeline.reports.html import page

        return page(self)

    def chart_png(self) -> bytes:
        """What is billed, by model, as a picture."""
        from wan_pipeline.reports.chart import draw

        return draw(self)

    def to_csv(self) -> bytes:
        """The rows (no totals: sums over the file are right), UTF-8, amounts as plain decimals."""
        from wan_pipeline.reports.files import csv_file

        return csv_file(self)

    def differences_csv(self) -> bytes:
        """Every job whose bill is not its quote."""
        from wan_pipeline.reports.files import differences_file

        return differences_file(self)

    def to_parquet(self) -> bytes:
        """The same rows as the CSV, amounts as decimal128(38, 9)."""
        from wan_pipeline.reports.files import parquet_file

        return parquet_file(self)

    def to_json(self) -> bytes:
        """Every figure, amounts as decimal strings; the report's next making is compared with it."""
        from wan_pipeline.reports.record import to_json

        return to_json(self)


def cost_report(
    engine: Engine, day: date, *, budgets: Budgets | None = None, published: Published | None = None
) -> CostReport:
    """The report on a UTC day, from the ledger's tables; a day without jobs has a report too, without rows. `budgets`: to be
    compared with. `published`: what was said of that day before, to tell what has changed. Raises ValueError for a day that
    has not begun."""
    return period_report(engine, Period.day(day), budgets=budgets, published=published)


def monthly_report(
    engine: Engine, any_day: date, *, budgets: Budgets | None = None, published: Published | None = None
) -> CostReport:
    """The report on the UTC month that this day lies in; see `cost_report`."""
    return period_report(engine, Period.month(any_day), budgets=budgets, published=published)


def period_report(
    engine: Engine, period: Period, *, budgets: Budgets | None = None, published: Published | None = None
) -> CostReport:
    """The report on a day or a month; see `cost_report`."""
    with snapshot(engine) as (connection, as_of):
        if not period.has_begun(as_of):
            raise ValueError(
                f"{period} has not begun: it is {as_of:%Y-%m-%d %H:%M} UTC. Ask for a {period.word} that has"
            )
        refunds = refund_rows(connection, period)
        sums = sums_of(connection, period)
        added = add_up(job_rows(connection, period), sums, refunds, days=period.is_month)
        rows = added.rows()
        kinds = totals_of(rows)
        changes: tuple[Change, ...] = ()
        if published is not None:
            causes = causes_since(connection, period, published.as_of, refunds) if published.was_over else []
            changes = changes_since(published, kinds, causes, as_of)
        return CostReport(
            period=period,
            as_of=as_of,
            rows=rows,
            dearest=added.dearest(),
            days=added.by_day(),
            differences=added.bills(),
            refunds=tuple(row.refund for row in refunds),
            budgets=_budgets(connection, budgets or NO_BUDGETS, period, kinds),
            previous=_previous(connection, period.previous),
            changes=changes,
        )


def _previous(connection: Connection, period: Period) -> Previous:
    refunds = refund_rows(connection, period)
    sums = sums_of(connection, period)
    return Previous(period.name, totals(job_rows(connection, period), sums, refunds))


def _budgets(
    connection: Connection, budgets: Budgets, period: Period, kinds: Mapping[bool, object]
) -> tuple[BudgetRow, ...]:
    """Every budget that is set, as it was used in the period (a day's month, where it is monthly), by the kinds of money
    that occur."""
    month = f"{period.first:%Y-%m}"
    found: list[BudgetRow] = []
    for simulated in sorted(kinds):
        for line in budget.lines(connection, budgets, period.since, simulated=simulated):
            if line.name == budget.DAILY:
                if period.is_month:
                    continue
                counted = period.name
            else:
                counted = "for good" if line.until is None else month
            found.append(BudgetRow(simulated, line.name, counted, line.allowed, line.held, line.billed))
    return tuple(found)
