"""What `run` would pay for each shot, foretold from a batch that went as far as the quote: nothing is bought here.

What belongs here: what the claim of a plain run would say to each shot; it decides, this only foretells. What does not: the
sums and the days (quotation.py), and how they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from wan_pipeline.generation.events import Event, Finished, Inspected, Quoted
from wan_pipeline.money import ZERO, Money
from wan_pipeline.providers.base import Order
from wan_pipeline.providers.price_answer import ProviderPrice
from wan_pipeline.spend import precedents
from wan_pipeline.spend.budget import DAILY, MONTHLY, campaign_name, provider_name
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import OPEN_STATES, Job, JobState, Take

TO_BUY = "to be bought"
NOT_DUE = "not before"


@dataclass(frozen=True, slots=True)
class ShotQuote:
    """What `run` would pay for a shot. `status` is TO_BUY, or why nothing would be paid; `low` and `high` are its quote's
    bounds whatever its status. `told`: the provider's own price, where it was asked; the catalog's is what will be held."""

    shot: str
    model: str | None
    status: str
    order: Order | None = None
    low: Money = ZERO
    high: Money = ZERO
    rule: str = ""
    notes: tuple[str, ...] = ()
    problem: str = ""
    campaign: str | None = None
    not_before: datetime | None = None
    told: ProviderPrice | None = None

    @property
    def provider(self) -> str:
        return (self.model or "").partition("/")[0]

    @property
    def to_be_bought(self) -> bool:
        """Now, or when its time has come."""
        return self.status == TO_BUY or self.status.startswith(NOT_DUE)

    @property
    def least(self) -> Money:
        """What it may cost at least, the provider's own word counted."""
        return self.low if self.told is None else min(self.low, self.told.billed)

    @property
    def most(self) -> Money:
        """What it may cost at most, the provider's own word counted."""
        return self.high if self.told is None else max(self.high, self.told.billed)

    @property
    def budgets(self) -> frozenset[str]:
        """The names of the budgets that it would count in, where they are set."""
        campaign = {campaign_name(self.campaign)} if self.campaign is not None else set[str]()
        return frozenset({DAILY, MONTHLY, provider_name(self.provider), *campaign})


@dataclass
class QuoteNotes:
    """What the engine's events tell of quotes, gathered as they come: each shot's latest word."""

    inspected: dict[str, Inspected] = field(default_factory=dict[str, Inspected])
    quoted: dict[str, Quoted] = field(default_factory=dict[str, Quoted])
    finished: dict[str, Finished] = field(default_factory=dict[str, Finished])

    def note(self, event: Event) -> None:
        match event:
            case Inspected():
                self.inspected[event.shot.key] = event
            case Quoted():
                self.quoted[event.shot.key] = event
            case Finished():
                self.finished[event.shot.key] = event
            case _:
                pass


def foretell(notes: QuoteNotes, ledger: Ledger, now: datetime, *, simulated: bool) -> list[ShotQuote]:
    """For each shot that the batch has finished, sorted by its key. Asks the ledger about these shots and requests alone."""
    keys = sorted(notes.finished)
    takes = precedents.current_takes(ledger.engine, keys, simulated=simulated)
    digests = [each.digest for each in notes.quoted.values()]
    latest = precedents.latest_jobs(ledger.engine, digests, simulated=simulated)
    quotes = [_foretold(notes.finished[key], notes, takes, latest, now) for key in keys]
    return _each_request_once(quotes, notes)


def _foretold(
    end: Finished,
    notes: QuoteNotes,
    takes: Mapping[str, tuple[Take, Job]],
    latest: Mapping[str, Job],
    now: datetime,
) -> ShotQuote:
    shot = end.shot
    quoted, inspected = notes.quoted.get(shot.key), notes.inspected.get(shot.key)
    if quoted is None or inspected is None or shot.order is None:
        return ShotQuote(
            shot.key, shot.model_id, str(end.verdict), problem=end.reason or "not ready", campaign=shot.campaign
        )
    status = _status(quoted, inspected.digest, takes.get(shot.key), latest.get(quoted.digest))
    if status == TO_BUY and shot.not_before is not None and shot.not_before > now:
        status = f"{NOT_DUE} {shot.not_before.astimezone(UTC).isoformat().replace('+00:00', 'Z')}"
    return ShotQuote(
        shot.key,
        shot.model_id,
        status,
        shot.order,
        quoted.quote.low,
        quoted.quote.high,
        quoted.quote.rule,
        quoted.warnings,
        campaign=shot.campaign,
        not_before=shot.not_before,
    )


def _each_request_once(quotes: list[ShotQuote], notes: QuoteNotes) -> list[ShotQuote]:
    """Of several shots that would buy the very same request, the first buys it, and the others have its video."""
    buyers: dict[str, str] = {}
    for quote in sorted(quotes, key=lambda quote: (quote.status != TO_BUY, quote.shot)):
        if quote.to_be_bought:
            buyers.setdefault(notes.quoted[quote.shot].digest, quote.shot)
    return [
        replace(quote, status=f"made with {buyer}")
        if quote.to_be_bought and (buyer := buyers[notes.quoted[quote.shot].digest]) != quote.shot
        else quote
        for quote in quotes
    ]


def _status(quoted: Quoted, own_digest: str, current: tuple[Take, Job] | None, latest: Job | None) -> str:
    """What the claim of a plain `run` would say; it decides, this only foretells."""
    take, job = current if current is not None else (None, None)
    if take is not None and job is not None and take.request_hash != quoted.digest:
        if job.state is JobState.STORED and take.own_digest == own_digest:
            return "outdated: kept as it is"
        job = None
    if job is None or (job.state is not JobState.STORED and job.state not in OPEN_STATES):
        job = latest or job
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
