"""The report for readers: the table the UI shows, and the page that is kept in the bucket."""

from __future__ import annotations

import re
from collections.abc import Sequence

from wan_pipeline.money import Money
from wan_pipeline.reports.figures import Figures, ShotCost
from wan_pipeline.reports.sheet import CostSheet

_HEADINGS = {False: "Live", True: "Simulated"}
_TABLE_KEYS = ("model", "resolution", "campaign")  # a model's name begins with its provider's
_TABLE_FIGURES = ("jobs", "seconds", "quoted", "billed", "in flight", "unknown", "wasted", "failed", "USD/second")
_NOTES = """\
A job belongs to the UTC day of its submission, and so does whatever is billed or refunded for it later. Amounts are US
dollars, exact. *Seconds* are those of stored videos, *quoted* is the upper bound, *billed* is what the provider said or,
where it says nothing, the quote; *in flight* is held for jobs under way, *unknown* for jobs that may or may not have been
accepted (`ambiguous`): it may have been billed. *Wasted* is the part of what is billed that no video came of: jobs that
failed, whose video was lost, or that were written off. *Failed* counts jobs that failed, were rejected, or whose paid
video was lost. *USD/second* is what was billed for each second of stored video, failures included. A shot that reused
another's video cost nothing and is not a job.
"""


def table(report: CostSheet) -> str:
    """One table for each kind of job that occurs, each with its totals; without padding, since the UI folds long texts."""
    if not report.kinds:
        return f"No job was submitted on {report.day.isoformat()} (UTC)."
    if len(report.kinds) == 1:
        return _unpadded(_table_of(report, simulated=report.kinds[0]))
    return "\n\n".join(
        f"**{_HEADINGS[kind]}**\n\n{_unpadded(_table_of(report, simulated=kind))}" for kind in report.kinds
    )


def page(report: CostSheet) -> str:
    day = report.day.isoformat()
    as_of = f"As of {report.as_of:%Y-%m-%d %H:%M} UTC"
    parts = [f"# Cost report for {day}"]
    if report.as_of.date() <= report.day:
        parts.append(f"{as_of}: the day is not over.")
    else:
        parts.append(f"{as_of}.")
    if not report.kinds:
        parts.append("No job was submitted on this day (UTC); nothing was billed.")
    for kind in report.kinds:
        parts.append(
            "## Simulated: no money was spent" if kind else "## Live: billed to your accounts with the providers"
        )
        parts.append(_sentences(report.total(simulated=kind)))
        parts.append(_table_of(report, simulated=kind))
        parts.append("### The dearest shots")
        parts.append(_dearest([shot for shot in report.dearest if shot.simulated is kind]))
    if report.kinds:
        parts.append(f"![Billed by model]({day}.png)")
    parts.append(f"---\n\n{_NOTES}")
    return "\n\n".join(parts)


def _sentences(total: Figures) -> str:
    """The totals as a list, each line only where there is something to say."""
    states = ((total.stored, "stored"), (total.failed, "failed"), (total.in_flight, "in flight"))
    counts = ", ".join(f"{count} {word}" for count, word in (*states, (total.ambiguous, "ambiguous")) if count)
    lines = [
        f"**Billed: {total.billed} USD**",
        f"Jobs: {total.jobs}" + (f" ({counts})" if counts else ""),
        f"Video stored: {total.seconds} s" + (f", {total.usd_per_second} USD for each second" if total.seconds else ""),
        f"Quoted: {_span(total.quoted_low, total.quoted)} USD",
    ]
    if total.held:
        lines.append(f"Held for jobs in flight: {total.held} USD")
    if total.ambiguous:
        lines.append(
            f"**Unknown: up to {total.unknown} USD** for {_many(total.ambiguous, 'job')} without an answer, "
            "which may have been billed"
        )
    if total.wasted:
        lines.append(f"Wasted: {total.wasted} USD, billed for jobs that no video came of")
    return "\n".join(f"- {line}" for line in lines)


def _table_of(report: CostSheet, *, simulated: bool) -> str:
    rows = [row for row in report.rows if row.simulated is simulated]
    lines = [[row.model, row.resolution, row.campaign or "", *_cells(row.figures)] for row in rows]
    total = ["total" if not simulated else "total, simulated", "", "", *_cells(report.total(simulated=simulated))]
    lines.append([f"**{cell}**" if cell else "" for cell in total])
    headings = (*_TABLE_KEYS, *_TABLE_FIGURES)
    # A column in which nothing stands is left out: the UI has no room for it.
    kept = [index for index in range(len(headings)) if any(line[index] for line in lines)]
    words = sum(index < len(_TABLE_KEYS) for index in kept)
    return _markdown_table(
        [headings[index] for index in kept], [[line[index] for index in kept] for line in lines], words
    )


def _dearest(shots: Sequence[ShotCost]) -> str:
    lines = [
        [
            shot.shot,
            ", ".join(shot.models),
            str(shot.figures.jobs),
            str(shot.figures.seconds),
            str(shot.figures.billed),
            _or_blank(shot.figures.held),
            _or_blank(shot.figures.unknown),
        ]
        for shot in shots
    ]
    return _markdown_table(("shot", "model", "jobs", "seconds", "billed", "in flight", "unknown"), lines, words=2)


def _cells(figures: Figures) -> list[str]:
    rate = figures.usd_per_second
    return [
        str(figures.jobs),
        str(figures.seconds),
        str(figures.quoted),
        str(figures.billed),
        _or_blank(figures.held),
        _or_blank(figures.unknown),
        _or_blank(figures.wasted),
        str(figures.failed),
        "" if rate is None else str(rate),
    ]


def _markdown_table(headings: Sequence[str], lines: Sequence[Sequence[str]], words: int) -> str:
    """The first `words` columns hold words, the others numbers, to the right."""
    import pandas as pd

    frame = pd.DataFrame([[_cell(text) for text in line] for line in lines], columns=list(headings), dtype=object)
    align = ["left" if index < words else "right" for index in range(len(headings))]
    # disable_numparse: tabulate would read amounts as floats and write them as it likes
    return str(frame.to_markdown(index=False, disable_numparse=True, colalign=align))


def _unpadded(text: str) -> str:
    return re.sub(r"-{3,}", "--", re.sub(r" {2,}", " ", text))


def _cell(text: str) -> str:
    """Nobody's campaign breaks the table, or puts a tag on the page."""
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").split())


def _span(low: Money, high: Money) -> str:
    return str(high) if low == high else f"{low} to {high}"


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _or_blank(amount: Money) -> str:
    return str(amount) if amount else ""
