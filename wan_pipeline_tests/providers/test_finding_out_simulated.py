"""Against the simulator's own reading of the documents: answers lost before and after the order was taken are told apart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wan_pipeline.providers.base import (
    Accepted,
    Ambiguous,
    LostSubmission,
    Model,
    ProviderClient,
    ProviderLimits,
    Role,
    SearchResult,
    Sighting,
    Slot,
    SubmitOutcome,
)
from wan_pipeline.providers.callback import is_genuine, job_ids_in
from wan_pipeline.providers.connect import connect
from wan_pipeline.providers.http import QUESTIONS
from wan_pipeline.simulator.app import create_app, deliver_callbacks
from wan_pipeline.simulator.books import Books
from wan_pipeline.simulator.config import SimulatorConfig
from wan_pipeline_tests.providers.ordering import order_of
from wan_pipeline_tests.providers.tiny_server import MODEL_OF
from wan_pipeline_tests.simulator.world import Clock, picture

SIM, BUCKET, HOOKS = "http://sim.test", "http://bucket.test/team", "http://hooks.test"
KEY = SecretStr("key-of-the-tests")
T = TypeVar("T")
found_by_itself = pytest.mark.parametrize("provider", ["aimlapi", "wavespeed"])


class Losing(httpx.AsyncBaseTransport):
    """Loses the answers to orders: before they arrive, or after."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner
        self.lose: str | None = None
        self.orders = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        order = request.method == "POST" and request.url.path not in QUESTIONS
        self.orders += order
        if order and self.lose == "before":
            raise httpx.ReadError("reset")
        response = await self.inner.handle_async_request(request)
        if order and self.lose == "after":
            raise httpx.ReadError("reset")
        return response


@dataclass
class Sent:
    """What the ledger would know of a submission."""

    attempt_id: str
    arguments: dict[str, Any]
    input_keys: dict[str, str]
    sent_at: datetime
    outcome: SubmitOutcome


@dataclass
class Street:
    """A simulator with a bucket's files beside it, a clock, and what was sent."""

    folder: Path
    provider: str
    settings: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self.clock = Clock()
        defaults: dict[str, Any] = {"render": "shared", "jitter": 0.0, "latency_s": 60.0, "callbacks": "when told"}
        self.config = SimulatorConfig(folder=self.folder, clock=self.clock, **defaults | self.settings)
        self.calls: list[tuple[str, Any]] = []
        files = Starlette(routes=[Route("/{key:path}", lambda _: Response(picture()))])
        hooks = Starlette(routes=[Route("/{path:path}", self._called, methods=["POST"])])
        fetch = httpx.AsyncClient(transport=httpx.ASGITransport(files))
        call = httpx.AsyncClient(transport=httpx.ASGITransport(hooks))
        self.app = create_app(self.config, fetch=fetch, call=call)
        self.transport = Losing(httpx.ASGITransport(self.app))
        self.books = Books(self.folder, self.clock)
        self.known: set[str] = set()

    async def _called(self, request: Request) -> Response:
        self.calls.append((request.url.path, await request.json()))
        return Response(status_code=204)

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)

    @property
    def model(self) -> Model:
        return MODEL_OF[self.provider]

    def run(self, work: Callable[[ProviderClient], Awaitable[T]], callback_base_url: str | None = None) -> T:
        async def with_client() -> T:
            limits = ProviderLimits(20, 6000)
            client = connect(self.provider, SIM, KEY, limits, self.transport, callback_base_url, lambda: self.now)
            async with client:
                return await work(client)

        return asyncio.run(with_client())

    def send(
        self,
        attempt_id: str,
        lose: str | None = None,
        key: str = "inbox/cat.png",
        callback_base_url: str | None = None,
        **settings: Any,
    ) -> Sent:
        model, slot = self.model, Slot(Role.FIRST_FRAME)
        order = order_of(model.id, **settings)
        self.transport.lose = lose
        body = model.body(order, {slot: f"{BUCKET}/{quote(key)}?X-Amz-Signature=topsecret"})
        sent_at = self.now
        outcome = self.run(lambda client: client.submit(model, body, attempt_id), callback_base_url)
        self.transport.lose = None
        if isinstance(outcome, Accepted):
            self.known.add(outcome.provider_job_id)
        arguments = model.body(order, {slot: "sha256:" + "ab" * 32})
        return Sent(attempt_id, arguments, {str(slot): key}, sent_at, outcome)

    def look(self, sent: Sent, hints: Iterable[str] = (), now: datetime | None = None) -> SearchResult:
        assert isinstance(sent.outcome, Ambiguous)

        async def is_known(ids: Any) -> frozenset[str]:
            return frozenset(ids) & self.known

        lost = LostSubmission(
            sent.attempt_id,
            self.model,
            sent.arguments,
            sent.input_keys,
            sent.sent_at,
            now or self.now,
            tuple(hints),
            is_known,
        )
        orders = self.transport.orders
        result = self.run(lambda client: client.look_for(lost))
        assert self.transport.orders == orders, "looking has bought something"
        return result

    def job_of_the_latest_order(self) -> str:
        return max(self.books.jobs(), key=lambda job: job.number).id


