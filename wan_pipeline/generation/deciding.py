"""Deciding: what a person has found out about a job that nobody knows about, checked and written into the ledger.

The one rule behind `wan-pipeline resolve` and the UI's `resolve_job`. What belongs here: what may be decided, in which
words it is refused, and what happens next. What does not: typing and showing it, and the arrows in the ledger. Nothing
here buys anything.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum

from wan_pipeline.money import Money
from wan_pipeline.providers.account import another_key
from wan_pipeline.providers.base import PollError, PollOutcome, ProviderClient
from wan_pipeline.providers.catalog import find_model
from wan_pipeline.spend.errors import LedgerError
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Job, JobState

_DEAREST = Money.usd(1_000_000)  # for one video: more is a slip of the pen
_LISTED = "`wan-pipeline jobs --state ambiguous` (in the UI: the asset `budgets`) lists what can be resolved"


class DecisionError(RuntimeError):
    """It cannot be decided so. The message says why and what to do instead; nothing was changed."""


class Ending(StrEnum):
    """How an ambiguity may end by a person's word."""

    FOUND = "found"  # the provider has it, under this id: it is collected like any other
    NOT_CHARGED = "not_charged"  # the provider never took it: the hold is given back
    WRITE_OFF = "write_off"  # it counts as spent, at the quote; its video is given up


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's word on one job. `who` says so; `note` is why, for whoever reads the books. `provider_job_id` goes with
    FOUND. `duplicate_up_to`: the next run may buy the shot anew for at most so much, though this may be charged too."""

    ending: Ending
    who: str
    note: str = ""
    provider_job_id: str | None = None
    duplicate_up_to: Money | None = None

    @property
    def said(self) -> str:
        note = self.note.strip()
        return f"{self.who}: {note}" if note else self.who


Connect = Callable[[str], AbstractAsyncContextManager[ProviderClient]]


def decide(ledger: Ledger, connect: Connect, job_id: str, decision: Decision, *, simulated: bool) -> Job:
    """Writes the decision down; gives the job in its new state. For FOUND the provider is asked whether it has that id.

    `connect` gives a provider's client by its name and may raise ConfigurationError. Not to be called inside an event
    loop. Raises DecisionError.
    """
    _check(decision)
    try:
        job = ledger.job(job_id)
        if job.state is not JobState.AMBIGUOUS:
            raise LedgerError(f"job {job.id} ({job.shot}) is {job.state}, not ambiguous: there is nothing to resolve")
        if job.simulated is not simulated:
            wanted, here = ("demo", "live") if job.simulated else ("live", "demo")
            raise DecisionError(
                f"job {job.id} was made in {wanted} mode, and WAN_MODE is {here}: set WAN_MODE={wanted}"
            )
        match decision.ending:
            case Ending.FOUND:
                provider_job_id = (decision.provider_job_id or "").strip()
                _ask_provider(ledger, connect, job, provider_job_id)
                return ledger.resolve_found(job_id, provider_job_id, f"found by {decision.said}")
            case Ending.NOT_CHARGED:
                return ledger.resolve_not_charged(job_id, decision.said, duplicate_up_to=decision.duplicate_up_to)
            case Ending.WRITE_OFF:
                return ledger.resolve_write_off(job_id, decision.said, duplicate_up_to=decision.duplicate_up_to)
    except LedgerError as error:
        raise DecisionError(f"{str(error).rstrip('.')}. {_LISTED}") from error


def told(job: Job, decision: Decision) -> str:
    """What was decided, and what comes of it, in a sentence."""
    quoted = job.quoted_high
    match decision.ending:
        case Ending.FOUND:
            return (
                f"{job.shot}: job {job.id} goes on as {job.provider_job_id}; the next `wan-pipeline run`, or Dagster's"
                " recovery, collects it"
            )
        case Ending.NOT_CHARGED:
            done = f"{job.shot}: job {job.id} was not charged, its hold of {quoted} USD is given back; "
            otherwise = f"`wan-pipeline run --shot {shlex.quote(job.shot)}` tries again"
        case Ending.WRITE_OFF:
            done = f"{job.shot}: job {job.id} is written off, {job.billed} USD count as spent; "
            otherwise = f"`wan-pipeline run --new-take --shot {shlex.quote(job.shot)}` buys it once more"
    allowed = decision.duplicate_up_to
    if allowed is None:
        return done + otherwise
    if allowed < quoted:
        return f"{done}it was quoted {quoted} USD, more than the {allowed} USD allowed, so it stands; {otherwise}"
    return f"{done}the next run buys it anew where that is quoted at most {allowed} USD"


def _check(decision: Decision) -> None:
    provider_job_id = (decision.provider_job_id or "").strip()
    if decision.ending is Ending.FOUND:
        if not provider_job_id:
            raise DecisionError("found: say under which id the provider has it")
        if decision.duplicate_up_to is not None:
            raise DecisionError("found: what is there is collected, so no duplicate is to be allowed: leave that out")
        return
    if provider_job_id:
        name = "not charged" if decision.ending is Ending.NOT_CHARGED else "written off"
        raise DecisionError(f"{name}, and yet the id {provider_job_id} at the provider: if it is there, it is `found`")
    if decision.duplicate_up_to is not None:
        check_duplicate(decision.duplicate_up_to)


def check_duplicate(allowed: Money) -> None:
    """Can that be meant as the most that a second purchase may cost? Raises DecisionError where it cannot."""
    if allowed.nanos <= 0:
        raise DecisionError(f"{allowed} USD allow nothing: say how much a second purchase may cost, or leave it out")
    if allowed > _DEAREST:
        raise DecisionError(f"{allowed} USD is dearer than any video: say how much a second purchase may cost")


def _ask_provider(ledger: Ledger, connect: Connect, job: Job, provider_job_id: str) -> None:
    """A slip of the pen would be asked for again and again: the provider has to know the id."""

    async def ask() -> tuple[PollOutcome, str]:
        async with connect(job.provider) as client:
            return await client.poll(find_model(job.model), provider_job_id), client.account

    answer, account = asyncio.run(ask())
    if isinstance(answer, PollError):
        why = "does not know it" if answer.gone else "could not be asked"
        other = another_key(ledger.sent_with(job.attempt_id), account)
        but = f"; but {other}: set that key again" if other else ""
        raise DecisionError(f"found {provider_job_id}: {job.provider} {why}: {answer.reason}{but}. Nothing was changed")
