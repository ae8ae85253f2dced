"""The ledger's words as values: states, claims and what they answer. Rows cross this module's border as these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from wan_pipeline.money import Money


class JobState(StrEnum):
    """The states of a job; docs/architecture.md draws the arrows between them."""

    RESERVED = "reserved"
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    GENERATED = "generated"
    STORED = "stored"
    LOST = "lost"
    FAILED = "failed"
    REJECTED = "rejected"
    AMBIGUOUS = "ambiguous"
    RELEASED = "released"
    WRITTEN_OFF = "written_off"


OPEN_STATES = frozenset({JobState.RESERVED, JobState.SUBMITTING, JobState.SUBMITTED, JobState.GENERATED})
ENDED_STATES = frozenset(
    {JobState.STORED, JobState.LOST, JobState.FAILED, JobState.REJECTED, JobState.RELEASED, JobState.WRITTEN_OFF}
)


class Basis(StrEnum):
    """Who said an amount."""

    QUOTED = "quoted"
    REPORTED = "reported"
    INVOICED = "invoiced"


class EntryKind(StrEnum):
    """Kinds of money entries. Entries are appended, never changed."""

    HOLD = "hold"
    RELEASE = "release"
    CHARGE = "charge"
    REFUND = "refund"
    ADJUSTMENT = "adjustment"


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What is to be bought, frozen into the ledger before the POST."""

    shot: str
    provider: str
    model: str
    request_hash: str
    own_digest: str  # of the shot's own settings and input bytes: tells a change of its own from one by _defaults.yaml
    arguments: dict[str, Any]  # the canonical body, every input replaced by its content hash
    inputs: tuple[dict[str, Any], ...]  # [{"slot": "first_frame", "key": "inbox/...", "sha256": "..."}]
    duration_s: int
    resolution: str
    has_audio: bool | None  # None: the model's document does not let us expect either
    campaign: str | None
    quoted_low: Money
    quoted_high: Money
    simulated: bool
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A row of the ledger. `take` is the take of the shot that bought it. `billed` None: nobody has said yet."""

    id: str
    shot: str
    take: int
    provider: str
    model: str
    request_hash: str
    repeat: int
    fingerprint: str
    own_digest: str
    state: JobState
    arguments: dict[str, Any]
    inputs: tuple[dict[str, Any], ...]
    duration_s: int
    resolution: str
    has_audio: bool | None  # None: the model's document does not let us expect either
    campaign: str | None
    quoted_low: Money
    quoted_high: Money
    held: Money  # what the budgets count beside what is billed
    billed: Money | None
    basis: Basis | None
    provider_job_id: str | None
    attempt_id: str | None
    owner: str | None
    # Rejected: anyone may open it again, nothing was wrong with the request (no credit, not sent). Released: it was looked
    # for and is not there; anyone may buy the request as a new job.
    retryable: bool
    error: str | None
    result_url: str | None  # without its signed part
    video_uri: str | None
    video_key: str | None
    video_sha256: str | None
    video_bytes: int | None
    video_duration_s: float | None
    poster_uri: str | None
    simulated: bool
    run_id: str | None
    claimed_at: datetime  # all moments are UTC and aware
    submitted_at: datetime | None
    generated_at: datetime | None
    stored_at: datetime | None
    updated_at: datetime
    sent_at: datetime | None = None  # when the latest attempt began
    doubted_at: datetime | None = None  # when it became ambiguous, the last time it did
    looks: int = 0  # how often it was looked for since then
    next_look_at: datetime | None = None  # set only while ambiguous; None: nothing looks for it by itself
    result_expires_at: datetime | None = None
    fetches: int = 0  # failed collections
    next_fetch_at: datetime | None = None  # not to be collected before
    kept_key: str | None = None  # of a lost job: what came instead of a video, kept for inspection
    duplicate_allowed: Money | None = None  # a person lets the request be bought anew for at most this


@dataclass(frozen=True, slots=True)
class Take:
    """The n-th video of a shot, and the job it came from: its own, or another shot's whose request was the same."""

    shot: str
    take: int
    job_id: str
    own_digest: str
    request_hash: str
    reused: bool
    video_uri: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ClaimOptions:
    """What an operator decided. Nothing here is ever set by the sensor; by the schedule only what a person had decided for a
    shot that was then deferred."""

    retry_failed: bool = False  # asked for by name: a failed take whose failure was not billed may be tried again
    new_take: bool = False  # buy this very request again on purpose
    outdated: bool = False  # make shots anew whose change came from a _defaults.yaml
    collect_only: bool = False  # never buy; join what is in flight


# --- what a claim answers ---


@dataclass(frozen=True, slots=True)
class Bought:
    """The hold and the intent are durable, state `submitting`, attempt id written: POST now, once."""

    job: Job
    attempt_id: str


@dataclass(frozen=True, slots=True)
class Joined:
    """The job is under way. `mine`: its holder is gone and the claimer holds it now (poll it, collect it); otherwise
    another living process does: wait for it, and look again."""

    job: Job
    mine: bool


@dataclass(frozen=True, slots=True)
class Reused:
    """The video is stored already: the shot's own take, or (`take.reused`) that of another shot's same request."""

    job: Job
    take: Take


@dataclass(frozen=True, slots=True)
class Outdated:
    """Only a _defaults.yaml has changed since this shot's video was made. Nothing is bought until a person asks."""

    job: Job
    take: Take


