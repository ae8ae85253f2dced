"""One job of the generated year as a value: what the ledger's rows and the provider's lines follow from."""

from __future__ import annotations

from datetime import date, datetime
from typing import NamedTuple

from wan_pipeline_tests.reports.year_offers import Offer

BILLED_SIGN = {"charge": 1, "refund": -1, "adjustment": 1}
HELD_SIGN = {"hold": 1, "release": -1}


class Entry(NamedTuple):
    """A money entry. `at` and `effective_at` are UTC without a time zone, as all moments here."""

    kind: str
    nanos: int
    basis: str | None
    at: datetime
    note: str = ""
    effective_at: datetime | None = None

    @property
    def took_place_at(self) -> datetime:
        """Whose day a refund belongs to."""
        return self.effective_at or self.at


class YearJob(NamedTuple):
    """As it stands at the year's end; `entries` in the order in which they were written."""

    id: str
    shot: str
    take: int
    offer: Offer
    campaign: str | None
    request_hash: str
    repeat: int
    fingerprint: str
    state: str
    claimed_at: datetime
    entries: tuple[Entry, ...]
    submitted_at: datetime | None = None
    generated_at: datetime | None = None
    stored_at: datetime | None = None
    doubted_at: datetime | None = None
    accepted: bool = False  # the provider gave it an id
    error: str | None = None
    retryable: bool = False
    duplicate_allowed: int | None = None
    refused_before: bool = False  # a first attempt was refused: too many at once
    reused_by: str | None = None  # another shot, whose take it is too

    @property
    def provider_job_id(self) -> str | None:
        return self.fingerprint[8:40] if self.accepted else None

    @property
    def attempt_id(self) -> str:
        return self.fingerprint[:32]

    @property
    def day(self) -> date:
        """The UTC day that its charges belong to."""
        return (self.submitted_at or self.claimed_at).date()

    @property
    def held(self) -> int:
        return sum(HELD_SIGN.get(entry.kind, 0) * entry.nanos for entry in self.entries)

    @property
    def billed(self) -> int | None:
        """None: nobody has said."""
        said = [BILLED_SIGN[entry.kind] * entry.nanos for entry in self.entries if entry.kind in BILLED_SIGN]
        return sum(said) if said else None

    @property
    def billed_at_all(self) -> bool:
        """Has anything ever been charged for it, even if it was given back?"""
        return any(entry.kind == "charge" and entry.nanos for entry in self.entries)

    @property
    def basis(self) -> str | None:
        return next((entry.basis for entry in reversed(self.entries) if entry.kind in BILLED_SIGN), None)

    @property
    def updated_at(self) -> datetime:
        return max(self.stored_at or self.claimed_at, *(entry.at for entry in self.entries))
