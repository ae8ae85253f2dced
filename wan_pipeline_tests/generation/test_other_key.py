"""The provider's key is replaced while a submission is out: what another account does not show proves nothing, so nothing is
released, nothing given up, and above all nothing is bought again."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from wan_pipeline.bucket_server import bucket_app
from wan_pipeline.generation.deciding import Decision, DecisionError, Ending, decide
from wan_pipeline.generation.events import Finished, Verdict
from wan_pipeline.providers.account import account_of
from wan_pipeline.simulator.app import create_app
from wan_pipeline.simulator.books import Books
from wan_pipeline.simulator.config import SimulatorConfig
from wan_pipeline.spend.records import Job, JobState
from wan_pipeline.spend.tables import attempts
from wan_pipeline_tests.generation.house import ASKING_POSTS, KEY, House, is_purchase, png, stop_once_out

GoOn = Callable[[], Awaitable[httpx.Response]]
OTHER = "sk-of-quite-another-account"
OWN, FOREIGN = account_of(SecretStr(KEY)), account_of(SecretStr(OTHER))
FOREIGN_HOST = "another.invalid"  # of its results
WAVESPEED, AIMLAPI = "wavespeed/wan-2.6-i2v-flash", "aimlapi/wan-2.6-i2v"


@dataclass
class Street:
    """A house, and at the same addresses another account: the key says in whose books a request comes. `loses`: what
    becomes of submissions; while it is set, no witness answers either."""

    house: House
    model: str
    loses: str = ""  # "the answer", or "the request"

    def __post_init__(self) -> None:
        house, folder = self.house, self.house.folder / "another account"
        config = SimulatorConfig(
            folder=folder,
            base_url=f"http://{FOREIGN_HOST}",
            latency_s=house.latency_s,
            render="shared",
            keys=frozenset({OTHER}),
            clock=lambda: time.time() + house.ahead.total_seconds(),
        )
        fetch = httpx.AsyncClient(transport=httpx.ASGITransport(bucket_app(house.folder / "bucket")))
        self.foreign = httpx.ASGITransport(create_app(config, fetch=fetch))
        self.foreign_books = Books(folder)
        house.faults.fault = self.by_key
        house.put("inbox/shot000.png", png())
        house.put("inbox/shot000.yaml", f"model: {self.model}\nprompt: The cat looks up.\nduration: 5\n")

    async def by_key(self, request: httpx.Request, go_on: GoOn) -> httpx.Response:
        asks = request.url.path in ASKING_POSTS or request.url.path in ("/v2/logs", "/v2/billing/transactions")
        if asks and self.loses:
            return httpx.Response(503)
        if is_purchase(request) and self.loses == "the request":
            raise httpx.ReadTimeout("silence")
        if request.headers.get("authorization") == f"Bearer {OTHER}" or request.url.host == FOREIGN_HOST:
            response = await self.foreign.handle_async_request(request)
        else:
            response = await go_on()
        if is_purchase(request) and self.loses:
            raise httpx.ReadTimeout("silence")
        return response

    def use(self, key: str) -> None:
        self.house.keys[self.model.partition("/")[0]] = key

    def make(self, **options: bool) -> Finished:
        return self.house.make(**options)["shot000"]

    @property
    def jobs(self) -> list[Job]:
        """The first one first."""
        with self.house.ledger() as ledger:
            return ledger.jobs()[::-1]

    @property
    def states(self) -> list[JobState]:
        return [job.state for job in self.jobs]

    @property
    def charges(self) -> int:
        """In the books of both accounts."""
        return len(self.house.books.charges()) + len(self.foreign_books.charges())

    def forget_the_keys(self) -> None:
        """As in a ledger of a version that did not write them down."""
        with self.house.ledger() as ledger, ledger.engine.begin() as connection:
            connection.execute(attempts.update().values(account=None))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, result_ttl_s=60 * 86400)


def street_with_a_lost(what: str, house: House, model: str) -> Street:
    street = Street(house, model, loses=what)
    assert street.make().verdict is Verdict.AMBIGUOUS
    street.loses = ""
    return street


def says_so(text: str) -> bool:
    assert KEY not in text
    assert OTHER not in text
    return f"another key (fingerprint {OWN})" in text and f"({FOREIGN})" in text and "set that key again" in text


@pytest.mark.parametrize("model", [WAVESPEED, AIMLAPI])
def test_what_was_taken_is_not_bought_again_with_another_accounts_key_and_found_when_the_first_is_back(
    house: House, model: str
) -> None:
    street = street_with_a_lost("the answer", house, model)
    street.use(OTHER)
    for hours in (5, 1, 30):
        house.later(hours=hours)
        again = street.make(retry_failed=True)
        assert again.verdict is Verdict.AMBIGUOUS, again.reason
        assert says_so(again.reason)
        assert "wan-pipeline resolve" in again.reason
    assert (street.states, street.charges) == ([JobState.AMBIGUOUS], 1)
    street.use(KEY)
    house.later(hours=7)
    found = street.make()
    assert found.verdict is Verdict.MADE, found.reason
    assert (street.states, street.charges) == ([JobState.STORED], 1)


@pytest.mark.parametrize("model", [WAVESPEED, AIMLAPI])
def test_what_never_arrived_is_bought_anew_only_when_the_key_that_it_was_sent_with_says_so(
    house: House, model: str
) -> None:
    street = street_with_a_lost("the request", house, model)
    street.use(OTHER)
    house.later(hours=5)
    assert street.make().verdict is Verdict.AMBIGUOUS
    assert (street.states, street.charges) == ([JobState.AMBIGUOUS], 0)
    street.use(KEY)
    house.later(hours=1)
    assert street.make().verdict is Verdict.MADE
    assert (street.states, street.charges) == ([JobState.RELEASED, JobState.STORED], 1)


def test_a_submission_of_which_nobody_knows_the_key_is_believed_to_be_of_the_one_that_is_set(house: House) -> None:
    street = street_with_a_lost("the request", house, WAVESPEED)
    street.forget_the_keys()
    street.use(OTHER)
    house.later(hours=5)
    assert street.make().verdict is Verdict.MADE
    assert street.states == [JobState.RELEASED, JobState.STORED]


def test_each_attempt_tells_with_which_key_it_was_sent(house: House) -> None:
    street = Street(house, WAVESPEED)
    refusals = 1

    async def refused_once(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        nonlocal refusals
        if is_purchase(request) and refusals:
            refusals -= 1
            return httpx.Response(429, headers={"Retry-After": "0"})
        return await street.by_key(request, go_on)

    house.faults.fault = refused_once
    assert street.make().verdict is Verdict.MADE
    street.use(OTHER)
    assert street.make(new_take=True).verdict is Verdict.MADE
    with house.ledger() as ledger:
        sent_with = [[attempt.account for attempt in ledger.attempts(job.id)] for job in street.jobs]
    assert sent_with == [[OWN, OWN], [FOREIGN]]


# --- a job that its provider has ---


def street_with_one_out(house: House, model: str, monkeypatch: pytest.MonkeyPatch) -> Street:
    monkeypatch.setattr("wan_pipeline.generation.waiting._UNKNOWN_PATIENCE_S", -1)
    house.latency_s = 1.0
    street = Street(house, model)
    assert house.make(on_event=stop_once_out(house))["shot000"].verdict is Verdict.IN_FLIGHT
    assert street.states == [JobState.SUBMITTED]
    return street


@pytest.mark.parametrize("model", [WAVESPEED, AIMLAPI])
def test_a_paid_job_that_the_other_account_does_not_know_is_not_given_up_and_collected_with_its_own_key(
    house: House, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    street = street_with_one_out(house, model, monkeypatch)
    street.use(OTHER)
    for _ in range(5):
        house.later(days=2)
        stays = street.make(retry_failed=True)
        assert stays.verdict is Verdict.IN_FLIGHT, stays.reason
        assert says_so(stays.reason)
    street.use(KEY)
    house.later(hours=2)
    assert street.make().verdict is Verdict.MADE
    assert (street.states, street.charges) == ([JobState.STORED], 1)


def test_one_whose_key_never_comes_back_ends_as_lost_once_no_key_can_bring_it_and_says_why(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    street = street_with_one_out(house, WAVESPEED, monkeypatch)
    street.use(OTHER)
    for _ in range(8):
        house.later(days=2)
        last = street.make()
    assert last.verdict is Verdict.FAILED
    assert last.reason.startswith("lost")
    assert says_so(last.reason)
    assert (street.states, street.charges) == ([JobState.LOST], 1)
    assert street.make(retry_failed=True).verdict is Verdict.FAILED, "it counts as paid, and is not bought again"


def test_one_that_its_own_account_does_not_know_is_lost_as_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    street = street_with_one_out(house, WAVESPEED, monkeypatch)

    async def unknown(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        return httpx.Response(404) if request.url.path.endswith("/result") else await go_on()

    house.faults.fault = unknown
    for _ in range(5):
        house.later(days=2)
        last = street.make()
    assert last.reason.startswith("lost")
    assert "another key" not in last.reason


def test_a_person_who_names_a_job_that_the_other_account_does_not_know_is_told_of_the_key(house: House) -> None:
    street = street_with_a_lost("the answer", house, WAVESPEED)
    (charge,) = house.books.charges()
    (job,) = street.jobs
    word = Decision(Ending.FOUND, "somebody", provider_job_id=charge.job_id)
    street.use(OTHER)
    with house.ledger() as ledger:
        with pytest.raises(DecisionError) as refused:
            decide(ledger, house._connect, job.id, word, simulated=True)
        assert says_so(str(refused.value))
        street.use(KEY)
        assert decide(ledger, house._connect, job.id, word, simulated=True).state is JobState.SUBMITTED


def test_no_key_is_in_the_ledger(house: House) -> None:
    street = street_with_a_lost("the answer", house, WAVESPEED)
    street.use(OTHER)
    house.later(hours=5)
    street.make()
    with house.ledger() as ledger, ledger.engine.connect() as connection:
        names = sa.inspect(connection).get_table_names()
        everything = str([connection.execute(sa.text(f'SELECT * FROM "{name}"')).all() for name in names])
    assert OWN in everything
    assert KEY not in everything
    assert OTHER not in everything
