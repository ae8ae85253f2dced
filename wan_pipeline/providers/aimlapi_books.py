"""AI/ML API's books: the requests in `/v2/logs` and the charges in `/v2/billing/transactions`, each read to its end.

(aimlapi/logs-v2.json, aimlapi/billing-transactions-v2.json.) Logs are paged by offset and hold requests that succeeded
or failed, so one in flight is not in them; a charge lands after the generation has completed. What does not belong here:
what follows from them (aimlapi_look.py, aimlapi_statement.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from wan_pipeline.money import ZERO, Money
from wan_pipeline.providers.base import JsonObject, PollError
from wan_pipeline.providers.http import ProviderHttp
from wan_pipeline.providers.looking import MAX_PAGES, NOT_URGENT_S, Pace, UnreadError, Window, iso
from wan_pipeline.providers.words import amount_in, as_object, job_id_in

LOGS = "AI/ML API /v2/logs"
TRANSACTIONS = "AI/ML API /v2/billing/transactions"
_PAGE = 100
_CREDIT = Money.credits(1)


@dataclass(frozen=True, slots=True)
class Request:
    """One row of the logs. Where a field cannot be read it is None, and says nothing."""

    client_request_id: str | None
    inference_id: str | None
    status: str
    model: object
    cost: Money | None
    from_playground: bool

    @property
    def cost_nothing(self) -> bool:
        """A failed request that the log says was billed nothing."""
        return self.status == "failed" and self.cost == ZERO


@dataclass(frozen=True, slots=True)
class Charge:
    """One charge for the use of a model. `reference_id` is the inference's id."""

    reference_id: str | None
    model: object
    amount: Money | None


class Books:
    """Reads both. Raises UnreadError where anything keeps a listing from being read to its end."""

    def __init__(self, http: ProviderHttp, pace: Pace) -> None:
        self._http = http
        self._pace = pace

    async def requests(self, window: Window) -> list[Request]:
        """The requests made with this key in the window. Newest first, so one that comes in meanwhile moves the others
        down: some are read twice, none is missed."""
        found: list[Request] = []
        total: object = None
        for _ in range(MAX_PAGES):
            page, paging = await self._page(
                "/v2/logs",
                {
                    "start": iso(window.start),
                    "end": iso(window.end),
                    "limit": str(_PAGE),
                    "offset": str(len(found)),
                },
            )
            total = paging.get("total") if total is None else total
            found += [self._request(row) for row in page]
            has_more = paging.get("has_more")
            if has_more is False:
                if type(total) is int and total > len(found):
                    raise UnreadError(f"it says that there are {total} requests, and lists {len(found)}")
                return found
            if has_more is not True or not page:
                raise UnreadError("it does not say whether that was all")
        raise UnreadError(f"there are more than {MAX_PAGES * _PAGE:,} requests from {window}")

    async def charges(self, window: Window) -> list[Charge]:
        """The account's charges for the use of models that were entered in the window."""
        rows = await self._entries(window, {"type": "MODEL_USAGE"})
        return [self._charge(row) for row in rows if _is_usage(row)]

    async def transactions(self, window: Window) -> list[JsonObject]:
        """Every movement of the account's balance that was entered in the window, as it is written."""
        return await self._entries(window, {})

    async def _entries(self, window: Window, only: Mapping[str, str]) -> list[JsonObject]:
        found: list[JsonObject] = []
        asked = {"from": iso(window.start), "to": iso(window.end), **only, "limit": str(_PAGE)}
        cursors: set[str] = set()
        for _ in range(MAX_PAGES):
            page, paging = await self._page("/v2/billing/transactions", asked)
            found += page
            cursor, has_more = paging.get("next_cursor"), paging.get("has_more")
            if has_more is False and cursor is None:
                return found
            if has_more is not True or not isinstance(cursor, str) or not cursor or cursor in cursors:
                raise UnreadError("it does not say whether that was all")
            cursors.add(cursor)
            asked["cursor"] = cursor
        raise UnreadError(f"there are more than {MAX_PAGES * _PAGE:,} entries from {window}")

    async def _page(self, path: str, params: Mapping[str, str]) -> tuple[list[JsonObject], JsonObject]:
        await self._pace.wait()
        answer = await self._http.get(path, params, NOT_URGENT_S)
        if isinstance(answer, PollError):
            raise UnreadError(answer.reason)
        payload = as_object(answer.payload)
        rows, paging = payload.get("data"), as_object(payload.get("pagination"))
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in cast("list[Any]", rows)):
            raise UnreadError("its answer holds no list of rows")
        return cast("list[JsonObject]", rows), paging

    def _request(self, row: JsonObject) -> Request:
        sent_with = row.get("client_request_id")
        return Request(
            client_request_id=sent_with if isinstance(sent_with, str) and sent_with else None,
            inference_id=job_id_in(row.get("inference_id"), self._http.secrets),
            status=str(row.get("status")),
            model=row.get("model"),
            cost=credited(row.get("cost")),
            from_playground=row.get("origin") == "playground",
        )

    def _charge(self, row: JsonObject) -> Charge:
        reference_id = job_id_in(row.get("reference_id"), self._http.secrets)
        return Charge(reference_id, row.get("model"), credited(row.get("amount")))


def _is_usage(row: JsonObject) -> bool:
    """All but what certainly is none, in case the filter is not heeded."""
    return row.get("type") in ("MODEL_USAGE", None) and row.get("direction") != "TOPUP"


def credited(value: object) -> Money | None:
    """Credits are whole and exact; the dollars beside them are a rounded display of the same."""
    written = as_object(value)
    credits = written.get("credits")
    if type(credits) is int:
        return amount_in(credits, _CREDIT)
    return amount_in(written.get("usd"), Money.usd(1))
