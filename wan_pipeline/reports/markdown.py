"""The report for readers: the table the UI shows, and the page that is kept in the bucket."""

from __future__ import annotations

import re
from collections.abc import Sequence

from wan_pipeline.reports import words
from wan_pipeline.reports.changes import Change
from wan_pipeline.reports.listings import causes_table, changed_table
from wan_pipeline.reports.sheet import CostSheet
from wan_pipeline.reports.table import Table
from wan_pipeline.reports.tables import kind_tables, rows_table

_HEADINGS = {False: "Live", True: "Simulated"}
_TITLES = {False: "Live: billed to your accounts with the providers", True: "Simulated: no money was spent"}


def table(report: CostSheet) -> str:
    """One table for each kind of job that occurs, each with its totals; without padding, since the UI folds long texts."""
    if not report.kinds:
        return words.nothing(report)
    tables = {kind: _unpadded(of_table(rows_table(report, simulated=kind))) for kind in report.kinds}
    if len(tables) == 1:
        return next(iter(tables.values()))
    return "\n\n".join(f"**{_HEADINGS[kind]}**\n\n{text}" for kind, text in tables.items())


def page(report: CostSheet) -> str:
    parts = [f"# {words.title(report)}", words.as_of(report)]
    if report.unreadable:
        parts.append(
            f"What was published before cannot be compared with: {_cell(report.unreadable)}. It is replaced by this."
        )
    parts += [section for change in report.changes[:1] for section in changed(change)]
    if not report.kinds:
        parts.append(words.nothing(report))
    for kind in report.kinds:
        parts.append(f"## {_TITLES[kind]}")
        parts.append(_sentences(report, kind))
        for each in kind_tables(report, simulated=kind):
            parts.append(f"### {each.title}")
            if each.rows:
                parts.append(of_table(each))
            if each.more:
                parts.append(f"… {each.more:,} more: see {each.all_in}.")
            if each.note:
                parts.append(each.note)
    if report.kinds:
        parts.append(f"![Billed by model]({report.period.name}.png)")
    parts += [section for change in report.changes[1:] for section in changed(change)]
    parts.append("---")
    parts += words.NOTES
    return "\n\n".join(parts) + "\n"


def changed(change: Change) -> list[str]:
    """What has changed since the report was made before, as a section."""
    figures, causes = changed_table(change), causes_table(change)
    parts = [f"## {figures.title}", f"Found at {words.moment(change.as_of)} UTC.", of_table(figures)]
    if causes.rows:
        parts += [f"{causes.title}:", of_table(causes)]
        if causes.more:
            parts.append(f"… {causes.more:,} more: see {causes.all_in}.")
    return parts


def of_table(table: Table) -> str:
    lines = [*table.rows]
    if table.total is not None:
        lines.append(tuple(f"**{text}**" if text else "" for text in table.total))
    return _markdown_table(table.headings, lines, table.words)


def _sentences(report: CostSheet, kind: bool) -> str:
    lines = [
        f"{name}: {amount}" + (f" ({said})" if said else "")
        for name, amount, said in words.summary(report.total(simulated=kind))
    ]
    bold = ("Billed", "Unknown")
    return "\n".join(f"- **{line}**" if line.startswith(bold) else f"- {line}" for line in lines)


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
