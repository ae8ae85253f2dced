"""What is read from the simulator's books and written into them, as values. No queries, no files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
QUEUED_SHARE = 0.1  # of a job's time, before the provider says that it works on it

State = Literal["queued", "generating", "completed", "failed"]


def moment(microseconds: int) -> datetime:
    """The time of so many microseconds since the epoch, which is what the tables hold."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def microseconds(at: datetime) -> int:
    """The inverse of `moment`, exact."""
    return (at - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True)
class Job:
    """An accepted submission. `number` counts the jobs of this folder from 1; `video` is what is to be rendered.

    `mishap` is what befalls its result file (see mishaps.py), mostly nothing.
    """

    number: int
    id: str
    provider: str
    model: str
    body: dict[str, Any]
    client_request_id: str | None
    created_at: datetime
    ready_at: datetime
    charged_nanos: int
    fails: bool
    video: dict[str, Any]
    mishap: str = ""

    def state(self, now_s: float) -> State:
        """Where the job is at this time (seconds since the epoch); to the microsecond, as the listings' SQL has it."""
        now_us, created_us, ready_us = (
            round(now_s * 1_000_000),
            microseconds(self.created_at),
            microseconds(self.ready_at),
        )
        if now_us >= ready_us:
            return "failed" if self.fails else "completed"
        return "generating" if now_us >= created_us + QUEUED_SHARE * (ready_us - created_us) else "queued"

    @property
    def latency_s(self) -> float:
        return (self.ready_at - self.created_at).total_seconds()


@dataclass(frozen=True)
class Entry:
    """Money: a charge, or a refund (both positive nano-dollars). `at` is when it counts."""

    job_id: str
    provider: str
    kind: Literal["charge", "refund"]
    nanos: int
    at: datetime


@dataclass(frozen=True)
class Fetch:
    """An input file that was fetched by its URL (here without its query). `job_id` is None where it was refused."""

    post_id: int
    job_id: str | None
    provider: str
    field: str
    url: str
    size_bytes: int
    sha256: str
    at: datetime


@dataclass(frozen=True)
class Post:
    """A submission as it arrived. `outcome` is None while (or if for ever) nobody has decided on it."""

    id: int
    provider: str
    received_at: datetime
    client_request_id: str | None
    outcome: str | None
    job_id: str | None


@dataclass(frozen=True)
class Delivery:
    """A call that told somebody of a job's end, or tried to. Only the host is kept: the rest of the URL is a secret."""

    job_id: str
    provider: str
    host: str
    at: datetime
    status: int | None
    error: str | None


@dataclass(frozen=True)
class NewFetch:
    """A fetch about to be written down."""

    field: str
    url: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class NewCallback:
    """Whom to tell when the job ends. Its URLs will name the host `base_url`."""

    url: str
    base_url: str


@dataclass(frozen=True)
class NewJob:
    """A job about to be accepted. `key` is a digest of the API key that it came with."""

    id: str
    provider: str
    model: str
    body: str
    client_request_id: str | None
    charged_nanos: int
    fails: bool
    video: str
    mishap: str = ""
    key: str | None = None
    callback: NewCallback | None = None


@dataclass(frozen=True)
class NoCredit:
    """Not accepted: this is all that is left in the account."""

    left_nanos: int


@dataclass(frozen=True)
class Full:
    """Not accepted: as many jobs as the limit are in progress; the first of them is ready in `free_in_s`."""

    in_flight: int
    free_in_s: float