@found_by_itself
def test_an_answer_lost_after_the_order_was_taken_is_found_among_others(tmp_path: Path, provider: str) -> None:
    street = Street(tmp_path, provider)
    for number in range(3):
        street.send(f"before-{number}", key=f"inbox/{number}.png")
    sent = street.send("lost", lose="after", key="inbox/spring/cat é&+%20.png")
    job_id = street.job_of_the_latest_order()
    for number in range(3):
        street.send(f"after-{number}", key=f"inbox/{number}.png", prompt="A dog.")
    street.clock.now += 200  # AI/ML API logs what has ended
    result = street.look(sent)
    assert result.sighting is Sighting.FOUND, result
    assert result.provider_job_id == job_id
    assert "topsecret" not in str(result)
    if provider == "aimlapi":
        (charge,) = [entry for entry in street.books.charges() if entry.job_id == job_id]
        assert result.reported is not None
        assert result.reported.nanos == charge.nanos


@found_by_itself
@pytest.mark.parametrize("ahead", [timedelta(minutes=-235), timedelta(minutes=235)])
def test_clocks_that_differ_by_hours_hide_nothing(tmp_path: Path, provider: str, ahead: timedelta) -> None:
    """However soon it is looked for: a short settle window must not turn a clock's fault into an absence."""
    street = Street(tmp_path, provider, {"latency_s": 1.0})
    sent = street.send("lost", lose="after")
    sent.sent_at -= ahead  # by our clock, which is behind the simulator's
    street.clock.now += 3
    assert street.look(sent, now=street.now - ahead).sighting is Sighting.FOUND


@found_by_itself
def test_an_answer_lost_before_the_order_was_taken_is_absent(tmp_path: Path, provider: str) -> None:
    street = Street(tmp_path, provider)
    sent = street.send("lost", lose="before")
    for number in range(3):
        street.send(f"after-{number}", key=f"inbox/{number}.png")
    street.clock.now += 5 * 3600
    assert street.look(sent).sighting is Sighting.ABSENT, street.look(sent)


@found_by_itself
def test_more_rows_than_a_page_holds_hide_nothing(tmp_path: Path, provider: str) -> None:
    street = Street(tmp_path, provider, {"latency_s": 1.0})
    sent = street.send("lost", lose="after")
    job_id = street.job_of_the_latest_order()
    for number in range(120):
        street.send(f"after-{number}", key=f"inbox/{number}.png")
    street.clock.now += 60
    assert street.look(sent).provider_job_id == job_id
    never = street.send("never", lose="before", key="inbox/never.png")
    street.known.add(job_id)
    street.clock.now += 60
    assert street.look(never).sighting is Sighting.ABSENT, street.look(never)


