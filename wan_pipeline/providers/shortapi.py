"""ShortAPI's HTTP: `POST /api/v1/job/create`, `GET /api/v1/job/query?id=`.

Its answers are HTTP 200 with `code: 0`; an error may be HTTP 200 with another code. `job_id` and `amount` stand under
`data` (its own samples read them at the top level, so that is accepted too). Traps 1, 2, 5 and 6 of the README.

It has no list of jobs, no logs and no billing. What became of a submission whose answer was lost it tells by its callback
alone, so each is asked for one, where there is an address for it; without it a person has to look.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wan_pipeline.money import Money
from wan_pipeline.providers.base import (
    Accepted,
    Ambiguous,
    Failed,
    InProgress,
    JsonObject,
    LostSubmission,
    Model,
    PollError,
    PollOutcome,
    SearchResult,
    Sighting,
    SubmitOutcome,
    Testimony,
)
from wan_pipeline.providers.callback import callback_url
from wan_pipeline.providers.client import HttpProviderClient
from wan_pipeline.providers.http import Answer
from wan_pipeline.providers.looking import Candidate, found, known_of, listed, together, verified
from wan_pipeline.providers.meaning import refusal_inside
from wan_pipeline.providers.words import amount_in, as_object, job_id_in, message_in

# Only 2 is documented; 0, 1, 3 and the words are one third party's (README, trap 5).
_IN_PROGRESS = {"0": "queued", "1": "processing", "queued": "queued", "pending": "pending", "processing": "processing"}
_SUCCEEDED = frozenset({"2", "succeeded"})
_FAILED = frozenset({"3", "failed"})
_CALLBACKS = "ShortAPI callback"
_MAX_HINTS = 10


def _is_ok(payload: Mapping[str, Any]) -> bool:
    """`code: 0`. A body without a code is judged by what else it holds."""
    return payload.get("code") in (None, 0, "0")


class ShortApiClient(HttpProviderClient):
    """Speaks ShortAPI's HTTP."""

    NAME = "shortapi"

    def _submit_path(self, model: Model) -> str:
        return "/api/v1/job/create"

    def _submit_body(self, body: JsonObject, attempt_id: str) -> JsonObject:
        if self._callback_base_url is None:
            return body
        return body | {"callback_url": callback_url(self._callback_base_url, self._key, attempt_id)}

    def _read_submission(self, answer: Answer) -> SubmitOutcome:
        payload = as_object(answer.payload)
        data = as_object(payload.get("data"))
        job_id = job_id_in(data.get("job_id"), self._http.secrets) or job_id_in(
            payload.get("job_id"), self._http.secrets
        )
        if not _is_ok(payload):
            code, words = payload.get("code"), message_in(payload) or message_in(data) or "without a word"
            if job_id is not None:
                return Ambiguous(self._words(f"shortapi answered code {code} ({words}) and yet job id {job_id}"))
            return refusal_inside(code, self._words(f"shortapi answered code {code}: {words}"))
        if job_id is None:
            return Ambiguous(self._words(f"shortapi answered without a job id: {message_in(payload)}"))
        amount = data.get("amount", payload.get("amount"))
        reported = amount_in(amount, Money.usd(1))
        unread = amount not in (None, "") and reported is None
        return Accepted(job_id, reported, self._words(f"amount not understood: {amount}") if unread else "")

    def _poll_request(self, provider_job_id: str) -> tuple[str, Mapping[str, str]]:
        return "/api/v1/job/query", {"id": provider_job_id}

    def _read_poll(self, answer: Answer) -> PollOutcome:
        payload = as_object(answer.payload)
        data = as_object(payload.get("data"))
        if not _is_ok(payload):
            code = payload.get("code")
            words = self._words(f"shortapi answered code {code}: {message_in(payload) or 'without a word'}")
            return PollError(words, gone=str(code) in ("404", "410"))
        status = data.get("status", payload.get("status"))
        word = str(status).strip().lower()
        result = as_object(data.get("result"))
        if word in _SUCCEEDED:
            return self._finished([result.get("videos"), result.get("images"), data.get("result")])
        if word in _FAILED:
            words = message_in(data) or message_in(result) or message_in(payload)
            return Failed(self._words(f"shortapi says the job failed: {words or 'without a word'}"))
        if word in _IN_PROGRESS:
            return InProgress(_IN_PROGRESS[word])
        if status is None:
            return PollError("shortapi answered without a status")
        return InProgress(self._words(status), self._words(f"shortapi's status {status} is in no document of it"))

    async def _look_for(self, lost: LostSubmission) -> SearchResult:
        """By what callbacks for this very attempt have named; each is verified by a poll. Never says "absent": nobody
        documents that a callback comes, so that none came proves nothing."""
        hints = [each for each in dict.fromkeys(lost.hints) if job_id_in(each, self._http.secrets) == each][:_MAX_HINTS]
        if not hints:
            return together([Testimony(_CALLBACKS, Sighting.UNSURE, self._no_callback())])
        known = await known_of(lost, hints)
        testimonies = [
            Testimony(_CALLBACKS, Sighting.UNSURE, f"a callback named {each}, which the ledger has as another job's")
            for each in hints
            if each in known
        ]
        confirmed: list[Candidate] = []
        possible: list[Candidate] = []
        for hint in hints:
            if hint in known:
                continue
            polled = await verified(lambda job_id: self.poll(lost.model, job_id), hint)
            named = Sighting.FOUND if polled.sighting is Sighting.FOUND else Sighting.UNSURE
            testimonies += [Testimony(_CALLBACKS, named, f"a callback for this attempt named {hint}"), polled]
            if polled.sighting is not Sighting.ABSENT:
                possible.append(Candidate(hint, ""))
            if polled.sighting is Sighting.FOUND:
                confirmed.append(Candidate(hint, ""))
        unreachable = any(each.sighting is Sighting.UNREACHABLE for each in testimonies)
        if len(confirmed) == 1 and not unreachable:
            return found(testimonies, confirmed[0].id)
        if len(confirmed) > 1:
            several = f"callbacks for this attempt named several jobs: {listed(confirmed)}"
            testimonies.append(Testimony(_CALLBACKS, Sighting.UNSURE, several))
        return together(testimonies, possible)

    def _no_callback(self) -> str:
        text = "ShortAPI has no list of jobs and no billing to look into"
        if self._callback_base_url is None:
            return f"{text}: look into your account there, or set WAN_PUBLIC_CALLBACK_URL so that it can call back"
        return f"{text}, and no callback for this attempt has come: look into your account there"
