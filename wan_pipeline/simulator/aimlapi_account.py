"""AI/ML API's request logs and account transactions, as its OpenAPI descriptions (August 2026) say.

What the descriptions leave open is read strictly: a parameter that they do not name, one given twice that may be given
once, and logs asked for without a window are refused, so that a client that relies on any of it shows.

- **Who has a row in the logs.** A row must have an `inference_id`, "the value returned in the x-inference-id response
  header". A submission that was refused (400, 401, 403, 429) began no inference and got no such header: it has no row.
  An accepted one has a row once it ended, since a row is succeeded or failed; until then it is missing.
- **Whose rows.** "Omit [key_prefix] to list the requests made with the key you are authenticating with": the rows of
  another key are not shown, so after a change of the key the logs say nothing about what was sent with the old one. The
  account's transactions are the whole account's.
- **What a failed request costs.** "A failed request is billed nothing": its row's cost is zero, and since the charge
  lands only after a generation completed, the account has neither a charge nor a REFUND of it. What support gives back of
  a job that did not fail is a REFUND, with the inference's id as its handle.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import threading
import uuid
from collections import deque
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from starlette.requests import Request
from starlette.responses import JSONResponse

from wan_pipeline.simulator.aimlapi import MODEL, PROVIDER, error
from wan_pipeline.simulator.listing import Listings
from wan_pipeline.simulator.money import NANOS_PER_CREDIT, NANOS_PER_USD
from wan_pipeline.simulator.orders import RefusalError
from wan_pipeline.simulator.queries import Query, web_time
from wan_pipeline.simulator.records import Job, microseconds, moment
from wan_pipeline.simulator.service import Service

_LONGEST_WINDOW = timedelta(days=92)
_PERIOD = re.compile(r"([1-9][0-9]{0,5})([hd])")
_MODELS_AT_ONCE = 50
_MAX_PAGE = 100
_NAMES = frozenset({MODEL, MODEL.partition("/")[2]})
_CALLS = uuid.UUID("5f2a8a3e-0f0c-4f52-9a53-6a9b1b8f1b10")
_OPENING = -1  # sorts below every job's number
_TYPES = ("PAYMENT", "BONUS", "REFUND", "ADJUSTMENT", "MODEL_USAGE", "CREDITS_EXPIRED", "INIT")

Outcome = Literal["succeeded", "failed"]


class AimlApiAccount:
    """The endpoints that say what became of earlier requests."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._listings = Listings(service.books)
        self._asked: deque[float] = deque()
        self._lock = threading.Lock()

    async def logs(self, request: Request) -> JSONResponse:
        """GET /v2/logs"""
        try:
            key = self._service.authorize(request)
            self._hold_to_the_rate()
            names = ("period", "start", "end", "key_prefix", "model", "status", "limit", "offset")
            query = Query(request, names, repeated=("model", "status"))
            window = self._window(query)
            prefix = query.one("key_prefix")
            if prefix is not None and not (prefix and key.startswith(prefix)):
                raise RefusalError(
                    "key_prefix: listing the requests of another key requires a management key", "forbidden"
                )
            models = query.many("model")
            if len(models) > _MODELS_AT_ONCE:
                raise RefusalError(f"model: at most {_MODELS_AT_ONCE} values")
            asked = query.many("status", ("succeeded", "failed"))
            limit, offset = query.whole("limit", 50, 1, _MAX_PAGE), query.whole("offset", 0, 0)
        except RefusalError as refusal:
            return error(request, refusal)
        jobs: list[Job] = []
        total = 0
        if not models or _NAMES & set(models):
            kinds = cast("frozenset[Outcome]", frozenset(asked or ("succeeded", "failed")))
            fingerprint = self._service.signer.fingerprint(key)
            lag_s = self._service.config.logs_lag_s
            jobs, total = self._listings.ended(PROVIDER, fingerprint, window, kinds, (limit, offset), lag_s)
        pages = {"limit": limit, "offset": offset, "total": total, "has_more": offset + len(jobs) < total}
        return JSONResponse({"data": [_row(job) for job in jobs], "pagination": pages})

    async def transactions(self, request: Request) -> JSONResponse:
        """GET /v2/billing/transactions"""
        try:
            self._service.authorize(request)
            query = Query(request, ("from", "to", "direction", "type", "limit", "cursor"))
            since, before = query.time("from", zone_required=True), query.time("to", zone_required=True)
            if since is not None and before is not None and before <= since:
                raise RefusalError("to: must be later than from")
            direction, kind = query.choice("direction", ("TOPUP", "CHARGE")), query.choice("type", _TYPES)
            limit = query.whole("limit", 50, 1, _MAX_PAGE)
            cursor = query.one("cursor")
            after = None if cursor is None else self._place(cursor)
        except RefusalError as refusal:
            return error(request, refusal)
        found: list[tuple[tuple[int, int], dict[str, Any]]] = []
        if direction != "TOPUP" and kind in (None, "MODEL_USAGE"):
            lag_s = self._service.config.billing_lag_s
            for item in self._listings.charged(PROVIDER, since, before, after, limit + 1, lag_s):
                entry = _entry(item.at, "CHARGE", "MODEL_USAGE", item.nanos, item.model, item.job_id)
                found.append(((item.at_us, item.number), entry))
        if direction != "CHARGE" and kind in (None, "REFUND"):
            lag_s = self._service.config.billing_lag_s
            for item in self._listings.given_back(PROVIDER, since, before, after, limit + 1, lag_s):
                entry = _entry(item.at, "TOPUP", "REFUND", item.nanos, item.model, item.job_id)
                found.append(((item.at_us, item.number), entry))
        if direction != "CHARGE" and kind in (None, "INIT"):
            found += self._opening(since, before, after)
        found.sort(key=lambda each: each[0], reverse=True)
        shown, more = found[:limit], len(found) > limit
        pages = {"next_cursor": self._cursor(shown[-1][0]) if more else None, "has_more": more}
        return JSONResponse({"data": [entry for _, entry in shown], "pagination": pages})

    def _opening(
        self, since: datetime | None, before: datetime | None, after: tuple[int, int] | None
    ) -> list[tuple[tuple[int, int], dict[str, Any]]]:
        """The balance that the account began with: money that came in."""
        at = self._service.books.opened_at()
        place = (microseconds(at), _OPENING)
        if (since and at < since) or (before and at >= before) or (after and place >= after):
            return []
        return [(place, _entry(at, "TOPUP", "INIT", self._service.config.shown_opening_nanos, None, None))]

    def _window(self, query: Query) -> tuple[datetime, datetime]:
        period, start, end = query.one("period"), query.time("start"), query.time("end")
        if period is not None and (start is not None or end is not None):
            raise RefusalError("period: provide either period or both start and end, never both")
        if period is not None:
            parts = _PERIOD.fullmatch(period)
            if parts is None:
                raise RefusalError("period: must be a positive integer followed by h or d")
            now = moment(round(self._service.now_s() * 1_000_000))
            length = timedelta(**{"hours" if parts[2] == "h" else "days": int(parts[1])})
            if length > _LONGEST_WINDOW:
                raise RefusalError("period: the window must not exceed 92 days")
            return now - length, now
        if start is None or end is None:
            raise RefusalError("period: provide either period or both start and end")
        if end < start:
            raise RefusalError("end: must not be earlier than start")
        if end - start > _LONGEST_WINDOW:
            raise RefusalError("end: the window must not exceed 92 days")
        return start, end

    def _hold_to_the_rate(self) -> None:
        limit, now_s = self._service.config.logs_per_minute, self._service.now_s()
        if limit is None:
            return
        with self._lock:
            while self._asked and not now_s - 60 < self._asked[0] <= now_s:  # a clock may have been put back
                self._asked.popleft()
            if len(self._asked) >= limit:
                wait_s = max(1, round(self._asked[0] + 60 - now_s))
                raise RefusalError(f"Too many requests: at most {limit} in a minute", "busy", wait_s)
            self._asked.append(now_s)

    def _cursor(self, place: tuple[int, int]) -> str:
        position = json.dumps({"v": 1, "c": place[0], "n": place[1]}, separators=(",", ":"))
        signature = self._service.signer.fingerprint(f"cursor {position}")[:16]
        return base64.urlsafe_b64encode(f"{position}{signature}".encode()).decode().rstrip("=")

    def _place(self, cursor: str) -> tuple[int, int]:
        """The place that a cursor names, where it is one of ours, character by character."""
        wrong = RefusalError("cursor: not a cursor that was issued")
        try:
            text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
            position = json.loads(text[:-16])
            place = (int(position["c"]), int(position["n"]))
        except (binascii.Error, ValueError, KeyError, TypeError):
            raise wrong from None
        if not hmac.compare_digest(self._cursor(place).encode(), cursor.encode()):
            raise wrong
        return place


def _row(job: Job) -> dict[str, Any]:
    nanos = 0 if job.fails else job.charged_nanos
    return {
        "created": web_time(job.created_at),
        "status": "failed" if job.fails else "succeeded",
        "origin": "api",
        "model": job.model,
        "cost": _amount(nanos),
        "tokens": {"input": 0, "output": 0, "total": 0},
        "request_id": str(uuid.uuid5(_CALLS, job.id)),
        "inference_id": job.id,
        "client_request_id": job.client_request_id,
    }


def _entry(
    at: datetime, direction: str, kind: str, nanos: int, model: str | None, reference_id: str | None
) -> dict[str, Any]:
    return {
        "created_at": web_time(at),
        "direction": direction,
        "type": kind,
        "amount": _amount(nanos),
        "model": model,
        "reference_id": reference_id,
    }


def _amount(nanos: int) -> dict[str, Any]:
    """Dollars as a JSON number, as AI/ML API gives them: the credits are exact, and no books are kept with the number."""
    return {"usd": nanos / NANOS_PER_USD, "credits": nanos // NANOS_PER_CREDIT}
