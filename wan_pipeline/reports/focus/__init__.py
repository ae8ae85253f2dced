"""The month's costs in the FinOps Foundation's format FOCUS 1.2, for whoever adds them to their other bills.

What belongs here: one row for each charge, its rules, its files. What does not: the house's own reports (reports/), any
provider's facts (they are handed in), deciding anything about money. pyarrow is imported where it is used, not before.
"""

from __future__ import annotations

from wan_pipeline.reports.focus.export import FocusExport, focus_export, key_of, publish
from wan_pipeline.reports.focus.issuer import Issuer, Issuers

__all__ = ["FocusExport", "Issuer", "Issuers", "focus_export", "key_of", "publish"]
