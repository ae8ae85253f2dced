"""What `doctor` finds in the ledger: each budget as it stands, money in doubt and money lost, and what waits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wan_pipeline.cli.console import ago
from wan_pipeline.cli.doctor_alerts import alerts_of
from wan_pipeline.cli.findings import Finding
from wan_pipeline.generation.outlook import clock
from wan_pipeline.money import Money
from wan_pipeline.settings import Settings
from wan_pipeline.spend.budget import budgets_of

if TYPE_CHECKING:
    from pydantic import SecretStr

    from wan_pipeline.spend.ledger import Ledger
    from wan_pipeline.spend.records import BudgetLine, Deferral, SentWith


def state_of(settings: Settings, ledger: Ledger) -> Iterator[Finding]:
    """Of the present mode: simulated and real money are never one sum."""
    simulated = settings.mode == "demo"
    usd = "simulated USD" if simulated else "USD"
    now = datetime.now(UTC)
    for line in ledger.budget_lines(budgets_of(settings), simulated=simulated):
        yield _budget(line, usd)
    yield Finding("WAN_SHOT_BUDGET_USD", "ok", f"{settings.shot_budget} {usd} for each shot, all its takes together")
    yield from _ambiguous(ledger, simulated=simulated, usd=usd, now=now)
    yield from _orphans(ledger, simulated=simulated, now=now)
    if not simulated:
        yield from _other_keys(settings, ledger.senders(simulated=simulated))
    yield from _deferred(ledger.deferrals.load(simulated=simulated), now)
    wasted = ledger.wasted(simulated=simulated)
    if wasted.total:
        parts = (("failed", wasted.failed), ("lost", wasted.lost), ("written off", wasted.written_off))
        detail = ", ".join(f"{amount} {name}" for name, amount in parts if amount)
        yield Finding("wasted", "note", f"{wasted.total} {usd} were billed for jobs that no video came of: {detail}")
    yield from alerts_of(settings, ledger)


def _budget(line: BudgetLine, usd: str) -> Finding:
    period = f" until {line.until:%Y-%m-%d} UTC" if line.until else ""
    detail = f"{line.allowed} {usd}: {line.billed} billed, {line.held} held, {line.left} left{period}"
    if line.left.nanos > 0:
        return Finding(line.name, "ok", detail)
    wait = "raise it, or wait until then" if line.until else "raise it"
    return Finding(line.name, "note", detail, f"nothing more is bought within it: {wait}")


def _ambiguous(ledger: Ledger, *, simulated: bool, usd: str, now: datetime) -> Iterator[Finding]:
    jobs = ledger.ambiguous(simulated=simulated)
    if not jobs:
        return
    held = Money.total(job.held for job in jobs)
    since = min(job.doubted_at or job.claimed_at for job in jobs)
    one = (
        "1 job of which nobody knows whether its provider took it"
        if len(jobs) == 1
        else (f"{len(jobs)} jobs of which nobody knows whether their providers took them")
    )
    yield Finding(
        "ambiguous",
        "note",
        f"{one}, {held} {usd} held; the oldest since {clock(since, now)}",
        "`wan-pipeline jobs --state ambiguous` says what is known, and what happens next",
    )


def _orphans(ledger: Ledger, *, simulated: bool, now: datetime) -> Iterator[Finding]:
    jobs = ledger.orphans(simulated=simulated)
    if not jobs:
        return
    expiries = [job.result_expires_at for job in jobs if job.result_expires_at is not None]
    soonest = f"; the first result can be had until {clock(min(expiries), now)}" if expiries else ""
    jobs_are = "1 job is" if len(jobs) == 1 else f"{len(jobs)} jobs are"
    oldest = ago(min(job.claimed_at for job in jobs), now)
    yield Finding(
        "in flight",
        "note",
        f"{jobs_are} in flight of processes that are gone, the oldest bought {oldest}{soonest}",
        "`wan-pipeline run` collects them; Dagster's recovery does while `wan-pipeline dev` is up",
    )


def _other_keys(settings: Settings, senders: list[SentWith]) -> Iterator[Finding]:
    """Jobs of which the key that is set now may be told nothing. Fingerprints are shown, keys never."""
    from wan_pipeline.providers.account import account_of
    from wan_pipeline.providers.connect import PROVIDERS

    for each in senders:
        info = PROVIDERS.get(each.provider)
        if info is None:
            continue
        key: SecretStr | None = getattr(settings, info.key_variable.lower())
        ours = account_of(key) if key else None
        if ours == each.account:
            continue
        jobs = "1 job" if each.jobs == 1 else f"{each.jobs} jobs"
        than = f"another key (fingerprint {each.account}) than the one that is set now ({ours})"
        yield Finding(
            info.key_variable,
            "note",
            f"{jobs} in flight or ambiguous at {info.title}, sent with "
            + (than if ours else f"the key of fingerprint {each.account}, and none is set now"),
            "only the account that made them is sure to know them: set that key again until they have ended, or decide "
            "about ambiguous ones yourself with `wan-pipeline resolve`",
        )


def _deferred(deferrals: list[Deferral], now: datetime) -> Iterator[Finding]:
    """One finding for each limit, the one that has been in the way the longest first."""
    by_limit: dict[str, list[Deferral]] = {}
    for item in deferrals:
        by_limit.setdefault(item.limit or f"{item.provider} (out of reach)", []).append(item)
    for limit, items in by_limit.items():
        oldest = min(items, key=lambda item: item.since)
        untils = [item.until for item in items if item.until is not None]
        until = f", not before {clock(min(untils), now)}" if untils else ""
        shots = "1 shot waits" if len(items) == 1 else f"{len(items)} shots wait"
        needed = Money.total(item.needed for item in items)
        made = "the oldest first: by themselves under `wan-pipeline dev`, or by `wan-pipeline run`"
        if oldest.limit.startswith("job "):
            first = "made once that job, which is another shot's with the same request, has ended"
        elif oldest.limit and not untils:
            first = "raise it; then they are made"
        else:
            first = "made once there is room"
        yield Finding(
            "deferred",
            "note",
            f"{shots} for {limit}{until}: {needed} USD needed; the oldest, {oldest.shot}, since {clock(oldest.since, now)}",
            f"{first}, {made}",
        )
