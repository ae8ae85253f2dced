"""AI/ML API's transactions as lines of a statement (aimlapi/billing-transactions-v2.json).

MODEL_USAGE is a charge and REFUND a refund, both with the inference's id as reference; PAYMENT is money paid in; the rest
(BONUS, INIT, ADJUSTMENT, CREDITS_EXPIRED) is neither a job's nor paid. Amounts are the whole credits, which are exact; the
dollars beside them are a rounded display. Entries have no id: type, reference and moment are what identifies one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from wan_pipeline.providers.aimlapi_books import TRANSACTIONS, Books, credited
from wan_pipeline.providers.base import JsonObject
from wan_pipeline.providers.looking import UnreadError
from wan_pipeline.providers.statements import (
    amount_of,
    line_ids,
    moment_of,
    whole_seconds,
    words,
)
from wan_pipeline.providers.words import as_object, job_id_in
from wan_pipeline.spend.audit_records import LineKind, StatementLine

_KINDS: Final = {"MODEL_USAGE": LineKind.CHARGE, "REFUND": LineKind.REFUND, "PAYMENT": LineKind.TOPUP}
_DIRECTIONS: Final = {LineKind.CHARGE: "CHARGE", LineKind.REFUND: "TOPUP", LineKind.TOPUP: "TOPUP"}


async def statement(
    books: Books, provider: str, since: datetime, until: datetime, secrets: Sequence[str], *, simulated: bool
) -> list[StatementLine]:
    """The account's entries from `since` to before `until`. Raises UnreadError."""
    rows = await books.transactions(whole_seconds(since, until))
    # The list is newest first. Rows that differ in their amount alone keep their places however it is paged.
    rows.sort(key=lambda row: (str(row.get("created_at")), str(row.get("type")), str(row.get("amount"))))
    names = line_ids([_name(row, secrets) for row in rows])
    lines = [_line(row, name, provider, secrets, simulated) for row, name in zip(rows, names, strict=True)]
    return [line for line in lines if since <= line.at < until]


async def sent_with(books: Books, since: datetime, until: datetime) -> dict[str, str]:
    """By the log's `inference_id` its `client_request_id`, which is our attempt's id. Raises UnreadError."""
    requests = await books.requests(whole_seconds(since, until))
    return {
        row.inference_id: row.client_request_id
        for row in requests
        if row.inference_id is not None and row.client_request_id is not None
    }


def _name(row: JsonObject, secrets: Sequence[str]) -> str:
    reference = job_id_in(row.get("reference_id"), secrets) or "-"
    return f"{words(row.get('type'), secrets)} {reference} {words(row.get('created_at'), secrets)}"


def _line(row: JsonObject, name: str, provider: str, secrets: Sequence[str], simulated: bool) -> StatementLine:
    what = f"entry {name}"
    kind, direction = _KINDS.get(str(row.get("type")), LineKind.OTHER), row.get("direction")
    if kind in _DIRECTIONS and direction not in (None, _DIRECTIONS[kind]):
        raise UnreadError(f"{what}: its direction is {words(direction, secrets)}, which its type contradicts")
    credits = as_object(row.get("amount")).get("credits")
    amount = amount_of(credited({"credits": credits}), credits, what)  # never from the dollars
    model = row.get("model")
    return StatementLine(
        provider=provider,
        simulated=simulated,
        source=TRANSACTIONS,
        line_id=name,
        kind=kind,
        reference=job_id_in(row.get("reference_id"), secrets),
        amount=amount,
        at=moment_of(row, "created_at", what),
        model=words(model, secrets) if isinstance(model, str) else None,
        detail="" if kind is not LineKind.OTHER else words(f"{row.get('type')} {direction}", secrets),
    )
