"""The report as a picture: what is billed by model, with what is held or unknown behind it.

matplotlib's objects only, never pyplot: its global state is not for several threads, nor for a server.
"""

from __future__ import annotations

import io
from typing import Any

from wan_pipeline.money import ZERO, Money
from wan_pipeline.reports.figures import Figures
from wan_pipeline.reports.sheet import CostSheet

_LIVE = "#1f6fb4"
_SIMULATED = "#8a94a6"
_UNKNOWN = "#c0392b"
_TEXT = "#222222"
_FAINT = 0.35
_WIDTH_INCHES = 9.0
_LETTER_PIXELS = 7.8  # of 9 points, on the average, at 100 dots per inch


def draw(report: CostSheet) -> bytes:
    """A PNG, 9 inches wide at 100 dots per inch, as high as the bars need."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    bars = _bars(report)
    figure = Figure(figsize=(_WIDTH_INCHES, 1.7 + 0.5 * max(len(bars), 1)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    title = f"Billed by model, {report.period.name} (UTC)"
    if report.kinds == (True,):
        title += ": simulated, no money was spent"
    axes.set_title(title, loc="left", color=_TEXT, fontsize=12)
    if bars:
        _draw_bars(figure, axes, bars)
    else:
        axes.set_axis_off()
        axes.text(
            0.5,
            0.5,
            f"No job was submitted on this {report.period.word}",
            ha="center",
            va="center",
            color=_TEXT,
            fontsize=12,
        )
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def _bars(report: CostSheet) -> list[tuple[str, bool, Figures]]:
    """Label, simulated, figures: live above simulated, the dearest first."""
    bars: list[tuple[str, bool, Figures]] = []
    for kind in report.kinds:
        models = report.by("provider", "model", simulated=kind)
        for (provider, model), figures in sorted(models.items(), key=_dearest_first):
            name = f"{provider}/{str(model).removeprefix(f'{provider}/')}"
            bars.append((name + ("\n(simulated)" if kind else ""), kind, figures))
    return bars


def _dearest_first(item: tuple[Any, Figures]) -> tuple[int, int]:
    figures = item[1]
    return -figures.billed.nanos, -(figures.held + figures.unknown).nanos


def _draw_bars(figure: Any, axes: Any, bars: list[tuple[str, bool, Figures]]) -> None:
    from matplotlib.patches import Patch

    of_unknown: dict[str, Any] = {"facecolor": "white", "edgecolor": _UNKNOWN, "hatch": "////", "linewidth": 0.8}
    for place, (_, simulated, figures) in enumerate(bars):
        color = _SIMULATED if simulated else _LIVE
        end = ZERO
        for amount, look in (
            (figures.billed, {"color": color}),
            (figures.held, {"color": color, "alpha": _FAINT}),
            (figures.unknown, of_unknown),
        ):
            if amount.nanos > 0:
                axes.barh(place, _length(amount), left=_length(end), height=0.62, **look)
                end += amount
        axes.annotate(
            _words(figures),
            (_length(end), place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=_TEXT,
            fontsize=9,
        )
    axes.set_yticks(range(len(bars)), [label for label, _, _ in bars], fontsize=10)
    axes.set_ylim(len(bars) - 0.4, -0.6)  # the first on top
    longest = max((figures.billed + figures.held + figures.unknown for _, _, figures in bars), default=ZERO)
    axes.set_xlim(0, _room_for_words(bars) * _length(longest) or 1)
    axes.set_xlabel("US dollars", color=_TEXT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e3e6ea")
    axes.set_axisbelow(True)

    color = _SIMULATED if bars[0][1] else _LIVE
    legend = [Patch(color=color, label="billed")]
    if any(figures.held for _, _, figures in bars):
        legend.append(Patch(color=color, alpha=_FAINT, label="held for jobs in flight"))
    if any(figures.unknown for _, _, figures in bars):
        legend.append(Patch(label="unknown: may have been billed", **of_unknown))
    if len(legend) > 1:
        figure.legend(handles=legend, loc="outside lower right", ncols=len(legend), fontsize=9, frameon=False)


def _room_for_words(bars: list[tuple[str, bool, Figures]]) -> float:
    """How many times as long as the longest bar the axis has to be, for the words behind it to be on the picture."""
    label = max(len(line) for name, _, _ in bars for line in name.split("\n"))
    width = 100 * _WIDTH_INCHES - _LETTER_PIXELS * label - 30
    words = _LETTER_PIXELS * max(len(_words(figures)) for _, _, figures in bars) + 10
    return width / max(width - words, width / 4)


def _words(figures: Figures) -> str:
    words = [str(figures.billed)]
    if figures.held:
        words.append(f"{figures.held} held")
    if figures.unknown:
        words.append(f"up to {figures.unknown} unknown")
    return " + ".join(words)


def _length(amount: Money) -> float:
    """For the eye only: how long a bar is. Every amount that is written comes from Money itself."""
    return float(amount.dollars)