@dataclass(frozen=True, slots=True)
class Standing:
    """A job of this very request ended badly, or is ambiguous, and stands: nothing is bought. `remedy` says what a
    person can do about it."""

    job: Job
    remedy: str


@dataclass(frozen=True, slots=True)
class OverBudget:
    """No room: `limit` names the setting, e.g. WAN_DAILY_BUDGET_USD."""

    limit: str
    allowed: Money
    used: Money
    needed: Money
    until: datetime | None  # when the budget's period ends; None: never by itself


@dataclass(frozen=True, slots=True)
class ProviderBusy:
    """The provider's limits, counted in the ledger over all processes and hosts, have no room now: ask again after
    `wait_s` seconds. Nothing was written."""

    reason: str
    wait_s: float


@dataclass(frozen=True, slots=True)
class NotBought:
    """`collect_only`: there is nothing in flight for this shot."""

    reason: str


ClaimOutcome = Bought | Joined | Reused | Outdated | Standing | OverBudget | ProviderBusy | NotBought


@dataclass(frozen=True, slots=True)
class SubmitLimits:
    """What a provider allows, over all processes and hosts together."""

    max_in_flight: int
    submits_per_minute: int


@dataclass(frozen=True, slots=True)
class Budgets:
    """Hard limits, UTC; None: no limit. `campaigns`: by campaign, for all that is ever bought for it. `providers`: by
    provider, for each UTC month."""

    daily: Money | None
    monthly: Money | None
    shot: Money | None
    campaigns: Mapping[str, Money] = field(default_factory=dict[str, Money])
    providers: Mapping[str, Money] = field(default_factory=dict[str, Money])


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """Where a collected video lies and what it is."""

    uri: str
    key: str
    sha256: str
    size_bytes: int
    duration_s: float
    poster_uri: str | None


# --- for whoever reads the ledger ---


@dataclass(frozen=True, slots=True)
class Attempt:
    """One submission. `outcome`: accepted, refused, not_sent, rejected, ambiguous; None: under way, or its process died.
    `account`: the fingerprint of the key that it was sent with; None: not known."""

    id: str
    job_id: str
    n: int
    owner: str
    began_at: datetime
    ended_at: datetime | None
    outcome: str | None
    detail: str | None
    account: str | None = None


@dataclass(frozen=True, slots=True)
class SentWith:
    """How many of the jobs that a provider has, or may have, were sent with the key of this fingerprint."""

    provider: str
    account: str
    jobs: int


@dataclass(frozen=True, slots=True)
class MoneyEntry:
    """One line of the books. `amount` is negative only for an adjustment; a release says in `note` why. `effective_at`: of a
    refund, when it took place at the provider, where that is known; `at` is when it was written here."""

    id: int
    job_id: str
    kind: EntryKind
    amount: Money
    basis: Basis | None
    at: datetime
    note: str
    effective_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PeriodUse:
    """What the jobs claimed in a UTC day or month hold and were billed; `until` is the first moment after it."""

    since: datetime
    until: datetime
    held: Money
    billed: Money

    @property
    def used(self) -> Money:
        """What the budget counts."""
        return self.held + self.billed


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """The use of both budgets' present periods."""

    day: PeriodUse
    month: PeriodUse


@dataclass(frozen=True, slots=True)
class Difference:
    """Something in the ledger that contradicts itself: what a row says, and what follows from the rest."""

    job_id: str
    what: str
    kept: str
    expected: str


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """One budget as it stands. `name`: the setting, and whose it is: `WAN_CAMPAIGN_BUDGETS_USD (spring)`. `until`: when
    its period ends; None: it has none."""

    name: str
    allowed: Money
    held: Money
    billed: Money
    until: datetime | None

    @property
    def left(self) -> Money:
        """Room for new holds; below zero where a provider has billed more than was held."""
        return self.allowed - self.held - self.billed


@dataclass(frozen=True, slots=True)
class Look:
    """What one witness said of an ambiguous job: `verdict` is found, absent, unsure or unreachable."""

    witness: str
    verdict: str
    detail: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Deferral:
    """A shot that is to be made when there is room, without anyone's help. `limit`: the budget that has none, the job whose
    end it waits for (`job j…`), `the next run`, or "" where its provider could not be reached. `since`: since when it waits
    (kept over repeated deferrals: the oldest goes first). `until`: not before; None: whenever there is room. `decided`: what
    a person had decided for it, and the run that makes it has to know: names of ClaimOptions' fields, with a blank between
    two; never `new_take`, which would buy once more each time that it is said."""

    shot: str
    simulated: bool
    limit: str
    reason: str
    needed: Money
    provider: str
    campaign: str | None
    since: datetime
    until: datetime | None
    times: int
    decided: str = ""


@dataclass(frozen=True, slots=True)
class Wasted:
    """What was billed for jobs that gave no video."""

    failed: Money
    lost: Money
    written_off: Money

    @property
    def total(self) -> Money:
        return self.failed + self.lost + self.written_off


@dataclass(frozen=True, slots=True)
class RestoredTake:
    """What one manifest says, for `Ledger.restore`. `key`: the manifest's own. `shot`, `take`, `own_digest`: of the take;
    `reused`: its job was bought by another shot, or as another take. `job`: the job's row as the manifest has it, money as
    decimal strings, moments in ISO 8601."""

    key: str
    shot: str
    take: int
    own_digest: str
    reused: bool
    job: Mapping[str, Any]
