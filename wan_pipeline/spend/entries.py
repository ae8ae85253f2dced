"""The books: the only code that writes money entries, and the two sums on the job's row that follow from them.

What belongs here: hold, release, bringing what is billed to what somebody said. What does not: when to do which.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection

from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.records import Basis, EntryKind
from wan_pipeline.spend.tables import money_entries

_ENTRY = money_entries.insert()


class Account:
    """One job's money within one transaction, in which its row is locked (or new). What is said to it is written by `close`,
    together with the job's row, which keeps the sums."""

    def __init__(
        self, connection: Connection, job_id: str, held: Money, billed: Money | None, basis: Basis | None, now: datetime
    ) -> None:
        self._connection = connection
        self._job_id = job_id
        self._now = now
        self.held = held
        self.billed = billed
        self.basis = basis
        self._entries: list[dict[str, Any]] = []

    def hold(self, amount: Money, note: str) -> None:
        """Reserves the quote's upper bound."""
        self._append(EntryKind.HOLD, amount, Basis.QUOTED, note)
        self.held += amount

    def release(self, note: str) -> None:
        """Gives back whatever is held; nothing where nothing is."""
        if self.held:
            self._append(EntryKind.RELEASE, self.held, None, note)
            self.held = ZERO

    def adjust(self, total: Money, note: str) -> None:
        """Brings what is billed to what a provider's books say of the charge. Said twice, it is written once."""
        if self.billed is None:
            self.bill(total, Basis.INVOICED, note)
        elif total != self.billed:
            self._append(EntryKind.ADJUSTMENT, total - self.billed, Basis.INVOICED, note)
            self.billed = total
            self.basis = Basis.INVOICED

    def bill(self, total: Money, basis: Basis, note: str, effective_at: datetime | None = None) -> None:
        """Brings what is billed to `total`: a charge for what is missing, a refund for what is too much. Said twice, it
        is written once; a known zero is written as a charge of zero, since nothing written means nobody has said.
        `effective_at`: when a refund took place."""
        if self.billed is None:
            self._append(EntryKind.CHARGE, total, basis, note)
        elif total > self.billed:
            self._append(EntryKind.CHARGE, total - self.billed, basis, note)
        elif total < self.billed:
            self._append(EntryKind.REFUND, self.billed - total, basis, note, effective_at)
        else:
            return
        self.billed = total
        self.basis = basis

    def _append(
        self, kind: EntryKind, amount: Money, basis: Basis | None, note: str, effective_at: datetime | None = None
    ) -> None:
        self._entries.append(
            {
                "job_id": self._job_id,
                "kind": kind.value,
                "amount_nanos": amount.nanos,
                "basis": None if basis is None else basis.value,
                "at": self._now,
                "note": note,
                "effective_at": effective_at,
            }
        )

    def close(self) -> dict[str, Any]:
        """Writes the entries; gives the columns of the job's row that have to be written with them, none where nothing was
        said."""
        if not self._entries:
            return {}
        self._connection.execute(_ENTRY, self._entries)
        self._entries = []
        return {
            "held_nanos": self.held.nanos,
            "billed_nanos": None if self.billed is None else self.billed.nanos,
            "basis": None if self.basis is None else self.basis.value,
        }
