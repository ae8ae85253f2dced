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
_TEXT = "#222222"
_WIDTH_INCHES = 9.0


def draw(report: CostSheet) -> bytes:
    """A PNG, 9 inches wide at 100 dots per inch, as high as the bars need."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    bars = _bars(report)
    figure = Figure(figsize=(_WIDTH_INCHES, 1.5 + 0.55 * max(len(bars), 2)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(f"Billed by model, {report.day.isoformat()} (UTC)", loc="left", color=_TEXT, fontsize=12)
    if bars:
        _draw_bars(axes, bars)
    else:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "No job was submitted on this day", ha="center", va="center", color=_TEXT, fontsize=12)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def _bars(report: CostSheet) -> list[tuple[str, bool, Figures]]:
    """Label, simulated, figures: live above simulated, the dearest first."""
    bars: list[tuple[str, bool, Figures]] = []
    for kind in report.kinds:
        models = report.by("provider", "model", simulated=kind)
        for (provider, model), figures in sorted(models.items(), key=lambda item: -item[1].billed.nanos):
            name = f"{provider}/{str(model).removeprefix(f'{provider}/')}"
            bars.append((name + ("\n(simulated)" if kind else ""), kind, figures))
    return bars


def _draw_bars(axes: Any, bars: list[tuple[str, bool, Figures]]) -> None:
    from matplotlib.patches import Patch

    for place, (_, simulated, figures) in enumerate(bars):
        color = _SIMULATED if simulated else _LIVE
        axes.barh(place, _length(figures.billed), height=0.62, color=color)
        axes.barh(place, _length(figures.held), left=_length(figures.billed), height=0.62, color=color, alpha=0.35)
        known = figures.billed + figures.held
        axes.barh(
            place,
            _length(figures.unknown),
            left=_length(known),
            height=0.62,
            facecolor="white",
            edgecolor="#c0392b",
            hatch="////",
            linewidth=0.8,
        )
        axes.annotate(
            str(figures.billed),
            (_length(known + figures.unknown), place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=_TEXT,
            fontsize=10,
        )
    axes.set_yticks(range(len(bars)), [label for label, _, _ in bars], fontsize=10)
    axes.set_ylim(len(bars) - 0.4, -0.6)  # the first on top; a lone bar is not stretched to fill the picture
    axes.margins(x=0.16)  # room for the amount behind the longest bar
    axes.set_xlim(left=0)
    if not any(figures.billed or figures.held or figures.unknown for _, _, figures in bars):
        axes.set_xlim(0, 1)
    axes.set_xlabel("US dollars", color=_TEXT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e3e6ea")
    axes.set_axisbelow(True)
    total = [figures for _, _, figures in bars]
    legend = [Patch(color=_SIMULATED if bars[0][1] else _LIVE, label="billed")]
    if any(figures.held != ZERO for figures in total):
        legend.append(Patch(color=_SIMULATED if bars[0][1] else _LIVE, alpha=0.35, label="held, in flight"))
    if any(figures.unknown != ZERO for figures in total):
        legend.append(Patch(facecolor="white", edgecolor="#c0392b", hatch="////", label="unknown (ambiguous)"))
    if len(legend) > 1:
        axes.legend(handles=legend, loc="lower right", fontsize=9, framealpha=0.9)


def _length(amount: Money) -> float:
    """For the eye only: how long a bar is. Every amount that is written comes from Money itself."""
    return float(amount.dollars)
