"""The contract between the engine and any provider's model.

A model is a value that knows its document: which settings and inputs it takes, what they cost, and the request body.
A client speaks one provider's HTTP. A sixth model is one new file and one line in the catalog.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from wan_pipeline.media.info import MediaInfo
from wan_pipeline.media.limits import MediaLimits
from wan_pipeline.money import Money

JsonObject = dict[str, Any]


class Role(StrEnum):
    """What an input file is for. `IMAGES` and `VIDEOS` may hold several."""

    FIRST_FRAME = "first_frame"
    LAST_FRAME = "last_frame"
    AUDIO = "audio"
    CLIP = "clip"
    IMAGES = "images"
    VIDEOS = "videos"


@dataclass(frozen=True, order=True, slots=True)
class Slot:
    """One place for one input file: `first_frame`, `videos[1]`."""

    role: Role
    index: int = 0

    def __str__(self) -> str:
        return f"{self.role}[{self.index}]" if self.role in (Role.IMAGES, Role.VIDEOS) else str(self.role)


@dataclass(frozen=True, slots=True)
class MediaInput:
    """An input file that was read, hashed and probed. `key` is its key in the bucket."""

    slot: Slot
    key: str
    sha256: str
    info: MediaInfo


class CommonSettings(BaseModel):
    """The settings of a shot under the house's own names; None means: not set, the model's documented default counts."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    prompt: str | None = None
    negative_prompt: str | None = None
    duration: int | None = None  # seconds of video
    resolution: Literal["720p", "1080p"] | None = None
    audio: bool | None = None  # shall the video have generated sound
    seed: int | None = None
    shot_type: Literal["single", "multi"] | None = None
    prompt_extend: bool | None = None


@dataclass(frozen=True, slots=True)
class InputRule:
    """How many files a role takes, and the document's limits on each. `source` names the document or says "house".

    `accepts_data_uri`: a file of this role may also be given as a base64 data URI (AI/ML API's image, not its audio).
    """

    minimum: int
    maximum: int
    limits: MediaLimits
    source: str
    accepts_data_uri: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """A request that its model's document allows: complete but for where the input files are.

    `arguments` is the validated pydantic model of the document with each input given as `str(slot)`; every cost-bearing
    parameter is explicit in it. `duration_s`, `resolution` and `has_audio` are what the finished video must have;
    `has_audio` None: the document does not say whether there will be sound, so it is not checked (ShortAPI wan-2.7 has
    no such setting). `warnings` are for the reader of the quote (a setting without effect, head-room in a price).
    """

    model_id: str
    arguments: BaseModel
    slots: tuple[Slot, ...]
    duration_s: int
    resolution: Literal["720p", "1080p"]
    has_audio: bool | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Quote:
    """What a job will cost, at least and at most. The hold is `high`. `rule` says how it was computed, for a reader."""

    low: Money
    high: Money
    rule: str


class Model(Protocol):
    """One thing that can be bought."""

    @property
    def id(self) -> str:
        """`provider/model`, e.g. `wavespeed/wan-2.6-i2v-flash`."""
        ...

    @property
    def provider(self) -> str: ...

    @property
    def upstream_id(self) -> str:
        """The provider's own name, e.g. `alibaba/wan-2.6/image-to-video`."""
        ...

    @property
    def settings(self) -> frozenset[str]:
        """The names of `CommonSettings` that this model has."""
        ...

    @property
    def inputs(self) -> Mapping[Role, InputRule]: ...

    @property
    def accepts_data_uri(self) -> bool:
        """Whether any of its inputs may be a data URI; `inputs[role].accepts_data_uri` says which."""
        ...

    def order(self, settings: CommonSettings, slots: Sequence[Slot], explicit: frozenset[str]) -> Order:
        """The request for these settings and inputs.

        `explicit` names the settings written in the shot's own file: one that this model lacks is an error; one that
        was inherited is left out. Raises ProblemsError with every mistake found (`file` left "", `field` the house's
        name of the setting or role).
        """
        ...

    def quote(self, order: Order, inputs: Sequence[MediaInput]) -> Quote: ...

    def body(self, order: Order, references: Mapping[Slot, str]) -> JsonObject:
        """The documented request body, with each input given as its reference (a URL; a hash, for the fingerprint)."""
        ...


