"""WaveSpeed's list of predictions and its billing records, as shared/providers/README.md has them.

`created_after` and `created_before` include their moment and need an offset. A row of the list is a prediction as the
result endpoint gives it, with its time in nanoseconds and, where `config.list_inputs`, its `inputs`: as the books keep
them, so a URL in them has lost its query. Whether real rows hold them is unsure; a client must not need them.
Charges are there as soon as a prediction is accepted and refunds as soon as it failed (really: within 3 hours), both
`config.billing_lag_s` later. The list is the account's, whatever key asks.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse

from wan_pipeline.simulator.listing import Billed, Listings
from wan_pipeline.simulator.money import NANOS_PER_USD
from wan_pipeline.simulator.orders import Body, RefusalError, read_body
from wan_pipeline.simulator.queries import iso, web_time
from wan_pipeline.simulator.records import State
from wan_pipeline.simulator.service import Service, json_body
from wan_pipeline.simulator.wavespeed import MODEL, PROVIDER, STATUS_WORDS, WaveSpeed, error, success

_KEPT_S = 7 * 24 * 3600.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RECORDS = uuid.UUID("0d4a0f7e-58a6-4f0c-8f0a-0c5f5a5f6f11")
_STATES: dict[str, State] = {word: state for state, word in STATUS_WORDS.items()}


class ListBody(Body):
    """POST /api/v3/predictions. `include_inputs` is what WaveSpeed's own applications send; false leaves them out."""

    page: Annotated[int, Field(ge=1)] = 1
    page_size: Annotated[int, Field(ge=1, le=100)] = 100
    model: str | None = None
    status: Literal["created", "processing", "completed", "failed", "cancelled", "timeout"] | None = None
    created_after: str | None = None
    created_before: str | None = None
    include_inputs: bool = True


class BillingBody(Body):
    """POST /api/v3/billings/search. Times are milliseconds since the epoch, as strings, or ISO 8601."""

    page: Annotated[int, Field(ge=1)] = 1
    page_size: Annotated[int, Field(ge=1, le=100)] = 10
    billing_type: Literal["deduct", "refund"] | None = None
    prediction_uuids: Annotated[list[str], Field(max_length=100)] | None = None
    model_uuid: str | None = None
    sort: Literal["created_at ASC", "created_at DESC"] = "created_at DESC"
    start_time: str | None = None
    end_time: str | None = None


class WaveSpeedAccount:
    """The endpoints that say what became of earlier predictions."""

    def __init__(self, service: Service, wavespeed: WaveSpeed) -> None:
        self._service = service
        self._wavespeed = wavespeed
        self._listings = Listings(service.books)

    async def predictions(self, request: Request) -> JSONResponse:
        """POST /api/v3/predictions"""
        try:
            self._service.authorize(request)
            asked = read_body(ListBody, await json_body(request))
            created = _moment(asked.created_after, "created_after"), _moment(asked.created_before, "created_before")
        except RefusalError as refusal:
            return error(refusal)
        state = None if asked.status is None else _STATES.get(asked.status)
        jobs = []
        if asked.model in (None, MODEL) and (asked.status is None or state is not None):
            page = (asked.page_size, (asked.page - 1) * asked.page_size)
            jobs = self._listings.jobs(PROVIDER, created, state, page, _KEPT_S)
        base_url = self._service.base_url(request)
        items: list[dict[str, Any]] = []
        for job in jobs:
            item = self._wavespeed.prediction(job, base_url)
            item["created_at"] = job.created_at.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
            item["executionTime"] = item["timings"]["inference"]
            if self._service.config.list_inputs and asked.include_inputs:
                item["inputs"] = {name: value for name, value in job.body.items() if name != "enable_sync_mode"}
            items.append(item)
        return success({"page": asked.page, "items": items})

    async def billings(self, request: Request) -> JSONResponse:
        """POST /api/v3/billings/search"""
        try:
            self._service.authorize(request)
            asked = read_body(BillingBody, await json_body(request))
            between = _moment(asked.start_time, "start_time"), _moment(asked.end_time, "end_time")
        except RefusalError as refusal:
            return error(refusal)
        found: list[Billed] = []
        total = 0
        if asked.model_uuid in (None, MODEL):
            found, total = self._listings.billed(
                PROVIDER,
                "charge" if asked.billing_type == "deduct" else asked.billing_type,
                asked.prediction_uuids,
                between,
                (asked.page_size, (asked.page - 1) * asked.page_size),
                self._service.config.billing_lag_s,
                oldest_first=asked.sort == "created_at ASC",
            )
        return success({"page": asked.page, "total": total, "items": [self._record(each) for each in found]})

    def _record(self, billed: Billed) -> dict[str, Any]:
        price = billed.nanos / NANOS_PER_USD  # a JSON number, as WaveSpeed gives it: no books are kept with it
        state = billed.job.state(self._service.now_s())
        name = f"{billed.job.id} {billed.kind} {billed.id}"
        order = {"uuid": uuid.uuid5(_RECORDS, f"order {name}").hex, "price": price, "origin_price": price}
        order |= {"state": "done" if state in ("completed", "failed") else "pre", "status": "", "ak_id": 0}
        return {
            "uuid": uuid.uuid5(_RECORDS, name).hex,
            "billing_type": "deduct" if billed.kind == "charge" else "refund",
            "price": price,
            "created_at": web_time(billed.at),
            "updated_at": web_time(billed.at),
            "order": order,
            "prediction": {"uuid": billed.job.id, "model_uuid": billed.job.model, "status": STATUS_WORDS[state]},
            "access_key_name": "",
        }


def _moment(text: str | None, name: str) -> datetime | None:
    if text is not None and text.isdigit() and name in ("start_time", "end_time"):
        try:
            return _EPOCH + timedelta(milliseconds=int(text))
        except OverflowError:
            raise RefusalError(f"{name}: too far away") from None
    return iso(text, name, zone_required=True)
