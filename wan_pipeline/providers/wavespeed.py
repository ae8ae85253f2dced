"""WaveSpeed's HTTP: `POST /api/v3/<model>`, `GET /api/v3/predictions/<id>/result`.

The model's id is part of the path. It says nothing about what it charges. Status can also be `cancelled`, `timeout` or
`deleted`, and `data.outputs` a list of URLs, a single one, or an object that holds them (trap 11 of the README).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

from wan_pipeline.money import ZERO
from wan_pipeline.providers import wavespeed_statement
from wan_pipeline.providers.base import (
    Accepted,
    Ambiguous,
    Failed,
    InProgress,
    JsonObject,
    ListedJobs,
    LostSubmission,
    Model,
    Order,
    PollError,
    PollOutcome,
    SearchResult,
    SubmitOutcome,
    Succeeded,
)
from wan_pipeline.providers.client import HttpProviderClient
from wan_pipeline.providers.http import Answer
from wan_pipeline.providers.meaning import refusal_inside
from wan_pipeline.providers.price_answer import ProviderPrice
from wan_pipeline.providers.wavespeed_books import BILLINGS, Books
from wan_pipeline.providers.wavespeed_list import AHEAD_OF_POLLS_S, LIST_PATH, list_question, read_list
from wan_pipeline.providers.wavespeed_look import KEEPS, WaveSpeedLook
from wan_pipeline.providers.wavespeed_prices import PATH as PRICE_PATH
from wan_pipeline.providers.wavespeed_prices import price_question, read_price
from wan_pipeline.providers.wavespeed_schema import PATH as MODELS_PATH
from wan_pipeline.providers.wavespeed_schema import PublishedSchema, read_published
from wan_pipeline.providers.words import as_object, job_id_in, message_in, moment_in, seconds_in
from wan_pipeline.spend.audit_records import StatementLine


def _is_ok(payload: Mapping[str, Any]) -> bool:
    """`code: 200`. A body without a code is judged by what else it holds."""
    return payload.get("code") in (None, 200, "200", 201, 202)


def _data(payload: JsonObject) -> JsonObject:
    return as_object(payload.get("data")) or payload


class WaveSpeedClient(HttpProviderClient):
    """Speaks WaveSpeed's HTTP."""

    NAME = "wavespeed"

    def _submit_path(self, model: Model) -> str:
        return f"/api/v3/{model.upstream_id}"

    def _read_submission(self, answer: Answer) -> SubmitOutcome:
        payload = as_object(answer.payload)
        job_id = job_id_in(_data(payload).get("id"), self._http.secrets)
        if not _is_ok(payload):
            code, words = payload.get("code"), message_in(payload) or "without a word"
            if job_id is not None:
                return Ambiguous(self._words(f"wavespeed answered code {code} ({words}) and yet task id {job_id}"))
            return refusal_inside(code, self._words(f"wavespeed answered code {code}: {words}"))
        if job_id is None:
            return Ambiguous(self._words(f"wavespeed answered without a task id: {message_in(payload)}"))
        return Accepted(job_id)

    def _poll_request(self, provider_job_id: str) -> tuple[str, Mapping[str, str]]:
        return f"/api/v3/predictions/{quote(provider_job_id, safe='')}/result", {}

    def _read_poll(self, answer: Answer) -> PollOutcome:
        payload = as_object(answer.payload)
        if not _is_ok(payload):
            code = payload.get("code")
            words = self._words(f"wavespeed answered code {code}: {message_in(payload) or 'without a word'}")
            return PollError(words, gone=str(code) in ("404", "410"))
        data = _data(payload)
        status = data.get("status")
        match status:
            case "completed":
                taken_s = seconds_in(as_object(data.get("timings")).get("inference"))
                flagged = data.get("has_nsfw_contents") in (True, [True])
                extra = " (it was flagged as not safe)" if flagged else ""
                return self._finished(data.get("outputs"), taken_s, extra, self._deleted_at(data))
            case "created" | "processing":
                return InProgress(status)
            case "failed":
                return self._failed(data, "failed")
            case "cancelled" | "timeout" | "deleted":
                return self._failed(data, status)
            case None:
                return PollError("wavespeed answered without a status")
            case _:
                return InProgress(self._words(status), self._words(f"status {status} is in no document of WaveSpeed"))

    async def list_jobs(
        self,
        ended: Literal["succeeded", "failed"] | None,
        made_after: datetime | None,
        page: int,
        about: Collection[str],
    ) -> ListedJobs | PollError:
        """See `base.ListsJobs`. A row is a whole prediction (wavespeed_list.py), and is read as a poll's answer."""
        answer = await self._http.ask(LIST_PATH, list_question(ended, made_after, page), AHEAD_OF_POLLS_S)
        if isinstance(answer, PollError):
            return answer
        read = read_list(as_object(answer.payload), about, self._http.secrets, self._read_row)
        return PollError(self._words(f"wavespeed's list: {read.reason}")) if isinstance(read, PollError) else read

    def _read_row(self, row: JsonObject) -> PollOutcome:
        outcome = self._read_poll(Answer({"data": row}, {}))
        return replace(outcome, listed=True) if isinstance(outcome, Succeeded) else outcome

    def _failed(self, data: JsonObject, status: str) -> Failed:
        """A failed job is refunded (README, sure: B). Of the other ends nobody says so: what they cost is unknown."""
        words = self._words(f"wavespeed says {status}: {message_in(data.get('error')) or 'without a word'}")
        return Failed(words, ZERO if status == "failed" else None)

    def _deleted_at(self, data: JsonObject) -> datetime:
        """Outputs are deleted seven days after the prediction was made (README, sure: A)."""
        now = self._clock()
        made_at = moment_in(data.get("created_at"))
        return (made_at if made_at is not None and now - KEEPS < made_at <= now else now) + KEEPS

    @staticmethod
    def price_question(model: Model, order: Order) -> JsonObject:
        """See `price_answer.PriceTeller`."""
        return price_question(model, order)

    async def price(self, model: Model, order: Order) -> ProviderPrice | PollError:
        """See `price_answer.PriceTeller`. Raises ValueError for another provider's model."""
        self._own(model)
        await self._pace.wait()
        answer = await self._http.ask(PRICE_PATH, price_question(model, order))
        if isinstance(answer, PollError):
            return answer
        read = read_price(as_object(answer.payload), model)
        return (
            PollError(self._words(f"wavespeed's price endpoint: {read.reason}"))
            if isinstance(read, PollError)
            else read
        )

    async def published_schema(self, model: Model) -> PublishedSchema | PollError:
        """See `wavespeed_schema.SchemaTeller`. Raises ValueError for another provider's model."""
        self._own(model)
        answer = await self._http.get(MODELS_PATH, {})
        return answer if isinstance(answer, PollError) else read_published(as_object(answer.payload), model)

    def submit_path(self, model: Model) -> str:
        """See `wavespeed_schema.SchemaTeller`."""
        return self._submit_path(model)

    async def _look_for(self, lost: LostSubmission) -> SearchResult:
        books = Books(self._http, self._pace)
        return await WaveSpeedLook(lost, books, lambda job_id: self.poll(lost.model, job_id)).look()

    @property
    def books_title(self) -> str:
        return BILLINGS

    async def statement(self, since: datetime, until: datetime, *, simulated: bool) -> list[StatementLine]:
        """See `statements.KeepsBooks`."""
        books = Books(self._http, self._pace)
        return await wavespeed_statement.statement(
            books, self.NAME, since, until, self._http.secrets, simulated=simulated
        )

    async def sent_with(self, since: datetime, until: datetime) -> Mapping[str, str]:
        """See `statements.KeepsBooks`."""
        del since, until
        return {}  # nothing of ours can be sent along with a request