def request_hash(model: Model, order: Order, inputs: Sequence[MediaInput]) -> str:
    """What identifies a request: provider, model and canonical arguments, every input replaced by its content's hash."""
    references = {item.slot: f"sha256:{item.sha256}" for item in inputs}
    text = json.dumps([model.provider, model.id, model.body(order, references)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


# --- what the answer to a submission means (docs/architecture.md, "What a provider's answer means") ---


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the job. `reported` is what it says it charges (None: it says nothing; unknown is not zero)."""

    provider_job_id: str
    reported: Money | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class NotSent:
    """No byte of the request left this machine: it may be sent again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Too many requests: wait, then send again."""

    reason: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Definitely not accepted, and will not be: `reason` is the provider's words."""

    reason: str


@dataclass(frozen=True, slots=True)
class Denied:
    """No key, a wrong key or no credit (401, 403): this provider is stopped for the batch."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Nobody knows whether it was accepted: never sent again by itself."""

    reason: str


SubmitOutcome = Accepted | NotSent | Refused | Rejected | Denied | Ambiguous


# --- what a poll says ---


@dataclass(frozen=True, slots=True)
class InProgress:
    """`status` is the provider's word; `note` is set where that word is unknown to its document."""

    status: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """`expires_at`: until when the URL, or the provider's copy of the video, can be had, as far as anybody says. `listed`: a
    list has told it, and nobody has asked for this very job."""

    url: str
    reported: Money | None = None
    seconds_at_provider: float | None = None
    expires_at: datetime | None = None
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """The provider says the job failed. `reported` is what it says it charged for that (None: it says nothing)."""

    reason: str
    reported: Money | None = None


@dataclass(frozen=True, slots=True)
class PollError:
    """The poll failed, the job did not: ask again. `gone` where the provider says it knows no such job (404, 410)."""

    reason: str
    gone: bool = False


PollOutcome = InProgress | Succeeded | Failed | PollError


# --- what a list of many jobs says ---


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A row of a provider's list. `outcome`: what a poll would say of the job, as far as the row tells."""

    provider_job_id: str
    made_at: datetime | None
    outcome: PollOutcome


@dataclass(frozen=True, slots=True)
class ListedJobs:
    """A page of the list: the rows of the jobs that were asked about. `oldest_at`: when the earliest job of the page was
    made, where its rows tell. `is_last`: there is no further page."""

    rows: tuple[ListedJob, ...]
    oldest_at: datetime | None
    is_last: bool


@runtime_checkable
class ListsJobs(Protocol):
    """A client whose provider tells of many jobs at once. Not every one does."""

    async def list_jobs(
        self,
        ended: Literal["succeeded", "failed"] | None,
        made_after: datetime | None,
        page: int,
        about: Collection[str],
    ) -> ListedJobs | PollError:
        """A page (the first is 1) of the account's jobs that have ended so (None: of all) and were made after that moment by
        the provider's clock, the newest first; of them the rows of those with these ids."""
        ...


# --- what became of a submission whose answer was lost ---


@dataclass(frozen=True, slots=True)
class LostSubmission:
    """What is known of it. `arguments` is the body as frozen in the ledger, each input given as `sha256:<hash>`;
    `input_keys` are the bucket keys by slot (`first_frame`): the URL that was sent has the key at the end of its path.
    `hints`: ids of jobs that a callback for this very attempt has named. `is_known` tells which of these provider ids the
    ledger has as another job's. `account`: `ProviderClient.account` of whoever sent it; None: not known."""

    attempt_id: str
    model: Model
    arguments: JsonObject
    input_keys: Mapping[str, str]
    sent_at: datetime
    now: datetime
    hints: Sequence[str]
    is_known: Callable[[Sequence[str]], Awaitable[frozenset[str]]]
    account: str | None = None


class Sighting(StrEnum):
    """What a witness says of a lost submission."""

    FOUND = "found"
    ABSENT = "absent"  # it looked at everything that it would have to be in, and it is not there (yet)
    UNSURE = "unsure"  # what it says fits, and does not prove it
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Testimony:
    """What one witness (`AI/ML API /v2/logs`) says, in words for a person."""

    witness: str
    sighting: Sighting
    detail: str


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The witnesses together. FOUND comes with the id, verified by a poll. ABSENT: all that could know say so; whether
    enough time has passed for that to count is the caller's matter. `candidates`: ids that may be it, for a person."""

    sighting: Sighting
    testimonies: tuple[Testimony, ...]
    provider_job_id: str | None = None
    reported: Money | None = None
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProviderLimits:
    """What a provider's tier allows. `polls_per_minute`: questions of every kind, of this process; None: nobody says."""

    max_in_flight: int
    submits_per_minute: int
    polls_per_minute: int | None = None

    @property
    def asks_per_minute(self) -> int:
        """How often this process asks. Where nobody says: ten times for each submission that is allowed, and at least the
        200 of AI/ML API's logs, the only such limit that one of the providers documents."""
        return self.polls_per_minute or max(200, 10 * self.submits_per_minute)


class ProviderClient(Protocol):
    """Speaks one provider's HTTP. Every method may raise only programming errors and CancelledError."""

    @property
    def name(self) -> str: ...

    @property
    def limits(self) -> ProviderLimits: ...

    @property
    def account(self) -> str:
        """Whose key it uses: a fingerprint that is no secret."""
        ...

    async def submit(self, model: Model, body: JsonObject, attempt_id: str) -> SubmitOutcome:
        """One POST, never repeated. A cancellation while it is under way must count as Ambiguous to the caller."""
        ...

    async def poll(self, model: Model, provider_job_id: str) -> PollOutcome: ...

    async def look_for(self, lost: LostSubmission) -> SearchResult:
        """Looks for a submission whose answer was lost, in whatever the provider offers for that. Only GETs, and POSTs
        that merely ask. One that was sent with another key is never ABSENT."""
        ...


@dataclass(frozen=True, slots=True)
class PriceRecord:
    """A price as a dated fact: since when it holds and which document says so."""

    since: datetime
    source: str
    usd_per_second: Mapping[str, Money] = field(default_factory=dict[str, Money])
