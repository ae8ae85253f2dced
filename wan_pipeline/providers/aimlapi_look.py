"""What became of a submission to AI/ML API whose answer was lost.

Two witnesses. The logs hold each request's `X-Client-Request-Id`, which was our attempt's id, so a row of ours is proof;
the poll must know its inference too before it counts as found. A row of ours that failed, cost nothing and is unknown to
the poll is proof of the opposite: the request came to nothing and nothing was charged. The account's transactions are
the second witness: a charge that neither the ledger nor a log row of another request accounts for may be the lost one,
and while there is such a charge nobody says "absent". In flight a request is in neither: the caller's settle window is
there for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from wan_pipeline.money import Money
from wan_pipeline.providers.aimlapi_books import LOGS, TRANSACTIONS, Books, Request
from wan_pipeline.providers.base import LostSubmission, SearchResult, Sighting, Testimony
from wan_pipeline.providers.looking import (
    Candidate,
    Poll,
    UnreadError,
    Window,
    found,
    known_of,
    listed,
    same_model,
    together,
    verified,
)

_LISTED_WITHIN = timedelta(days=2)  # of being sent: made, logged and charged
_KEPT_AT_LEAST = timedelta(days=90)  # a window of the logs may be 92 days long; for how long they are kept nobody says


class AimlApiLook:
    """One look for one lost submission."""

    def __init__(self, lost: LostSubmission, books: Books, poll: Poll) -> None:
        self._lost = lost
        self._books = books
        self._poll = poll
        self._window = Window.around(lost, _LISTED_WITHIN)

    async def look(self) -> SearchResult:
        try:
            requests = await self._books.requests(self._window)
        except UnreadError as error:
            return together([Testimony(LOGS, Sighting.UNREACHABLE, str(error))])
        mine = [row for row in requests if row.client_request_id == self._lost.attempt_id]
        result = await (self._judge(mine, requests) if mine else self._strangers(requests))
        if result.sighting in (Sighting.FOUND, Sighting.UNREACHABLE):
            return result
        testimony, candidates = await self._billing(requests)
        known = [Candidate(each, "") for each in result.candidates]
        return together([*result.testimonies, testimony], [*known, *candidates])

    # --- the logs ---

    async def _judge(self, mine: Sequence[Request], requests: Sequence[Request]) -> SearchResult:
        """Rows that carry this attempt's id."""
        came_to_something = [row for row in mine if not row.cost_nothing]
        if not came_to_something:
            return await self._failed_for_nothing(mine, requests)
        ids = {row.inference_id: row for row in came_to_something}
        candidates = [Candidate(each, _said_of(row)) for each, row in ids.items() if each is not None]
        if len(ids) > 1:
            text = f"several requests carry this attempt's id: {listed(candidates)}"
            return together([Testimony(LOGS, Sighting.UNSURE, text)], candidates)
        if not candidates:
            text = (
                f"a request with this attempt's id {came_to_something[0].status}, and its inference id cannot be read"
            )
            return together([Testimony(LOGS, Sighting.UNSURE, text)])
        inference_id = candidates[0].id
        row = ids[inference_id]
        seen = Testimony(LOGS, Sighting.FOUND, f"a request with this attempt's id: {listed(candidates)}")
        if inference_id in self._others(requests):
            text = f"{seen.detail}; but another request is listed with the same inference id"
            return together([Testimony(LOGS, Sighting.UNSURE, text)], candidates)
        if await known_of(self._lost, [inference_id]):
            text = f"{seen.detail}; but the ledger has that as another job's"
            return together([Testimony(LOGS, Sighting.UNSURE, text)], candidates)
        polled = await verified(self._poll, inference_id)
        match polled.sighting:
            case Sighting.FOUND:
                return found([seen, polled], inference_id, _reported(row))
            case Sighting.UNREACHABLE:
                return together([seen, polled], candidates)
            case _:
                return together([Testimony(LOGS, Sighting.UNSURE, seen.detail), polled], candidates)

    async def _failed_for_nothing(self, mine: Sequence[Request], requests: Sequence[Request]) -> SearchResult:
        """They failed and were billed nothing. A job that the poll knows is found all the same, and collected as failed;
        of one that it does not know nothing is left to be had or paid."""
        text = "the request with this attempt's id failed and was billed nothing"
        testimonies = [Testimony(LOGS, Sighting.ABSENT, text)]
        ids = list(dict.fromkeys(row.inference_id for row in mine if row.inference_id is not None))
        known = await known_of(self._lost, ids)
        others = self._others(requests)
        for inference_id in ids:
            if inference_id in others:
                detail = f"{text}; but another request is listed with the same inference id, {inference_id}"
                return together([Testimony(LOGS, Sighting.UNSURE, detail)], [Candidate(inference_id, "")])
            if inference_id in known:
                detail = f"a request with this attempt's id is {inference_id}, which the ledger has as another job's"
                return together([Testimony(LOGS, Sighting.UNSURE, detail)], [Candidate(inference_id, "")])
            polled = await verified(self._poll, inference_id)
            if polled.sighting is Sighting.FOUND:
                return found([Testimony(LOGS, Sighting.FOUND, text), polled], inference_id)
            testimonies.append(polled)
            if polled.sighting is Sighting.UNREACHABLE:
                break
        return together(testimonies)

    async def _strangers(self, requests: Sequence[Request]) -> SearchResult:
        """No row carries this attempt's id. One that carries none at all may have lost it on its way."""
        unnamed = [
            row
            for row in requests
            if row.client_request_id is None
            and not row.from_playground
            and not row.cost_nothing
            and same_model(row.model, self._lost.model.upstream_id)
        ]
        read = f"{len(requests)} requests from {self._window}, read to the end"
        if any(row.inference_id is None for row in unnamed):
            text = f"{read}: one of them carries no id of its sender, and no inference id that can be read"
            return together([Testimony(LOGS, Sighting.UNSURE, text)])
        candidates = [Candidate(row.inference_id, _said_of(row)) for row in unnamed if row.inference_id is not None]
        candidates = await self._unknown(candidates)
        if candidates:
            text = f"{read}: none carries this attempt's id, and these carry none at all: {listed(candidates)}"
            return together([Testimony(LOGS, Sighting.UNSURE, text)], candidates)
        text = f"{read}: none carries this attempt's id"
        if self._lost.now - self._window.start > _KEPT_AT_LEAST:
            text = f"{text}; but nobody says that logs from {self._lost.sent_at:%Y-%m-%d} are kept until now"
            return together([Testimony(LOGS, Sighting.UNSURE, text)])
        return together([Testimony(LOGS, Sighting.ABSENT, text)])

    # --- the transactions ---

    async def _billing(self, requests: Sequence[Request]) -> tuple[Testimony, list[Candidate]]:
        try:
            charges = await self._books.charges(self._window)
        except UnreadError as error:
            return Testimony(TRANSACTIONS, Sighting.UNREACHABLE, str(error)), []
        others = self._others(requests)
        open_ = [
            charge
            for charge in charges
            if charge.reference_id not in others and same_model(charge.model, self._lost.model.upstream_id)
        ]
        read = f"{len(charges)} charges for models from {self._window}, read to the end"
        nameless = [charge for charge in open_ if charge.reference_id is None]
        candidates = await self._unknown(
            [
                Candidate(charge.reference_id, _paid(charge.amount))
                for charge in open_
                if charge.reference_id is not None
            ]
        )
        if nameless or candidates:
            parts = [f"{len(nameless)} without a reference"] if nameless else []
            parts += [f"not in the ledger: {listed(candidates)}"] if candidates else []
            text = f"{read}: there are charges that may be this one's: {'; '.join(parts)}"
            return Testimony(TRANSACTIONS, Sighting.UNSURE, text), candidates
        return Testimony(TRANSACTIONS, Sighting.ABSENT, f"{read}: all of them are accounted for"), []

    def _others(self, requests: Sequence[Request]) -> set[str | None]:
        """The inferences that are another request's."""
        return {row.inference_id for row in requests if self._is_anothers(row)}

    def _is_anothers(self, row: Request) -> bool:
        """A request that carries another's id, or was made by hand in the playground, is certainly not the lost one."""
        if row.inference_id is None:
            return False
        if row.client_request_id is None:
            return row.from_playground
        return row.client_request_id != self._lost.attempt_id

    async def _unknown(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        known = await known_of(self._lost, [each.id for each in candidates])
        return list({each.id: each for each in candidates if each.id not in known}.values())


def _reported(row: Request) -> Money | None:
    """What a request cost. Nothing, for one that succeeded, is no amount that anybody charges: it is not known yet."""
    return row.cost if row.cost and row.status == "succeeded" else None


def _said_of(row: Request) -> str:
    return ", ".join(filter(None, (row.status, _paid(row.cost))))


def _paid(amount: Money | None) -> str:
    return "" if amount is None else f"{amount} USD"
