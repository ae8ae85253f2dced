"""WaveSpeed's billing records as lines of a statement: deductions and refunds, with the prediction's id.

What the record is, its `billing_type` says. A word that no document has is no reason to call the books unreadable where the
record names a prediction and takes money for it: that is a charge. Prices are JSON numbers, read as decimals.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from wan_pipeline.providers.base import JsonObject
from wan_pipeline.providers.looking import UnreadError
from wan_pipeline.providers.statements import (
    amount_of,
    moment_of,
    whole_seconds,
    words,
)
from wan_pipeline.providers.wavespeed_books import BILLINGS, Books, deduction_in
from wan_pipeline.providers.words import job_id_in
from wan_pipeline.spend.audit_records import LineKind, StatementLine

_WORDS: Final = (  # the first that is part of the record's type
    ("refund", LineKind.REFUND),
    ("recharge", LineKind.TOPUP),
    ("topup", LineKind.TOPUP),
    ("top_up", LineKind.TOPUP),
    ("deposit", LineKind.TOPUP),
    ("bonus", LineKind.OTHER),
    ("grant", LineKind.OTHER),
    ("coupon", LineKind.OTHER),
    ("gift", LineKind.OTHER),
    ("deduct", LineKind.CHARGE),
)


async def statement(
    books: Books, provider: str, since: datetime, until: datetime, secrets: Sequence[str], *, simulated: bool
) -> list[StatementLine]:
    """The account's records from `since` to before `until`. Raises UnreadError."""
    lines = [_line(row, provider, secrets, simulated) for row in await books.billings(whole_seconds(since, until))]
    return [line for line in lines if since <= line.at < until]


def _line(row: JsonObject, provider: str, secrets: Sequence[str], simulated: bool) -> StatementLine:
    line_id = next((each for name in ("uuid", "id") if (each := job_id_in(row.get(name), secrets))), None)
    if line_id is None:
        raise UnreadError("one of its rows has no id")
    what, kind_said = f"record {line_id}", str(row.get("billing_type", "")).lower()
    record = deduction_in(row, secrets)
    amount = amount_of(record.amount, row.get("price", row.get("amount")), what)
    otherwise = LineKind.CHARGE if record.prediction_id is not None else LineKind.OTHER
    kind = next((kind for word, kind in _WORDS if word in kind_said), otherwise)
    return StatementLine(
        provider=provider,
        simulated=simulated,
        source=BILLINGS,
        line_id=line_id,
        kind=kind,
        reference=record.prediction_id,
        amount=amount,
        at=moment_of(row, "created_at", what),
        model=words(record.model, secrets) if isinstance(record.model, str) else None,
        detail="" if kind in (LineKind.CHARGE, LineKind.REFUND) else words(row.get("billing_type"), secrets),
    )
