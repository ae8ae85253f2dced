"""`wan-pipeline quote`: what shots would cost, before anything is bought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from wan_pipeline.cli.console import Column, json_time, json_usd, print_json, print_table, say, usd
from wan_pipeline.cli.exits import ALL_MADE, FAILED
from wan_pipeline.cli.opened import open_installation
from wan_pipeline.cli.options import check_keys, example, json_option, shots_option
from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.records import OPEN_STATES, Job, JobState, Take

if TYPE_CHECKING:
    from wan_pipeline.defs.resources import OpenInstallation
    from wan_pipeline.generation.events import Finished, Inspected, Quoted
    from wan_pipeline.shots.shot import Shot
    from wan_pipeline.spend.records import BudgetLine

TO_BUY = "to be bought"


@dataclass(frozen=True)
class ShotQuote:
    """What `run` would pay for a shot. `status` is TO_BUY, or why nothing would be paid."""

    shot: str
    model: str | None
    status: str
    duration_s: int | None = None
    resolution: str | None = None
    has_audio: bool | None = None
    low: Money = ZERO
    high: Money = ZERO
    rule: str = ""
    notes: tuple[str, ...] = ()
    problem: str = ""
    campaign: str | None = None

    @property
    def budgets(self) -> frozenset[str]:
        """The names of the budgets that it would count in, where they are set."""
        from wan_pipeline.spend.budget import DAILY, MONTHLY, campaign_name, provider_name

        provider = (self.model or "").partition("/")[0]
        campaign = {campaign_name(self.campaign)} if self.campaign is not None else set[str]()
        return frozenset({DAILY, MONTHLY, provider_name(provider), *campaign})

    def as_json(self) -> dict[str, Any]:
        pays = self.status == TO_BUY
        return {
            "shot": self.shot,
            "model": self.model,
            "status": self.status,
            "duration_s": self.duration_s,
            "resolution": self.resolution,
            "has_audio": self.has_audio,
            "quoted_low_usd": None if self.problem else json_usd(self.low),
            "quoted_usd": None if self.problem else json_usd(self.high),
            "to_pay_low_usd": json_usd(self.low if pays else ZERO),
            "to_pay_usd": json_usd(self.high if pays else ZERO),
            "rule": self.rule,
            "warnings": list(self.notes),
            "problem": self.problem or None,
        }


@click.command(epilog=example("wan-pipeline quote", "wan-pipeline quote --shot spring/cat --json"))
@shots_option("Only this shot. May be repeated.")
@json_option
def command(shots: tuple[str, ...], as_json: bool) -> int:
    """Say what the shots will cost, at least and at most. Buys nothing, and asks no provider.

    Input files are read and checked as before a purchase. Exit status 1 where a shot is not ready.
    """
    with open_installation() as opened:
        found = opened.discover()
        check_keys(shots, {shot.key for shot in found})
        chosen = [shot for shot in found if not shots or shot.key in shots]
        simulated = opened.settings.mode == "demo"
        quotes = _quotes(opened, chosen, simulated=simulated)
        lines = opened.ledger.budget_lines(opened.budgets, simulated=simulated)
        _tell(opened, quotes, lines, as_json=as_json)
    return FAILED if any(quote.problem for quote in quotes) else ALL_MADE


def _quotes(opened: OpenInstallation, shots: Sequence[Shot], *, simulated: bool) -> list[ShotQuote]:
    from wan_pipeline.generation.events import Finished, Inspected, Quoted, Stage
    from wan_pipeline.spend.records import ClaimOptions

    inspected: dict[str, Inspected] = {}
    quoted: dict[str, Quoted] = {}
    finished: list[Finished] = []
    with opened.start(shots, Stage.QUOTE, ClaimOptions(), None) as batch:
        for event in batch.events():
            match event:
                case Inspected():
                    inspected[event.shot.key] = event
                case Quoted():
                    quoted[event.shot.key] = event
                case Finished():
                    finished.append(event)
                case _:
                    pass
    takes = opened.ledger.current_takes(simulated=simulated)
    jobs = {job.id: job for job in opened.ledger.jobs(simulated=simulated)}
    latest: dict[str, Job] = {}
    for job in jobs.values():
        if job.request_hash not in latest or latest[job.request_hash].repeat < job.repeat:
            latest[job.request_hash] = job
    quotes: list[ShotQuote] = []
    now = datetime.now(UTC)
    for end in sorted(finished, key=lambda event: event.shot.key):
        key, quote = end.shot.key, quoted.get(end.shot.key)
        order = end.shot.order
        if quote is None or order is None:
            quotes.append(ShotQuote(key, end.shot.model_id, str(end.verdict), problem=end.reason or "not ready"))
            continue
        take = takes.get(key)
        status = _status(quote, inspected[key].digest, take, jobs.get(take.job_id) if take else None, latest)
        if status == TO_BUY and end.shot.not_before is not None and end.shot.not_before > now:
            status = f"not before {json_time(end.shot.not_before)}"
        quotes.append(
            ShotQuote(
                key,
                end.shot.model_id,
                status,
                order.duration_s,
                order.resolution,
                order.has_audio,
                quote.quote.low,
                quote.quote.high,
                quote.quote.rule,
                quote.warnings,
                campaign=end.shot.campaign,
            )
        )
    return quotes


def _status(quoted: Quoted, own_digest: str, take: Take | None, job: Job | None, latest: dict[str, Job]) -> str:
    """What the claim of a plain `run` would say; it decides, this only foretells."""
    if take is not None and job is not None and take.request_hash != quoted.digest:
        if job.state is JobState.STORED and take.own_digest == own_digest:
            return "outdated: kept as it is"
        job = None
    if job is None or (job.state is not JobState.STORED and job.state not in OPEN_STATES):
        job = latest.get(quoted.digest, job)
    if job is None or _is_bought_anew(job, quoted):
        return TO_BUY
    if job.state is JobState.STORED:
        return "made already" if job.shot == quoted.shot.key else f"made already for {job.shot}"
    if job.state in OPEN_STATES:
        return "in flight"
    return "ambiguous: stands" if job.state is JobState.AMBIGUOUS else f"{job.state}: stands until asked for by name"


def _is_bought_anew(job: Job, quoted: Quoted) -> bool:
    """Given up for no fault of the request, found to be nowhere, or a person has allowed a second purchase at this price."""
    if job.duplicate_allowed is not None and job.state in (JobState.RELEASED, JobState.WRITTEN_OFF):
        return quoted.quote.high <= job.duplicate_allowed
    return job.retryable and job.state in (JobState.REJECTED, JobState.RELEASED)


def _tell(opened: OpenInstallation, quotes: list[ShotQuote], lines: list[BudgetLine], *, as_json: bool) -> None:
    settings = opened.settings
    pays = [quote for quote in quotes if quote.status == TO_BUY]
    low, high = Money.total(quote.low for quote in pays), Money.total(quote.high for quote in pays)
    if as_json:
        print_json(
            {
                "simulated": settings.mode == "demo",
                "shots": [quote.as_json() for quote in quotes],
                "totals": {"to_pay_low_usd": str(low), "to_pay_usd": str(high)},
                "budgets_left_usd": {line.name: str(line.left) for line in lines},
            }
        )
        return
    if not quotes:
        say(f"there are no shots: put images into inbox/ of {opened.bucket.url}")
        return
    _print(quotes)
    simulated = " (simulated)" if settings.mode == "demo" else ""
    print(
        f"{len(pays)} of {len(quotes)} shots to be bought: {usd(low)} to {usd(high)} USD{simulated}. Nothing is bought."
    )
    for line in lines:
        needed = Money.total(quote.high for quote in pays if line.name in quote.budgets)
        short = "" if needed <= line.left else f": NOT ENOUGH for the {usd(needed)} USD that may be needed"
        print(f"{line.name}: {usd(line.left)} USD left{short}")


def _print(quotes: list[ShotQuote]) -> None:
    print_table(
        [
            Column("shot"),
            Column("model"),
            Column("seconds", right=True),
            Column("size", spare=True),
            Column("sound", spare=True),
            Column("at least USD", right=True),
            Column("at most USD", right=True),
            Column("status"),
        ],
        [
            (
                quote.shot,
                quote.model or "",
                str(quote.duration_s or ""),
                quote.resolution or "",
                {True: "yes", False: "no", None: ""}[quote.has_audio],
                "" if quote.problem else usd(quote.low),
                "" if quote.problem else usd(quote.high),
                quote.status,
            )
            for quote in quotes
        ],
    )
    for quote in quotes:
        if quote.problem:
            print(f"{quote.shot}: {quote.status}: {quote.problem}")
    for quote in quotes:
        for note in quote.notes:
            print(f"{quote.shot}: {note}")
