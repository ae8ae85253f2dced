"""What Dagster loads: every asset, check, job, sensor, schedule and resource of the pipeline."""

from __future__ import annotations

import gc
from collections.abc import Mapping

import dagster as dg

from wan_pipeline.defs.alerting import alert_sensor
from wan_pipeline.defs.assets import shots_to_videos
from wan_pipeline.defs.budgets import budgets
from wan_pipeline.defs.changed_reports import changed_reports
from wan_pipeline.defs.focus import changed_exports, focus_export_job, focus_exports, monthly_focus_export
from wan_pipeline.defs.jobs import daily_report, make_videos, monthly_report, quote_shots
from wan_pipeline.defs.reconciling import daily_reconciliation, reconcile_books, reconciliations
from wan_pipeline.defs.recovery import recovery_sensor
from wan_pipeline.defs.reports import cost_reports, monthly_cost_reports
from wan_pipeline.defs.resolving import resolve_job
from wan_pipeline.defs.resources import resources
from wan_pipeline.defs.retiring import daily_retirement, retire_shots
from wan_pipeline.defs.schedules import daily_cost_report, due_shots, monthly_cost_report
from wan_pipeline.defs.sensors import bucket_sensor


def build_defs(resource_overrides: Mapping[str, object] | None = None) -> dg.Definitions:
    """The definitions. `resource_overrides` swaps resources by name: the one seam for tests and other deployments."""
    return dg.Definitions(
        assets=[shots_to_videos, cost_reports, monthly_cost_reports, focus_exports, reconciliations, budgets],
        jobs=[
            make_videos,
            quote_shots,
            daily_report,
            monthly_report,
            focus_export_job,
            reconcile_books,
            resolve_job,
            retire_shots,
        ],
        schedules=[
            due_shots,
            daily_cost_report,
            monthly_cost_report,
            monthly_focus_export,
            daily_reconciliation,
            daily_retirement,
        ],
        sensors=[bucket_sensor, recovery_sensor, changed_reports, changed_exports, alert_sensor],
        resources=resources(resource_overrides or {}),
        executor=dg.in_process_executor,
    )


defs = build_defs()
gc.freeze()  # see defs/__init__.py
