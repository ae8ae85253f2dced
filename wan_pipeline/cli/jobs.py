"""`wan-pipeline jobs`: what the ledger says of each paid generation."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from wan_pipeline.cli.console import (
    Column,
    ago,
    eye_width,
    json_time,
    json_usd,
    print_json,
    print_table,
    say,
    seconds,
    usd,
    video_file,
)
from wan_pipeline.cli.opened import open_ledger
from wan_pipeline.cli.options import example, json_option
from wan_pipeline.money import ZERO, Money
from wan_pipeline.settings import Settings
from wan_pipeline.spend.records import JobState

if TYPE_CHECKING:
    from wan_pipeline.generation.outlook import Outlook
    from wan_pipeline.spend.records import Job

_TABLE_ROWS = 50
_WASTED_STATES = frozenset({JobState.FAILED, JobState.LOST, JobState.WRITTEN_OFF})
_LABEL = 9  # the width of a block's first column


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
    counts in the budgets until then. With --state ambiguous alone: what is known of each, and what happens next.
    """
    from wan_pipeline.generation.outlook import outlook

    wanted = [JobState(state) for state in states] or None
    limit = limit or (None if as_json else _TABLE_ROWS + 1)
    settings = Settings.load()
    absent_after, now = timedelta(seconds=settings.absent_after_seconds), datetime.now(UTC)
    in_blocks = set(wanted or ()) == {JobState.AMBIGUOUS}
    with open_ledger(settings) as ledger:
        jobs = ledger.jobs(wanted, shot, limit=limit)
        if as_json:
            print_json([as_object(job, outlook(ledger, job, absent_after, now)) for job in jobs])
            return
        if limit == _TABLE_ROWS + 1 and len(jobs) == limit:
            jobs = jobs[:-1]
            say(f"the newest {_TABLE_ROWS}; --limit shows more")
        views = {job.id: outlook(ledger, job, absent_after, now) for job in jobs if in_blocks}
    if not jobs:
        say(
            "no such jobs in the ledger"
            if states or shot
            else "the ledger has no jobs yet: `wan-pipeline run` makes some"
        )
        return
    if in_blocks:
        _print_blocks(jobs, views, now)
        return
    _print(jobs)
    for line in _under_the_table(jobs):
        print(line)


def wasted(job: Job) -> Money:
    """What was billed for a job that no video came of."""
    return (job.billed or ZERO) if job.state in _WASTED_STATES else ZERO


def as_object(job: Job, view: Outlook) -> dict[str, Any]:
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
        "sent_at": json_time(job.sent_at),
        "doubted_at": json_time(job.doubted_at),
        "looks": [
            {"witness": look.witness, "verdict": look.verdict, "detail": look.detail, "at": json_time(look.at)}
            for look in view.looks
        ],
        "hints": list(view.hints),
        "next_look_at": json_time(job.next_look_at),
        "absent_from": json_time(view.absent_from),
        "next": view.next or None,
        "result_expires_at": json_time(job.result_expires_at),
        "fetches": job.fetches,
        "next_fetch_at": json_time(job.next_fetch_at),
        "kept_key": job.kept_key,
        "wasted_usd": json_usd(wasted(job)),
        "duplicate_allowed_usd": json_usd(job.duplicate_allowed),
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


def _under_the_table(jobs: list[Job]) -> list[str]:
    """What the rows do not say of themselves; live money and simulated never in one sum."""
    lines: list[str] = []
    for simulated in (False, True):
        mine = [job for job in jobs if job.simulated is simulated]
        kind = "simulated USD" if simulated else "USD"
        total = Money.total(wasted(job) for job in mine)
        if total:
            count = sum(bool(wasted(job)) for job in mine)
            lines.append(f"Wasted: {total} {kind}, billed for {_jobs(count)} that no video came of.")
        ambiguous = [job for job in mine if job.state is JobState.AMBIGUOUS]
        if ambiguous:
            held = Money.total(job.held for job in ambiguous)
            lines.append(
                f"Ambiguous: {_jobs(len(ambiguous))}, {held} {kind} held; `wan-pipeline jobs --state ambiguous` says what is"
                " known."
            )
    return lines


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def _print_blocks(jobs: list[Job], views: dict[str, Outlook], now: datetime) -> None:
    """A block for each ambiguous job, readable at 80 columns."""
    for job in jobs:
        print(f"{job.id}  {job.shot}, take {job.take}" + ("  (simulated)" if job.simulated else ""))
        for label, text in _block(job, views[job.id], now):
            lines = textwrap.wrap(
                text, max(20, eye_width() - _LABEL - 2), break_long_words=False, break_on_hyphens=False
            )
            for number, line in enumerate(lines or [""]):
                print(f"  {label if number == 0 else '':<{_LABEL}}{line}".rstrip())
        print()
    for line in _under_blocks(jobs):
        print(line)


def _block(job: Job, view: Outlook, now: datetime) -> list[tuple[str, str]]:
    from wan_pipeline.generation.outlook import clock

    sent = job.sent_at or job.claimed_at
    lines = [
        ("model", job.model),
        ("sent", f"{sent:%Y-%m-%d %H:%M:%S} UTC, {ago(sent, now)}"),
        ("attempt", job.attempt_id or ""),
        ("answer", job.error or "none"),
        ("money", f"{job.held} USD held: it counts in the budgets" + (" (simulated)" if job.simulated else "")),
    ]
    looked = (
        f"looked for {job.looks} times" if job.looks > 1 else "looked for once" if job.looks else "not looked for yet"
    )
    since = f", ambiguous since {clock(job.doubted_at, now)}" if job.doubted_at else ""
    lines.append(("known", looked + since))
    lines += [("", f"{clock(look.at, now)}  {look.witness}: {look.verdict}: {look.detail}") for look in view.last_words]
    lines += [("", f"a callback has named {hint}") for hint in view.hints]
    lines.append(("next", view.next))
    return lines


def _under_blocks(jobs: list[Job]) -> list[str]:
    lines: list[str] = []
    for simulated in (False, True):
        mine = [job for job in jobs if job.simulated is simulated]
        if mine:
            held = Money.total(job.held for job in mine)
            lines.append(f"{_jobs(len(mine))}, {held} {'simulated ' if simulated else ''}USD held.")
    return lines
