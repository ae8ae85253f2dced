"""AI/ML API's HTTP: `POST` and `GET /v2/video/generations`.

Each submission carries our attempt id as `X-Client-Request-Id`, by which its logs can be searched. What it charges is in
the *queued* answer and in no later one (trap 9); a failed request costs nothing (README, sure: A).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from wan_pipeline.money import ZERO, Money
from wan_pipeline.providers import aimlapi_statement
from wan_pipeline.providers.aimlapi_books import TRANSACTIONS, Books
from wan_pipeline.providers.aimlapi_look import AimlApiLook
from wan_pipeline.providers.base import (
    Accepted,
    Ambiguous,
    Failed,
    InProgress,
    LostSubmission,
    Model,
    PollError,
    PollOutcome,
    SearchResult,
    SubmitOutcome,
    Succeeded,
)
from wan_pipeline.providers.client import HttpProviderClient
from wan_pipeline.providers.http import Answer
from wan_pipeline.providers.words import amount_in, as_object, job_id_in, message_in
from wan_pipeline.spend.audit_records import StatementLine

_PATH = "/v2/video/generations"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")  # anything else is silently dropped by them
_CREDIT = Money.credits(1)


def _credits_used(payload: Mapping[str, Any]) -> object:
    return as_object(as_object(payload.get("meta")).get("usage")).get("credits_used")


class AimlApiClient(HttpProviderClient):
    """Speaks AI/ML API's HTTP."""

    NAME = "aimlapi"

    def _submit_path(self, model: Model) -> str:
        return _PATH

    def _submit_headers(self, attempt_id: str) -> Mapping[str, str]:
        if not _REQUEST_ID.fullmatch(attempt_id):
            raise ValueError(f"attempt id {attempt_id!r} would be dropped by AI/ML API: use A-Z a-z 0-9 . _ : -")
        return {"X-Client-Request-Id": attempt_id}

    def _read_submission(self, answer: Answer) -> SubmitOutcome:
        payload = as_object(answer.payload)
        job_id = job_id_in(payload.get("id"), self._http.secrets)
        job_id = job_id or job_id_in(answer.headers.get("x-inference-id"), self._http.secrets)
        if job_id is None:
            return Ambiguous(self._words(f"aimlapi answered without a generation id: {message_in(payload)}"))
        said = _credits_used(payload)
        reported = amount_in(said, _CREDIT)
        if reported is None:
            reported = amount_in(answer.headers.get("x-aimlapi-credits-used"), _CREDIT)
        if reported is None:
            reported = amount_in(answer.headers.get("x-aimlapi-usd-spent"), Money.usd(1))
        unread = said is not None and amount_in(said, _CREDIT) is None
        return Accepted(job_id, reported, self._words(f"credits_used not understood: {said}") if unread else "")

    def _poll_request(self, provider_job_id: str) -> tuple[str, Mapping[str, str]]:
        return _PATH, {"generation_id": provider_job_id}

    def _read_poll(self, answer: Answer) -> PollOutcome:
        payload = as_object(answer.payload)
        status = payload.get("status")
        match status:
            case "completed":
                outcome = self._finished(payload.get("video"))
                if isinstance(outcome, Succeeded):
                    return replace(outcome, reported=amount_in(_credits_used(payload), _CREDIT))
                return outcome
            case "queued" | "generating":
                return InProgress(status)
            case "error":
                error = as_object(payload.get("error"))
                words = ": ".join(str(part) for part in (error.get("name"), error.get("message")) if part)
                words = words or message_in(payload) or "without a word"
                return Failed(self._words(f"aimlapi says the generation failed: {words}"), ZERO)
            case None:
                return PollError(self._words(f"aimlapi answered without a status: {message_in(payload)}"))
            case _:
                return InProgress(self._words(status), self._words(f"status {status} is not in AI/ML API's document"))

    async def _look_for(self, lost: LostSubmission) -> SearchResult:
        books = Books(self._http, self._pace)
        return await AimlApiLook(lost, books, lambda job_id: self.poll(lost.model, job_id)).look()

    @property
    def books_title(self) -> str:
        return TRANSACTIONS

    async def statement(self, since: datetime, until: datetime, *, simulated: bool) -> list[StatementLine]:
        """See `statements.KeepsBooks`."""
        books = Books(self._http, self._pace)
        return await aimlapi_statement.statement(
            books, self.NAME, since, until, self._http.secrets, simulated=simulated
        )

    async def sent_with(self, since: datetime, until: datetime) -> Mapping[str, str]:
        """See `statements.KeepsBooks`."""
        return await aimlapi_statement.sent_with(Books(self._http, self._pace), since, until)
