"""Accounts at the providers, as far as looking for a lost submission goes: rows that a tiny real server lists in pages.

`Account` is what all have: rows, jobs that a poll knows, and what goes wrong on the way. The pages are small, so that a few
rows make several.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from wan_pipeline.providers.base import LostSubmission, SearchResult
from wan_pipeline_tests.providers.ordering import AIMLAPI, SHORTAPI_26, WAVESPEED
from wan_pipeline_tests.providers.tiny_server import MODEL_OF, QUICK, Received, TinyServer, Wire, client_of, serving

SENT_AT = datetime(2026, 8, 1, 12, 0, 30, tzinfo=UTC)
NOW = SENT_AT + timedelta(hours=5)
ATTEMPT = "0b6f2a-attempt-1"
MODEL_IDS = {"aimlapi": AIMLAPI, "wavespeed": WAVESPEED, "shortapi": SHORTAPI_26}
INPUT_KEYS = {"first_frame": "inbox/spring/cat é.png"}
FLASH = "alibaba/wan-2.6/image-to-video-flash"
SENT = {
    "image": "sha256:" + "ab" * 32,
    "prompt": "The cat looks up at the falling leaves.",
    "resolution": "720p",
    "duration": 5,
    "shot_type": "single",
    "enable_prompt_expansion": False,
    "enable_audio": False,
    "seed": 7,
}
Answer = tuple[int, Any]


def lost(
    provider: str,
    known: Collection[str] = (),
    hints: Sequence[str] = (),
    sent_at: datetime = SENT_AT,
    now: datetime = NOW,
    **changed: Any,
) -> LostSubmission:
    async def is_known(ids: Sequence[str]) -> frozenset[str]:
        return frozenset(ids) & frozenset(known)

    arguments = {name: value for name, value in (SENT | changed).items() if value is not None}
    return LostSubmission(ATTEMPT, MODEL_OF[provider], arguments, INPUT_KEYS, sent_at, now, tuple(hints), is_known)


@dataclass
class Account:
    """`jobs`: what a poll answers, by id. `broken`: answers in place of the n-th listing request (1, 2 …)."""

    jobs: dict[str, Any] = field(default_factory=dict[str, Any])
    page_size: int = 2
    broken: dict[int, Answer] = field(default_factory=dict[int, Answer])
    listed: list[Received] = field(default_factory=list[Received])

    def look(self, provider: str, submission: LostSubmission, **client: Any) -> SearchResult:
        return asyncio.run(self._look(provider, submission, client))

    async def _look(self, provider: str, submission: LostSubmission, client: dict[str, Any]) -> SearchResult:
        patience = type(QUICK)(read_s=2, whole_get_s=4, get_tries=2, get_wait_s=0.01)
        async with serving(self._serve) as server, client_of(provider, server.url, patience=patience, **client) as it:
            result = await it.look_for(submission)
            self.server: TinyServer = server
            return result

    async def _serve(self, wire: Wire) -> None:
        assert wire.request is not None
        parts = urlsplit(wire.request.target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        job = self.polled(wire.request.method, unquote(parts.path), query)
        if job is not None:
            status, body = (200, self.jobs[job]) if job in self.jobs else (404, {"code": 404, "message": "no such job"})
            await wire.answer(status, body)
            return
        self.listed.append(wire.request)
        if len(self.listed) in self.broken:
            await wire.answer(*self.broken[len(self.listed)])
            return
        await wire.answer(200, self.page(parts.path, query, json.loads(wire.request.body or b"{}")))

    def polled(self, method: str, path: str, query: dict[str, str]) -> str | None:
        raise NotImplementedError

    def page(self, path: str, query: dict[str, str], body: dict[str, Any]) -> Any:
        raise NotImplementedError


# --- AI/ML API ---


@dataclass
class AimlApi(Account):
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    charges: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def polled(self, method: str, path: str, query: dict[str, str]) -> str | None:
        return query["generation_id"] if path == "/v2/video/generations" else None

    def page(self, path: str, query: dict[str, str], body: dict[str, Any]) -> Any:
        if path == "/v2/logs":
            offset = int(query["offset"])
            rows = self.requests[offset : offset + self.page_size]
            more = offset + len(rows) < len(self.requests)
            paging = {"limit": self.page_size, "offset": offset, "total": len(self.requests), "has_more": more}
        else:
            assert path == "/v2/billing/transactions"
            begin = int(query.get("cursor", "at-0").removeprefix("at-"))
            rows = self.charges[begin : begin + self.page_size]
            more = begin + len(rows) < len(self.charges)
            paging = {"next_cursor": f"at-{begin + len(rows)}" if more else None, "has_more": more}
        return {"data": rows, "pagination": paging}


def request(
    inference_id: Any, sent_with: Any = None, status: str = "succeeded", credits: Any = 1_575_000, **changed: Any
) -> dict[str, Any]:
    """A row of /v2/logs."""
    return {
        "created": "2026-08-01T12:00:31.000Z",
        "status": status,
        "origin": "api",
        "model": "alibaba/wan-2-6-i2v",
        "cost": {"usd": 0.7875, "credits": credits},
        "tokens": {"input": 0, "output": 0, "total": 0},
        "request_id": "req-1",
        "inference_id": inference_id,
        "client_request_id": sent_with,
    } | changed


def charge(reference_id: Any, model: Any = "alibaba/wan-2-6-i2v", **changed: Any) -> dict[str, Any]:
    """An entry of /v2/billing/transactions."""
    return {
        "created_at": "2026-08-01T12:03:00.000Z",
        "direction": "CHARGE",
        "type": "MODEL_USAGE",
        "amount": {"usd": 0.7875, "credits": 1_575_000},
        "model": model,
        "reference_id": reference_id,
    } | changed


# --- WaveSpeed ---


@dataclass
class WaveSpeed(Account):
    """`shape`: turns rows, page number and how many there are in all into `data`."""

    predictions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    billings: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    shape: Callable[[list[Any], int, int, bool], Any] = lambda rows, page, total, more: {"page": page, "items": rows}

    def polled(self, method: str, path: str, query: dict[str, str]) -> str | None:
        return path.split("/")[4] if method == "GET" else None

    def page(self, path: str, query: dict[str, str], body: dict[str, Any]) -> Any:
        rows = {"/api/v3/predictions": self.predictions, "/api/v3/billings/search": self.billings}[path]
        begin = (body["page"] - 1) * self.page_size
        shown = rows[begin : begin + self.page_size]
        more = begin + len(shown) < len(rows)
        return {"code": 200, "message": "success", "data": self.shape(shown, body["page"], len(rows), more)}


def prediction(prediction_id: str, inputs: Any = None, **changed: Any) -> dict[str, Any]:
    """A row of the list of predictions. `inputs=None`: it does not hold them."""
    row = {
        "id": prediction_id,
        "model": FLASH,
        "outputs": [],
        "status": "processing",
        "created_at": "2026-08-01T12:00:31.948268264Z",
        "error": "",
        "timings": {"inference": 0},
    }
    return row | ({} if inputs is None else {"inputs": inputs}) | changed


def inputs(**changed: Any) -> dict[str, Any]:
    """What a row says was asked for: what was sent, with the URL that the image had."""
    url = "https://bucket.test/team/inbox/spring/cat%20%C3%A9.png?X-Amz-Expires=86400&X-Amz-Signature=topsecret"
    given = SENT | {"image": url} | changed
    return {name: value for name, value in given.items() if value is not None}


def deduction(prediction_id: Any, number: int = 1, **changed: Any) -> dict[str, Any]:
    """A billing record."""
    return {
        "uuid": f"bill-{number}-{prediction_id}",
        "billing_type": "deduct",
        "price": 0.125,
        "created_at": "2026-08-01T12:00:32.000Z",
        "order": {"uuid": "order", "state": "pre", "price": 0.125},
        "prediction": {"uuid": prediction_id, "model_uuid": FLASH, "status": "processing"},
    } | changed


def in_progress(prediction_id: str, **data: Any) -> dict[str, Any]:
    """What the result endpoint answers."""
    return {"code": 200, "data": {"id": prediction_id, "model": FLASH, "status": "processing", "outputs": []} | data}


# --- ShortAPI ---


@dataclass
class ShortApi(Account):
    def polled(self, method: str, path: str, query: dict[str, str]) -> str | None:
        assert (method, path) == ("GET", "/api/v1/job/query")
        return query["id"]
