"""What the engine tells its caller while a batch is under way, and at its end.

Events are handed to the caller's `emit` from the engine's thread, in order for each shot; `emit` must not block.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from wan_pipeline.money import ZERO, Money
from wan_pipeline.problems import Problem
from wan_pipeline.providers.base import MediaInput, Quote
from wan_pipeline.shots.shot import Shot
from wan_pipeline.spend.records import Basis, JobState


class Stage(StrEnum):
    """How far a batch is to go. Each stage includes those before it; only the last one spends."""

    INSPECT = "inspect"
    QUOTE = "quote"
    GENERATE = "generate"


class Verdict(StrEnum):
    """How a shot ended in this batch."""

    INSPECTED = "inspected"  # the batch was to go no further
    QUOTED = "quoted"  # the batch was to go no further
    MADE = "made"  # bought (or taken over) and stored in this batch
    REUSED = "reused"  # was stored already; costs nothing
    OUTDATED = "outdated"  # stored, but a _defaults.yaml has changed since; costs nothing
    NOT_READY = "not ready"  # a mistake in its files; nothing was bought
    NOT_DUE = "not due"  # its not_before has not come
    DEFERRED = "deferred"  # no room in a budget, or its provider could not be reached: made later, by itself
    FAILED = "failed"  # the provider failed or rejected it, or an earlier failure stands
    AMBIGUOUS = "ambiguous"  # nobody knows whether the provider took it; it is not sent again
    STOPPED = "stopped"  # the batch was told to stop before this one was bought
    IN_FLIGHT = "in flight"  # stopped while the provider works on it; to be collected by the next run


GOOD_VERDICTS = frozenset({Verdict.INSPECTED, Verdict.QUOTED, Verdict.MADE, Verdict.REUSED, Verdict.OUTDATED})
# Neither made nor failed: what is left to be done is done later, by itself.
WAITING_VERDICTS = frozenset({Verdict.NOT_DUE, Verdict.DEFERRED})


@dataclass(frozen=True, slots=True)
class Deferred:
    """Why a shot is made later. `limit`: the budget that has no room, or "" where its provider could not be reached.
    `until`: not before; None: whenever there is room."""

    limit: str
    needed: Money
    provider: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Inspected:
    """Inputs were read, hashed and probed. `problems` empty: within the model's limits. `digest` names the bytes."""

    shot: Shot
    inputs: tuple[MediaInput, ...]
    problems: tuple[Problem, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Quoted:
    """`digest` is the request's hash."""

    shot: Shot
    quote: Quote
    warnings: tuple[str, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Progress:
    """For a person who watches: the shot's job has come to this state."""

    shot: Shot
    state: JobState
    note: str = ""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check of a finished video: `name` is `playable`, `as_ordered` or `billed_as_quoted`."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class VideoResult:
    """A stored video. `billed` is what this shot costs (zero for a reused one); None: the provider has not said."""

    job_id: str
    provider_job_id: str | None
    provider: str
    model: str
    take: int
    resolution: str
    duration_s: float
    waited_s: float | None
    quoted: Money
    billed: Money | None
    basis: Basis | None
    uri: str
    key: str
    sha256: str
    size_bytes: int
    poster_uri: str | None
    simulated: bool
    reused_from: str | None  # the shot whose video this is, where it is another's
    submitted_at: datetime | None
    checks: tuple[CheckResult, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """The shot's end in this batch; exactly one for each shot. `reason` says why, for every verdict but the good ones.

    `billed` is what the shot has cost in this batch, by the time of its end: a failure can cost too; None: nobody has
    said yet.
    """

    shot: Shot
    verdict: Verdict
    reason: str = ""
    video: VideoResult | None = None
    job_id: str | None = None
    quote: Quote | None = None
    billed: Money | None = ZERO
    deferred: Deferred | None = None  # set where the verdict is DEFERRED


Event = Inspected | Quoted | Progress | Finished
