"""The report as one HTML file for a browser and for paper: no script, nothing fetched, everything from outside escaped.

What belongs here: how the tables and the charts look as HTML. What does not: any figure, row or column of them (tables.py).
The charts are drawn as SVG inside the page, with text beside them rather than in them, so that a phone can read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from wan_pipeline.money import Money
from wan_pipeline.reports import words
from wan_pipeline.reports.figures import Figures
from wan_pipeline.reports.listings import causes_table, changed_table
from wan_pipeline.reports.sheet import CostSheet
from wan_pipeline.reports.table import Table
from wan_pipeline.reports.tables import kind_tables

if TYPE_CHECKING:
    from jinja2 import Template

_MOST_BARS = 12
_TITLES = {False: "Live: billed to your accounts with the providers", True: "Simulated: no money was spent"}
_WHOLE = 10_000  # a bar's length is told in hundredths of a percent


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a bar: from where, how long, in percent of the longest bar."""

    look: str  # billed, held, unknown
    start: str
    length: str


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    words: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class ColumnBar:
    """A day of a month's chart: the x-th place, its height in hundredths."""

    place: int
    height: str
    words: str


@dataclass(frozen=True, slots=True)
class Changed:
    """What has changed since the report was made before: the latest stands first on the page, the others last."""

    found_at: str
    figures: Table
    causes: Table


@dataclass(frozen=True, slots=True)
class Kind:
    """The part of the page that is about live money, or about simulated."""

    look: str
    title: str
    summary: Sequence[tuple[str, str, str]]
    bars: Sequence[Bar]
    more_bars: int
    days: Sequence[ColumnBar]
    last_day: int
    dearest_day: str
    tables: Sequence[Table]


def page(sheet: CostSheet) -> bytes:
    """UTF-8."""
    text = _template().render(
        title=words.title(sheet),
        as_of=words.as_of(sheet),
        unreadable=sheet.unreadable,
        changes=[
            Changed(words.moment(change.as_of), changed_table(change), causes_table(change)) for change in sheet.changes
        ],
        nothing="" if sheet.kinds else words.nothing(sheet),
        kinds=[_kind(sheet, kind) for kind in sheet.kinds],
        notes=[_pieces(line) for line in words.NOTES],
        name=sheet.period.name,
    )
    return text.encode()


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("wan_pipeline.reports")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html")


def _kind(sheet: CostSheet, simulated: bool) -> Kind:
    bars, more = _bars(sheet, simulated)
    days, dearest = _days(sheet, simulated)
    return Kind(
        look="simulated" if simulated else "live",
        title=_TITLES[simulated],
        summary=words.summary(sheet.total(simulated=simulated)),
        bars=bars,
        more_bars=more,
        days=days,
        last_day=(sheet.period.until - sheet.period.since).days,
        dearest_day=dearest,
        tables=kind_tables(sheet, simulated=simulated),
    )


def _bars(sheet: CostSheet, simulated: bool) -> tuple[list[Bar], int]:
    """What is billed by model, with what is held or unknown behind it; the dearest first."""
    groups = sorted(
        ((str(model), figures) for (model,), figures in sheet.by("model", simulated=simulated).items()),
        key=lambda item: (-item[1].billed.nanos, -_length(item[1]), item[0]),
    )
    longest = max((_length(figures) for _, figures in groups), default=0)
    bars: list[Bar] = []
    for model, figures in groups[:_MOST_BARS]:
        parts: list[Part] = []
        end = 0
        for look, amount in (("billed", figures.billed), ("held", figures.held), ("unknown", figures.unknown)):
            if amount.nanos > 0:
                parts.append(Part(look, _percent(end, longest), _percent(amount.nanos, longest)))
                end += amount.nanos
        bars.append(Bar(model, _bar_words(figures), tuple(parts)))
    return bars, max(0, len(groups) - _MOST_BARS)


def _bar_words(figures: Figures) -> str:
    said = [f"{figures.billed} USD"]
    if figures.held:
        said.append(f"{figures.held} in flight")
    if figures.unknown:
        said.append(f"up to {figures.unknown} unknown")
    return " + ".join(said)


def _length(figures: Figures) -> int:
    return max(figures.billed.nanos, 0) + figures.held.nanos + figures.unknown.nanos


def _days(sheet: CostSheet, simulated: bool) -> tuple[list[ColumnBar], str]:
    """What is billed on each day of a month; and the dearest day in words."""
    if not sheet.period.is_month:
        return [], ""
    days = [(each.day, each.figures.billed) for each in sheet.days if each.simulated is simulated]
    most = max((billed.nanos for _, billed in days), default=0)
    if most <= 0:
        return [], ""
    bars = [
        ColumnBar(day.day - 1, _percent(billed.nanos, most).removesuffix("%"), f"{day}: {billed} USD")
        for day, billed in days
        if billed.nanos > 0
    ]
    dearest = max(days, key=lambda item: item[1].nanos)
    return bars, f"the dearest is {dearest[0]} with {Money(most)} USD"


def _percent(part: int, whole: int) -> str:
    """`45.07%`, in whole numbers throughout."""
    hundredths = part * _WHOLE // whole if whole > 0 else 0
    return f"{hundredths // 100}.{hundredths % 100:02d}%"


def _pieces(line: str) -> list[tuple[str, str]]:
    """The notes' words with `*emphasis*` taken apart: (element, text)."""
    pieces = line.replace("`", "").split("*")
    return [("em" if index % 2 else "", text) for index, text in enumerate(pieces) if text]
