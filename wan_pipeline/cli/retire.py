"""`wan-pipeline retire`: shots that are over for good leave Dagster's partitions."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from wan_pipeline.cli.console import print_json
from wan_pipeline.cli.options import example, json_option

_MOST_LINES = 20


@click.command(
    short_help="Take shots that are over for good out of the catalog.",
    epilog=example("wan-pipeline retire --dry-run", "WAN_RETIRE_AFTER_DAYS=90 wan-pipeline retire --json"),
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@json_option
def command(dry_run: bool, as_json: bool) -> None:
    """Take shots that are over for good out of Dagster's partitions, so that the catalog stays quick.

    Those whose files have been gone from inbox/ for a week; and where WAN_RETIRE_AFTER_DAYS is set, those whose video was
    finished that many days ago. Their videos, and their jobs in the ledger, stay; a shot that changes is a partition again,
    and nothing is bought twice. Shots with a job in flight or in doubt, deferred ones and those of an unfinished run are
    left, and all of them while a backfill is under way. A schedule does the same each night.
    """
    from wan_pipeline.cli.drive import open_instance
    from wan_pipeline.cli.opened import open_installation
    from wan_pipeline.defs.retiring import plan_retirement, retire

    with open_installation() as opened, open_instance(opened.settings) as instance:
        now = datetime.now(UTC)
        done = plan_retirement(instance, opened, now) if dry_run else retire(instance, opened, now)
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "gone": list(done.gone),
                "finished": list(done.finished),
                "partitions_again": list(done.back),
                "partitions_before": done.partitions,
                "kept_by_backfills": list(done.kept_by),
            }
        )
        return
    listed = [*((key, "its files are gone") for key in done.gone), *((key, "finished") for key in done.finished)]
    listed += [(key, "a partition again") for key in done.back]
    for key, why in listed[:_MOST_LINES]:
        print(f"{key}: {why}")
    if len(listed) > _MOST_LINES:
        print(f"and {len(listed) - _MOST_LINES} more: see --json")
    print(f"{'dry run: ' if dry_run else ''}{done}")
