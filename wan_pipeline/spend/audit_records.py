"""The auditor's words as values: a line of a provider's books, an explanation, an alert."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from wan_pipeline.money import Money


class LineKind(StrEnum):
    """What a line of a provider's books does: it takes for a job, gives back for one, is money paid in, or neither."""

    CHARGE = "charge"
    REFUND = "refund"
    TOPUP = "topup"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One line of a provider's own books. `line_id`: the provider's id of the line; `source`: which of its books;
    `reference`: its id of the job, where it names one; `amount`: positive, `kind` says which way; `at`: its moment."""

    provider: str
    simulated: bool
    source: str
    line_id: str
    kind: LineKind
    reference: str | None
    amount: Money
    at: datetime
    model: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a person has said of a finding (its key), and when. `what`: the finding in words, as it stood."""

    finding: str
    provider: str
    simulated: bool
    day: date
    what: str
    reason: str
    who: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person is told of once. `subject` says of what, period included (`daily budget 2026-11-20`): the same
    kind and subject are never raised again, cleared or not. `sent_at`: when the webhook took it."""

    id: int
    kind: str
    subject: str
    simulated: bool
    message: str
    raised_at: datetime
    cleared_at: datetime | None
    sent_at: datetime | None
    tries: int
    next_try_at: datetime | None
    error: str | None
