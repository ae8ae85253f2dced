"""What the report lists one by one, as words in cells: shots, bills that differ, refunds, and what has changed.

What belongs here: which columns and rows, in which order, how many. What does not: sums (tables.py), markup, colours.
"""

from __future__ import annotations

from wan_pipeline.reports import words
from wan_pipeline.reports.changes import Change
from wan_pipeline.reports.sheet import CostSheet
from wan_pipeline.reports.table import MOST_ROWS, Table
from wan_pipeline.reports.words import many, moment, or_blank, signed, value

_CAUSES = 15


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
        all_in="the CSV of differences",
        note=f"{many(within, 'job')} billed within the quote's bounds, but not at the upper one: see the CSV of differences."
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
        all_in="the JSON",
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
        all_in="the JSON",
    )


def _short(text: str, most: int = 120) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"
