"""The report's sums as words in cells: by line, by dimension, by day, against budgets and the period before.

What belongs here: which columns and rows, in which order, how many. What does not: markup, colours.
"""

from __future__ import annotations

from wan_pipeline.reports import words
from wan_pipeline.reports.figures import CostRow, Figures
from wan_pipeline.reports.listings import dearest_table, differences_table, refunds_table
from wan_pipeline.reports.sheet import CostSheet, Dimension
from wan_pipeline.reports.table import MOST_ROWS, OPTIONAL, Table
from wan_pipeline.reports.words import or_blank, percent_change, signed, value

_NONE = "(none)"
_FIGURES = ("jobs", "takes", "seconds", "quoted", "billed", *OPTIONAL, "USD/second")
_COMPARED = (
    "jobs",
    "takes",
    "failed",
    "seconds",
    "quoted",
    "billed",
    "refunded",
    "unknown",
    "wasted",
    "usd_per_second",
)


def rows_table(sheet: CostSheet, *, simulated: bool, most: int = MOST_ROWS) -> Table:
    """Every line, the dearest of them where there are too many, and the total of all."""
    chosen = [row for row in sheet.rows if row.simulated is simulated]
    shown = chosen if len(chosen) <= most else sorted(chosen, key=_dearest_row)[:most]
    return Table(
        name="rows",
        title="By model, resolution, sound and campaign",
        headings=("model", "resolution", "sound", "campaign", *_FIGURES),
        words=4,
        rows=tuple((row.model, row.resolution, row.sound, row.campaign or "", *_cells(row.figures)) for row in shown),
        total=("total", "", "", "", *_cells(sheet.total(simulated=simulated))),
        more=len(chosen) - len(shown),
    ).without_empty((*OPTIONAL, "campaign"))


def dimension_table(sheet: CostSheet, dimension: Dimension, *, simulated: bool, most: int = 12) -> Table:
    """By one dimension, the dearest first."""
    groups = sorted(
        ((key or _NONE, figures) for (key,), figures in sheet.by(dimension, simulated=simulated).items()),
        key=lambda item: (-item[1].billed.nanos, -(item[1].held + item[1].unknown).nanos, item[0]),
    )
    return Table(
        name=dimension,
        title=f"By {dimension}",
        headings=(dimension, *_FIGURES),
        words=1,
        rows=tuple((key, *_cells(figures)) for key, figures in groups[:most]),
        total=("total", *_cells(sheet.total(simulated=simulated))) if len(groups) > 1 else None,
        more=max(0, len(groups) - most),
    ).without_empty()


def days_table(sheet: CostSheet, *, simulated: bool) -> Table:
    """A month's days."""
    return Table(
        name="days",
        title="By day",
        headings=("day", *_FIGURES),
        words=1,
        rows=tuple((each.day.isoformat(), *_cells(each.figures)) for each in sheet.days if each.simulated is simulated),
        total=("total", *_cells(sheet.total(simulated=simulated))),
    ).without_empty()


def budgets_table(sheet: CostSheet, *, simulated: bool) -> Table:
    return Table(
        name="budgets",
        title="Against the budgets",
        headings=("budget", "counted", "allowed", "held", "billed", "used", "left"),
        words=2,
        rows=tuple(
            (
                each.name,
                each.period,
                str(each.allowed),
                or_blank(each.held),
                str(each.billed),
                "" if each.percent is None else f"{each.percent} %",
                str(each.left),
            )
            for each in sheet.budgets
            if each.simulated is simulated
        ),
    ).without_empty(("held",))


def compared_table(sheet: CostSheet, *, simulated: bool) -> Table:
    """Against the period before. Percentages only between two whole periods: a part of a day is not like a day."""
    previous = sheet.previous
    total, before = sheet.total(simulated=simulated), Figures()
    if previous is not None:
        before = previous.total(simulated=simulated)
    rows: list[tuple[str, ...]] = []
    for name in _COMPARED:
        old, new = getattr(before, name), getattr(total, name)
        if not old and not new:
            continue
        difference = "" if old is None or new is None else signed(new - old)
        percent = "" if old is None or new is None or not sheet.is_over else percent_change(old, new)
        rows.append((words.FIGURES[name], value(new), value(old), difference, percent))
    name = sheet.period.previous.name if previous is None else previous.name
    return Table(
        name="compared",
        title=f"Against the {sheet.period.word} before",
        headings=("figure", sheet.period.name, name, "difference", "percent"),
        words=1,
        rows=tuple(rows) if previous is not None else (),
        note="" if sheet.is_over else f"The {sheet.period.word} is not over: it is set against the whole of {name}.",
    ).without_empty(("percent",))


def _cells(figures: Figures) -> tuple[str, ...]:
    return (
        value(figures.jobs),
        value(figures.takes),
        value(figures.seconds),
        str(figures.quoted),
        str(figures.billed),
        or_blank(figures.refunded),
        or_blank(figures.held),
        or_blank(figures.unknown),
        or_blank(figures.wasted),
        value(figures.failed),
        value(figures.usd_per_second),
    )


def _dearest_row(row: CostRow) -> tuple[int, int]:
    return -row.figures.billed.nanos, -(row.figures.held + row.figures.unknown).nanos


def kind_tables(sheet: CostSheet, *, simulated: bool) -> list[Table]:
    """All tables of one kind of money, in their order; those without rows are left out."""
    tables = [
        budgets_table(sheet, simulated=simulated),
        compared_table(sheet, simulated=simulated),
        days_table(sheet, simulated=simulated),
        *(dimension_table(sheet, name, simulated=simulated) for name in ("provider", "model", "resolution", "sound")),
        dimension_table(sheet, "campaign", simulated=simulated),
        rows_table(sheet, simulated=simulated),
        dearest_table(sheet, simulated=simulated),
        differences_table(sheet, simulated=simulated),
        refunds_table(sheet, simulated=simulated),
    ]
    return [table for table in tables if table.rows or (table.name == "differences" and table.note)]