@found_by_itself
def test_several_lost_at_once_are_not_taken_for_one_another(tmp_path: Path, provider: str) -> None:
    street = Street(tmp_path, provider)
    lost: list[tuple[Sent, str | None]] = []
    for number in range(6):
        lose = "after" if number % 2 else "before"
        sent = street.send(f"lost-{number}", lose=lose, key=f"inbox/{number}.png")
        lost.append((sent, street.job_of_the_latest_order() if lose == "after" else None))
    street.clock.now += 5 * 3600
    for sent, job_id in lost:  # nobody's id is known yet
        result = street.look(sent)
        assert result.provider_job_id == job_id
        assert result.sighting is not Sighting.ABSENT or job_id is None
    street.known |= {job_id for _, job_id in lost if job_id}
    for sent, job_id in lost:  # those found are: now the others are absent
        if job_id is None:
            assert street.look(sent).sighting is Sighting.ABSENT


def test_aimlapis_failed_job_is_found_and_cost_nothing(tmp_path: Path) -> None:
    street = Street(tmp_path, "aimlapi")
    sent = street.send("lost", lose="after", prompt="[fail] A cat.")
    street.clock.now += 200
    result = street.look(sent)
    assert (result.sighting, result.provider_job_id) == (Sighting.FOUND, street.job_of_the_latest_order())
    assert result.reported is None


def test_aimlapi_shows_nothing_of_what_is_in_flight(tmp_path: Path) -> None:
    """Why "absent" must wait for the settle window: this is the provider's answer, and it is right."""
    street = Street(tmp_path, "aimlapi")
    sent = street.send("lost", lose="after")
    assert street.look(sent).sighting is Sighting.ABSENT
    street.clock.now += 200
    assert street.look(sent).sighting is Sighting.FOUND


def test_aimlapis_charge_without_its_log_row_keeps_anybody_from_saying_absent(tmp_path: Path) -> None:
    street = Street(tmp_path, "aimlapi", {"logs_lag_s": 3600.0})
    sent = street.send("lost", lose="after")
    street.clock.now += 200
    result = street.look(sent)
    assert result.sighting is Sighting.UNSURE
    assert result.candidates == (street.job_of_the_latest_order(),)
    street.clock.now += 3600
    assert street.look(sent).sighting is Sighting.FOUND


def test_wavespeeds_rows_without_inputs_are_for_a_person(tmp_path: Path) -> None:
    street = Street(tmp_path, "wavespeed", {"list_inputs": False})
    sent = street.send("lost", lose="after")
    result = street.look(sent)
    assert result.sighting is Sighting.UNSURE
    assert result.candidates == (street.job_of_the_latest_order(),)


def test_wavespeed_a_week_later_is_never_absent(tmp_path: Path) -> None:
    street = Street(tmp_path, "wavespeed")
    sent = street.send("lost", lose="before")
    street.clock.now += timedelta(days=8).total_seconds()
    assert street.look(sent).sighting is Sighting.UNSURE


def test_shortapi_calls_back_at_the_attempts_url_and_what_it_names_is_found(tmp_path: Path) -> None:
    street = Street(tmp_path, "shortapi")
    sent = street.send("attempt-1", lose="after", callback_base_url=HOOKS)
    assert street.look(sent).sighting is Sighting.UNSURE
    street.clock.now += 200
    asyncio.run(deliver_callbacks(street.app))
    ((path, payload),) = street.calls
    _, provider, attempt_id, token = urlsplit(path).path.split("/")
    assert (provider, attempt_id) == ("shortapi", "attempt-1")
    assert is_genuine(KEY, attempt_id, token)
    result = street.look(sent, job_ids_in(payload))
    assert (result.sighting, result.provider_job_id) == (Sighting.FOUND, street.job_of_the_latest_order())


def test_shortapi_without_a_callback_is_never_absent(tmp_path: Path) -> None:
    street = Street(tmp_path, "shortapi")
    for lose in ("before", "after"):
        sent = street.send(f"lost-{lose}", lose=lose)
        street.clock.now += 5 * 3600
        assert street.look(sent).sighting is Sighting.UNSURE
