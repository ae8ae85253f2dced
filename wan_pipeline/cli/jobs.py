"""`wan-pipeline jobs`: what the ledger says of each paid generation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from wan_pipeline.cli.console import Column, json_time, json_usd, print_json, print_table, say, seconds, usd, video_file
from wan_pipeline.cli.opened import open_ledger
from wan_pipeline.cli.options import example, json_option
from wan_pipeline.settings import Settings
from wan_pipeline.spend.records import JobState

if TYPE_CHECKING:
    from wan_pipeline.spend.records import Job

_TABLE_ROWS = 50


@click.command(
    epilog=example(
        "wan-pipeline jobs",
        "wan-pipeline jobs --state ambiguous --state failed",
        "wan-pipeline jobs --shot spring/cat --json",
    )
)
@click.option(
    "--state", "states", multiple=True, type=click.Choice([str(state) for state in JobState]), help="Only these."
)
@click.option("--shot", metavar="KEY", help="Only the jobs of this shot.")
@click.option("--limit", type=click.IntRange(1), help=f"The newest ones. Default: {_TABLE_ROWS}, with --json all.")
@json_option
def command(states: tuple[str, ...], shot: str | None, limit: int | None, as_json: bool) -> None:
    """List the ledger's jobs, the newest first.

    Amounts are US dollars, exact. An empty billed amount (null in JSON) means that nobody has said yet; what is held
    counts in the budgets until then.
    """
    wanted = [JobState(state) for state in states] or None
    limit = limit or (None if as_json else _TABLE_ROWS + 1)
    with open_ledger(Settings.load()) as ledger:
        jobs = ledger.jobs(wanted, shot, limit=limit)
    if as_json:
        print_json([as_object(job) for job in jobs])
        return
    if not jobs:
        say(
            "no such jobs in the ledger"
            if states or shot
            else "the ledger has no jobs yet: `wan-pipeline run` makes some"
        )
        return
    if limit == _TABLE_ROWS + 1 and len(jobs) == limit:
        jobs = jobs[:-1]
        say(f"the newest {_TABLE_ROWS}; --limit shows more")
    _print(jobs)


def as_object(job: Job) -> dict[str, Any]:
    """A job for a program: moments in ISO 8601 UTC, money as decimal strings, null where unknown."""
    waited_s = (job.generated_at - job.submitted_at).total_seconds() if job.generated_at and job.submitted_at else None
    return {
        "id": job.id,
        "shot": job.shot,
        "take": job.take,
        "provider": job.provider,
        "model": job.model,
        "state": str(job.state),
        "provider_job_id": job.provider_job_id,
        "duration_s": job.duration_s,
        "resolution": job.resolution,
        "has_audio": job.has_audio,
        "campaign": job.campaign,
        "quoted_low_usd": json_usd(job.quoted_low),
        "quoted_usd": json_usd(job.quoted_high),
        "held_usd": json_usd(job.held),
        "billed_usd": json_usd(job.billed),
        "basis": str(job.basis) if job.basis else None,
        "video_uri": job.video_uri,
        "video_sha256": job.video_sha256,
        "video_duration_s": job.video_duration_s,
        "error": job.error,
        "retryable": job.retryable,
        "simulated": job.simulated,
        "run_id": job.run_id,
        "attempt_id": job.attempt_id,
        "claimed_at": json_time(job.claimed_at),
        "submitted_at": json_time(job.submitted_at),
        "generated_at": json_time(job.generated_at),
        "stored_at": json_time(job.stored_at),
        "waited_s": waited_s,
    }


def _print(jobs: list[Job]) -> None:
    held = any(job.held for job in jobs)
    columns = [
        Column("claimed (UTC)", spare=True),
        Column("shot"),
        Column("take", right=True),
        Column("model"),
        Column("kind", spare=True),
        Column("state"),
        Column("seconds", right=True, spare=True),
        Column("quoted USD", right=True),
        *([Column("held USD", right=True)] if held else []),
        Column("billed USD", right=True),
        Column("file or error"),
    ]
    print_table(
        columns,
        [
            (
                f"{job.claimed_at:%Y-%m-%d %H:%M:%S}",
                job.shot,
                str(job.take),
                job.model,
                "simulated" if job.simulated else "live",
                str(job.state),
                seconds(job.duration_s),
                usd(job.quoted_high),
                *((usd(job.held),) if held else ()),
                usd(job.billed),
                video_file(job.video_uri) or (job.error or ""),
            )
            for job in jobs
        ],
    )
