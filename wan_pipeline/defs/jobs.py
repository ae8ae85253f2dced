"""The jobs: what a person, a sensor or a schedule launches. Each is a selection of assets."""

from __future__ import annotations

import dagster as dg

from wan_pipeline.defs import names
from wan_pipeline.defs.run_tags import NO_RUN_RETRIES

# One op each: a process of its own for the op would cost two seconds of CPU a run, and win nothing.
make_videos = dg.define_asset_job(
    names.MAKE_VIDEOS,
    selection=dg.AssetSelection.assets(names.SOURCE_IMAGES, names.SHOT_QUOTES, names.GENERATED_VIDEOS),
    description="Inspect, quote and buy: the whole way of the chosen shots. What is bought already is not bought again.",
    tags={"spends": "money", **NO_RUN_RETRIES},
    executor_def=dg.in_process_executor,
)

quote_shots = dg.define_asset_job(
    names.QUOTE_SHOTS,
    selection=dg.AssetSelection.assets(names.SOURCE_IMAGES, names.SHOT_QUOTES),
    description="Inspect and quote the chosen shots. Buys nothing.",
    tags={"spends": "nothing", **NO_RUN_RETRIES},
    executor_def=dg.in_process_executor,
)

daily_report = dg.define_asset_job(
    names.DAILY_REPORT,
    selection=dg.AssetSelection.assets(names.COST_REPORTS),
    description="The cost report of the chosen UTC days.",
    tags={"spends": "nothing", **NO_RUN_RETRIES},
    executor_def=dg.in_process_executor,
)

monthly_report = dg.define_asset_job(
    names.MONTHLY_REPORT,
    selection=dg.AssetSelection.assets(names.MONTHLY_COST_REPORTS),
    description="The cost report of the chosen UTC months.",
    tags={"spends": "nothing", **NO_RUN_RETRIES},
    executor_def=dg.in_process_executor,
)
