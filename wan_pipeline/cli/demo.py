"""`wan-pipeline demo`: the main job from beginning to end, with simulated providers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from wan_pipeline.cli.console import Column, json_usd, print_json, print_table, say, seconds, short_uri, usd, video_file
from wan_pipeline.cli.exits import FAILED, WrongUseError
from wan_pipeline.cli.opened import open_installation
from wan_pipeline.cli.options import example, json_option
from wan_pipeline.settings import Settings

if TYPE_CHECKING:
    from wan_pipeline.cli.making import Made
    from wan_pipeline.defs.resources import OpenInstallation
    from wan_pipeline.money import Money
    from wan_pipeline.spend.records import Job, Take


@click.command(
    short_help="Make eight sample videos, with simulated providers.",
    epilog=example("wan-pipeline demo", "WAN_HOME=/tmp/try wan-pipeline demo --json"),
)
@json_option
def command(as_json: bool) -> int:
    """Make videos of a sample inbox, with simulated providers: nothing is bought.

    Writes sample shots where inbox/ is empty, makes what is missing, writes today's cost report, and compares the
    ledger with the simulator's own books.
    """
    settings = Settings.load()
    if settings.mode != "demo":
        raise WrongUseError("demo never spends, and WAN_MODE is live: unset it, or use `wan-pipeline run`")
    from datetime import UTC, datetime

    from wan_pipeline.cli.making import Asked, make, report_day
    from wan_pipeline.shots.samples import write_samples

    with open_installation() as opened:
        written = write_samples(opened.bucket)
        if written:
            say(f"sample shots: {len(written)} files below inbox/ of {opened.bucket.url}")
        # The samples are ours, and whole.
        made = make(opened, Asked(settle_seconds=0 if written else settings.settle_seconds))
        takes = opened.ledger.current_takes(simulated=True)
        jobs = {job.id: job for job in opened.ledger.jobs(simulated=True)}
        today = datetime.now(UTC).date()
        report = f"reports/{today:%Y/%m}/{today}.md"
        if _bought(made) or not opened.bucket.exists(report):
            report_day(opened, today)
        return _tell(opened, made, takes, jobs, opened.bucket.uri(report), as_json=as_json)


def _tell(
    opened: OpenInstallation,
    made: Made,
    takes: dict[str, Take],
    jobs: dict[str, Job],
    report_uri: str,
    *,
    as_json: bool,
) -> int:
    from wan_pipeline.cli.results import exit_status
    from wan_pipeline.money import ZERO, Money
    from wan_pipeline.simulator.books import Books
    from wan_pipeline.spend.records import JobState

    ledger_total = Money.total(job.billed or ZERO for job in jobs.values())
    books_total = Money(Books(opened.settings.home / "simulator").total_nanos())
    agree = ledger_total == books_total
    status = made.stopped_by or (exit_status(made.rows) if agree else FAILED)
    videos: list[dict[str, Any]] = []
    for shot in sorted(takes):
        take = takes[shot]
        job = jobs[take.job_id]
        if job.state is JobState.STORED:
            videos.append(_video(shot, take, job))
    if as_json:
        failed = [row.as_json() for row in made.rows if not row.good]
        totals = {"ledger_usd": str(ledger_total), "books_usd": str(books_total), "agree": agree}
        print_json(
            {
                "simulated": True,
                "bought": _bought(made),
                "videos": videos,
                "not_made": failed,
                "totals": totals,
                "report_uri": report_uri,
            }
        )
        return status
    _print(videos, made)
    _print_totals(ledger_total, books_total)
    bucket = short_uri(opened.bucket.uri("videos/")) if videos else ""
    print(f"\nThe videos, each with poster and manifest:  {bucket}")
    print(f"Today's costs:                              {short_uri(report_uri)}")
    print("The same in Dagster's UI, and any image you drop into inbox/:  make dev  (or wan-pipeline dev)")
    return status


def _video(shot: str, take: Take, job: Job) -> dict[str, Any]:
    return {
        "shot": shot,
        "take": take.take,
        "model": job.model,
        "duration_s": job.video_duration_s,
        "resolution": job.resolution,
        "has_audio": job.has_audio,
        "quoted_usd": json_usd(job.quoted_high),
        "billed_usd": "0.00" if take.reused else json_usd(job.billed),
        "basis": str(job.basis) if job.basis else None,
        "provider_job_id": job.provider_job_id,
        "video_uri": take.video_uri,
    }


def _bought(made: Made) -> int:
    from wan_pipeline.generation.events import Verdict

    return sum(1 for row in made.rows if row.verdict is Verdict.MADE)


def _print(videos: list[dict[str, Any]], made: Made) -> None:
    from wan_pipeline.cli.results import print_reasons

    print_table(
        [
            Column("shot"),
            Column("model"),
            Column("seconds", right=True),
            Column("size", spare=True),
            Column("sound", spare=True),
            Column("quoted USD", right=True),
            Column("billed USD", right=True),
            Column("file"),
        ],
        [
            (
                video["shot"],
                video["model"],
                seconds(video["duration_s"]),
                video["resolution"],
                {True: "yes", False: "no", None: ""}[video["has_audio"]],
                video["quoted_usd"] or "",
                video["billed_usd"] or "",
                video_file(video["video_uri"]),
            )
            for video in videos
        ],
    )
    print_reasons(made.rows)
    bad = [row for row in made.rows if not row.good]
    if not made.stopped_by and not bad and not _bought(made):
        print(f"Nothing to buy: {len(videos)} videos are there already.")


def _print_totals(ledger: Money, books: Money) -> None:
    if ledger == books:
        print(f"Total: {usd(ledger)} USD (simulated). The simulator's own books say the same, to the nano-dollar.")
        return
    print(
        f"Total: {usd(ledger)} USD (simulated), but the simulator's own books say {usd(books)} USD: the difference is "
        f"{usd(books - ledger)} USD. A job killed between request and answer, or a failed one that the simulator has "
        "refunded, explains one: `wan-pipeline jobs` and `wan-pipeline simulator --books` show which."
    )
