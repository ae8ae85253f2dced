"""What a day or a month cost: read from the ledger, added up exactly, written for people and for programs.

What belongs here: sums over the ledger, tables, charts, export files. What does not: deciding or changing anything about
money, any provider's rule, Dagster. pandas and matplotlib are imported where they are used, not before.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wan_pipeline.reports.figures import CostRow, Figures, ShotCost
    from wan_pipeline.reports.period import Period
    from wan_pipeline.reports.publishing import make, publish
    from wan_pipeline.reports.report import CostReport, cost_report, monthly_report, period_report

__all__ = [
    "CostReport",
    "CostRow",
    "Figures",
    "Period",
    "ShotCost",
    "cost_report",
    "make",
    "monthly_report",
    "period_report",
    "publish",
]

_HOMES = {
    "CostRow": "figures",
    "Figures": "figures",
    "Period": "period",
    "ShotCost": "figures",
    "make": "publishing",
    "publish": "publishing",
}


def __getattr__(name: str) -> Any:
    """Each name when it is asked for: the command line's `--help` needs a Period, and no SQLAlchemy."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'report')}"), name)
