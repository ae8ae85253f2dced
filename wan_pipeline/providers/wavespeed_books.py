"""WaveSpeed's books: its list of predictions and its billing records, each read to its end.

(WaveSpeed's "Common API" and its command line's client: `POST /api/v3/predictions`, `POST /api/v3/billings/search`; both
merely ask.) A page has at most 100 rows. Billing tells of a total or of `has_more`; the list of predictions may tell of
neither, and then only an empty page is its end. Whether rows of the list hold their inputs is documented nowhere; that
client looks for them there and in the answer of the result endpoint. What does not belong here: what follows from the
rows (wavespeed_look.py, wavespeed_statement.py).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast
from urllib.parse import quote

from wan_pipeline.money import Money
from wan_pipeline.providers.base import JsonObject, PollError
from wan_pipeline.providers.http import ProviderHttp
from wan_pipeline.providers.looking import MAX_PAGES, NOT_URGENT_S, Pace, UnreadError, Window, iso
from wan_pipeline.providers.words import amount_in, as_object, job_id_in, message_in, moment_in, parse_json

PREDICTIONS = "WaveSpeed /api/v3/predictions"
BILLINGS = "WaveSpeed /api/v3/billings/search"
PAGE = 100
_ROWS = ("items", "list", "predictions", "billings", "records", "data")
_MONEY_IN = ("refund", "recharge", "topup", "top_up", "deposit", "bonus", "grant", "coupon", "gift")


@dataclass(frozen=True, slots=True)
class Prediction:
    """One row of the list. `inputs` is None where nobody tells them."""

    id: str
    model: object
    status: str
    created_at: datetime | None
    inputs: JsonObject | None


@dataclass(frozen=True, slots=True)
class Deduction:
    """One billing record by which money may have gone out. `prediction_id` None: it names none."""

    prediction_id: str | None
    model: object
    amount: Money | None
    created_at: datetime | None


class Books:
    """Reads both. Raises UnreadError where anything keeps a listing from being read to its end."""

    def __init__(self, http: ProviderHttp, pace: Pace) -> None:
        self._http = http
        self._pace = pace

    async def predictions(self, window: Window) -> list[Prediction]:
        """All predictions made in the window, of every model: that is compared here, not by a filter whose spelling of a
        model's name might not be ours."""
        asked: JsonObject = {"created_after": iso(window.start), "created_before": iso(window.end)}
        rows = await self._rows("/api/v3/predictions", asked, ("id", "uuid", "prediction_id"))
        return [self._prediction(row) for row in rows]

    async def deductions(self, window: Window) -> list[Deduction]:
        rows = await self.billings(window)
        return [self._deduction(row) for row in rows if not _brings_money_in(row)]

    async def billings(self, window: Window) -> list[JsonObject]:
        """Every billing record of the window, as it is written."""
        asked: JsonObject = {
            "start_time": _milliseconds(window.start),
            "end_time": _milliseconds(window.end),
            "sort": "created_at ASC",
        }
        return await self._rows("/api/v3/billings/search", asked, ("uuid", "id"))

    async def looked_at(self, row: Prediction) -> Prediction:
        """The prediction with its inputs, where the result endpoint tells them; else as it is."""
        await self._pace.wait()
        answer = await self._http.get(f"/api/v3/predictions/{quote(row.id, safe='')}/result", {}, NOT_URGENT_S)
        if isinstance(answer, PollError):
            if answer.gone:
                return row
            raise UnreadError(f"asked for {row.id}: {answer.reason}")
        return replace(row, inputs=_inputs_in(as_object(as_object(answer.payload).get("data"))))

    async def _rows(self, path: str, asked: JsonObject, id_names: Collection[str]) -> list[JsonObject]:
        """Rows of all pages, each once. A page moves by one when a prediction is made meanwhile, so rows may come twice."""
        found: dict[str, JsonObject] = {}
        total: int | None = None
        for page in range(1, MAX_PAGES + 1):
            data = await self._page(path, asked | {"page": page, "page_size": PAGE})
            rows, has_more = rows_of(data), as_object(data).get("has_more")
            total = _total_of(data) if total is None else total
            before = len(found)
            for row in rows:
                row_id = next((each for name in id_names if (each := job_id_in(row.get(name)))), None)
                if row_id is None:
                    raise UnreadError("one of its rows has no id")
                found[row_id] = row
            complete = total is None or len(found) >= total
            if complete and (has_more is False or (has_more is None and (not rows or total is not None))):
                return list(found.values())
            if len(found) == before or has_more is False:
                raise UnreadError(f"its pages end, or repeat, after {len(found)} rows{f' of {total}' if total else ''}")
        raise UnreadError(f"it lists more than {MAX_PAGES * PAGE:,} rows")

    async def _page(self, path: str, asked: JsonObject) -> Any:
        await self._pace.wait()
        answer = await self._http.ask(path, asked, NOT_URGENT_S)
        if isinstance(answer, PollError):
            raise UnreadError(answer.reason)
        payload = as_object(answer.payload)
        if payload.get("code") not in (None, 200, "200"):
            raise UnreadError(f"it answered code {payload.get('code')}: {message_in(payload) or 'without a word'}")
        return payload.get("data")

    def _prediction(self, row: JsonObject) -> Prediction:
        return Prediction(
            id=next(each for name in ("id", "uuid", "prediction_id") if (each := job_id_in(row.get(name)))),
            model=row.get("model") or row.get("model_id") or row.get("model_uuid"),
            status=str(row.get("status")),
            created_at=moment_in(row.get("created_at")),
            inputs=_inputs_in(row),
        )

    def _deduction(self, row: JsonObject) -> Deduction:
        return deduction_in(row, self._http.secrets)


def deduction_in(row: JsonObject, secrets: Collection[str]) -> Deduction:
    """A billing record, whichever way its money went. Where a field cannot be read it is None."""
    prediction = as_object(row.get("prediction"))
    named = (prediction.get("uuid"), prediction.get("id"), row.get("prediction_uuid"), row.get("prediction_id"))
    return Deduction(
        prediction_id=next((each for value in named if (each := job_id_in(value, secrets))), None),
        model=prediction.get("model_uuid") or prediction.get("model") or row.get("model_uuid") or row.get("model"),
        amount=amount_in(row.get("price", row.get("amount")), Money.usd(1)),
        created_at=moment_in(row.get("created_at")),
    )


def rows_of(data: object) -> list[JsonObject]:
    """The rows of a page: `data` itself, or the list within it, where null is how some servers write an empty one."""
    rows = data
    if isinstance(data, dict):
        holder = cast("JsonObject", data)
        name = next((name for name in _ROWS if name in holder), None)
        rows = None if name is None else holder[name] or []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in cast("list[Any]", rows)):
        raise UnreadError("its answer holds no list of rows")
    return cast("list[JsonObject]", rows)


def _total_of(data: object) -> int | None:
    total = as_object(data).get("total")
    return total if type(total) is int and total >= 0 else None


def _brings_money_in(row: JsonObject) -> bool:
    kind = str(row.get("billing_type", "")).lower()
    return any(word in kind for word in _MONEY_IN)


def _milliseconds(moment: datetime) -> str:
    return str(int(moment.timestamp()) * 1000)


def _inputs_in(row: JsonObject) -> JsonObject | None:
    inputs = next((row[name] for name in ("inputs", "input") if row.get(name)), None)
    if isinstance(inputs, str):
        try:
            inputs = parse_json(inputs.encode(errors="replace"))
        except ValueError:
            return None
    return as_object(inputs) or None
