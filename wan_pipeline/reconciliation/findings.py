"""A finding: one thing in which the ledger and a provider's books differ, named, with the evidence of both sides.

What belongs here: what a finding is, its key, and how it stands. What does not: how it is found (settling.py, matching.py),
and what is done about it (correcting.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum

from wan_pipeline.money import ZERO, Money
from wan_pipeline.reconciliation.sides import Line, OurJob
from wan_pipeline.spend.audit_records import Explanation, LineKind

SHOWN_KEY = 12  # characters of a key that are shown, and enough to name it


class Kind(StrEnum):
    """What differs."""

    MISSING_HERE = "missing here"  # they have a line, and the ledger has nothing that it could be for
    MISSING_THERE = "missing there"  # the ledger has it, and their books have no line
    OTHER_AMOUNT = "of another amount"
    DOUBLED = "doubled"  # a second line for the same, of the same amount
    WRONG_DAY = "on a wrong day"


class Standing(StrEnum):
    """What is to be done about a finding."""

    UNEXPLAINED = "unexplained"
    CORRECTABLE = "to be corrected"  # by itself, when it is not a dry run
    CORRECTED = "corrected"
    EXPLAINED = "explained"


@dataclass(frozen=True, slots=True)
class Change:
    """An entry that would bring what is billed for a job to `total`: a refund at `refunded_at`, else an adjustment."""

    job_id: str
    total: Money
    evidence: str
    refunded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Fix:
    """What would settle a finding. `by_itself`: their evidence settles it; otherwise a person has to accept it."""

    changes: tuple[Change, ...]
    by_itself: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """`moment`: whose UTC day it belongs to. `difference`: theirs less ours, in what is billed; None of `theirs` and `ours`
    says that this side has nothing. `fix`: the entries that would settle it, where entries can."""

    provider: str
    simulated: bool
    book: str
    kind: Kind
    line_kind: LineKind
    moment: datetime
    job: OurJob | None
    lines: tuple[Line, ...]
    theirs: Money | None
    ours: Money | None
    difference: Money
    words: str
    fix: Fix | None = None
    standing: Standing = Standing.UNEXPLAINED
    explanation: Explanation | None = None

    @property
    def day(self) -> date:
        """The UTC day that it belongs to."""
        return self.moment.astimezone(UTC).date()

    @property
    def key(self) -> str:
        """The same in every run in which both sides say the same."""
        said = [
            self.provider,
            self.simulated,
            self.book,
            self.kind.value,
            self.line_kind.value,
            self.job.id if self.job else None,
            sorted((line.reference or "", line.unique) for line in self.lines),
            None if self.theirs is None else self.theirs.nanos,
            None if self.ours is None else self.ours.nanos,
        ]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    @property
    def is_open(self) -> bool:
        """Does it want somebody's attention?"""
        return self.standing in (Standing.UNEXPLAINED, Standing.CORRECTABLE)


def sum_of(findings: Sequence[Finding]) -> Money:
    """Their differences together."""
    return Money.total(finding.difference for finding in findings) if findings else ZERO
