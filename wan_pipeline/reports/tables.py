"""The report's tables as words in cells: what every form of it for readers shows.

What belongs here: which columns and rows, in which order, how many. What does not: markup, colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from wan_pipeline.reports import words
from wan_pipeline.reports.changes import Change
from wan_pipeline.reports.figures import CostRow, Figures
from wan_pipeline.reports.sheet import CostSheet, Dimension
from wan_pipeline.reports.words import many, moment, or_blank, percent_change, signed, value

MOST_ROWS = 50  # on a page; files for programs have all
_NONE = "(none)"
_OPTIONAL = ("refunded", "in flight", "unknown", "wasted", "failed")  # columns that are left out where they are empty
_FIGURES = ("jobs", "takes", "seconds", "quoted", "billed", *_OPTIONAL, "USD/second")
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
_CAUSES = 20


@dataclass(frozen=True, slots=True)
class Table:
    """`words`: how many of the first columns hold words; the others hold numbers. `more`: rows that are not shown."""

    name: str
    title: str
    headings: tuple[str, ...]
    words: int
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...] | None = None
    more: int = 0
    note: str = ""

    def without_empty(self, optional: Iterable[str] = _OPTIONAL) -> Table:
        """Without those of the optional columns in which nothing stands."""
        lines = self.rows if self.total is None else (*self.rows, self.total)
        kept = [
            index
            for index, heading in enumerate(self.headings)
            if heading not in tuple(optional) or any(line[index] not in ("", "0") for line in lines)
        ]

        def pick(line: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(line[index] for index in kept)

        return replace(
            self,
            headings=pick(self.headings),
            rows=tuple(map(pick, self.rows)),
            total=None if self.total is None else pick(self.total),
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
    ).without_empty((*_OPTIONAL, "campaign"))


def dimension_table(sheet: CostSheet, dimension: Dimension, *, simulated: bool, most: int = 20) -> Table:
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
        total=("total", *_cells(sheet.total(simulated=simulated))),
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


def dearest_table(sheet: CostSheet, *, simulated: bool) -> Table:
    return Table(
        name="dearest",
        title="The dearest shots",
        headings=("shot", "model", "jobs", "seconds", "billed", "in flight", "unknown", "wasted"),
        words=2,
        rows=tuple(
            (
                each.shot,
                ", ".join(each.models),
                value(each.figures.jobs),
                value(each.figures.seconds),
                str(each.figures.billed),
                or_blank(each.figures.held),
                or_blank(each.figures.unknown),
                or_blank(each.figures.wasted),
            )
            for each in sheet.dearest
            if each.simulated is simulated
        ),
    ).without_empty()


def differences_table(sheet: CostSheet, *, simulated: bool, most: int = MOST_ROWS) -> Table:
    """The bills outside their quote's bounds; how many are within them and not the upper bound is said in the note."""
    mine = [each for each in sheet.differences if each.simulated is simulated]
    outside = [each for each in mine if each.how != "within"]
    within = len(mine) - len(outside)
    return Table(
        name="differences",
        title="Bills that differ from their quote",
        headings=("job", "shot", "model", "bill", "quoted", "billed", "difference"),
        words=4,
        rows=tuple(
            (
                each.job,
                each.shot,
                each.model,
                f"{each.how}, {each.state.value}",
                words.span(each.quoted_low, each.quoted),
                str(each.billed),
                signed(each.difference),
            )
            for each in outside[:most]
        ),
        more=max(0, len(outside) - most),
        note=f"{many(within, 'job')} billed within the bounds of the quote, but not at the upper one: see the CSV."
        if within
        else "",
    )


def refunds_table(sheet: CostSheet, *, simulated: bool, most: int = MOST_ROWS) -> Table:
    mine = [each for each in sheet.refunds if each.simulated is simulated]
    return Table(
        name="refunds",
        title="Refunds",
        headings=("refunded at", "job", "shot", "model", "job submitted at", "note", "amount"),
        words=6,
        rows=tuple(
            (
                moment(each.at),
                each.job,
                each.shot,
                each.model,
                moment(each.submitted_at),
                _short(each.note),
                str(each.amount),
            )
            for each in mine[:most]
        ),
        more=max(0, len(mine) - most),
    ).without_empty(("note",))


def changed_table(change: Change) -> Table:
    """Which totals have changed, and by how much."""
    both = len({each.simulated for each in change.figures}) > 1
    return Table(
        name="changed",
        title=f"Changed since {moment(change.since)} UTC",
        headings=("figure", "then", "now", "difference"),
        words=1,
        rows=tuple(
            (
                words.FIGURES[each.figure] + (", simulated" if both and each.simulated else ""),
                value(each.before),
                value(each.after),
                signed(each.difference),
            )
            for each in change.figures
        ),
    )


def causes_table(change: Change) -> Table:
    """The jobs about which something was written since."""
    shown = change.causes[:_CAUSES]
    return Table(
        name="causes",
        title="What was written since",
        headings=("at", "job", "shot", "what"),
        words=4,
        rows=tuple((moment(each.at), each.job, each.shot, _short(each.what, 200)) for each in shown),
        more=len(change.causes) - len(shown) + change.more_causes,
    )


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


def _short(text: str, most: int = 120) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def summary(figures: Figures) -> Sequence[tuple[str, str, str]]:
    """The totals in a few lines: what, how much, and what there is to say about it; each only where it is something."""
    states = (
        (figures.takes, "stored"),
        (figures.failed, "failed"),
        (figures.in_flight, "in flight"),
        (figures.ambiguous, "ambiguous"),
    )
    counts = ", ".join(f"{count:,} {word}" for count, word in states if count)
    rate = figures.usd_per_second
    refunded = f"charged {figures.charged}, refunded {figures.refunded}" if figures.refunded else ""
    lines = [
        ("Billed", f"{figures.billed} USD", refunded),
        ("Jobs", value(figures.jobs), counts),
        ("Video stored", f"{figures.seconds:,} s", "" if rate is None else f"{rate} USD for each second"),
        ("Quoted", f"{words.span(figures.quoted_low, figures.quoted)} USD", ""),
    ]
    if figures.held:
        lines.append(("In flight", f"{figures.held} USD", "held for jobs under way"))
    if figures.ambiguous:
        without = f"for {many(figures.ambiguous, 'job')} without an answer, which may have been billed"
        lines.append(("Unknown", f"up to {figures.unknown} USD", without))
    if figures.wasted:
        kinds = ", ".join(f"{name} {amount}" for name, amount in words.wasted_kinds(figures))
        share = words.percent_of(figures.wasted, figures.billed)
        lines.append(("Wasted", f"{figures.wasted} USD", kinds + (f"; {share} of what is billed" if share else "")))
    return lines


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
