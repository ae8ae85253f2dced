"""The receiver over real HTTP: a genuine callback becomes a hint, everything else nothing at all."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from pydantic import SecretStr

from wan_pipeline.generation.receiver import receiver_app
from wan_pipeline.providers.callback import callback_url
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Job, JobState
from wan_pipeline_tests.generation.house import KEY, House, is_purchase, png

BODY = {"code": 0, "data": {"job_id": "job-1", "status": 2}}


@pytest.fixture
def house(tmp_path: Path) -> House:
    """With one ambiguous job at ShortAPI."""
    house = House(tmp_path)
    house.put("inbox/one.png", png())
    house.put("inbox/one.yaml", "model: shortapi/wan-2.7-i2v\nprompt: a\nduration: 5\n")

    async def lost(request: httpx.Request, go_on: object) -> httpx.Response:
        if is_purchase(request):
            raise httpx.ReadTimeout("silence")
        return await go_on()  # type: ignore[operator]

    house.faults.fault = lost
    house.make()
    return house


@pytest.fixture
def ledger(house: House) -> Iterator[Ledger]:
    with house.ledger() as opened:
        yield opened


@pytest.fixture
def job(ledger: Ledger) -> Job:
    (job,) = ledger.jobs()
    assert job.state is JobState.AMBIGUOUS
    return job


@pytest.fixture
def base(ledger: Ledger) -> Generator[str]:
    """Where the receiver serves."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(
            uvicorn.Config(receiver_app(ledger, SecretStr(KEY)), log_level="info", access_log=False, lifespan="off")
        )
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def url_of(base: str, job: Job) -> str:
    return callback_url(base, SecretStr(KEY), job.attempt_id or "")


def test_a_genuine_callback_is_a_hint_makes_the_look_due_and_said_again_changes_nothing(
    house: House, ledger: Ledger, job: Job, base: str
) -> None:
    assert job.next_look_at is not None
    assert job.next_look_at > house.clock()
    for _ in range(2):
        assert httpx.post(url_of(base, job), json=BODY).status_code == 204
    assert ledger.hints(job.attempt_id or "") == ["job-1"]
    due = ledger.job(job.id)
    assert due.state is JobState.AMBIGUOUS, "a hint is believed by nobody who has not asked the provider"
    assert due.next_look_at is not None
    assert due.next_look_at <= house.clock()


def test_a_proxys_prefix_may_stand_before_it(ledger: Ledger, job: Job, base: str) -> None:
    assert httpx.post(url_of(f"{base}/some/where", job), json=BODY).status_code == 204
    assert ledger.hints(job.attempt_id or "") == ["job-1"]


def test_a_callback_that_cannot_be_read_tells_all_the_same_that_there_is_something(
    house: House, ledger: Ledger, job: Job, base: str
) -> None:
    assert httpx.post(url_of(base, job), content=b"\xff<html>").status_code == 204
    assert ledger.hints(job.attempt_id or "") == []
    due = ledger.job(job.id).next_look_at
    assert due is not None
    assert due <= house.clock()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda url: url[:-1] + ("0" if url[-1] != "0" else "1"),
        lambda url: url.rpartition("/")[0],
        lambda url: url.rpartition("/")[0] + "/",
        lambda url: url.replace("shortapi", "wavespeed"),
        lambda url: url + "/more",
        lambda url: url.replace("/shortapi/", "/shortapi/x"),
        lambda url: url.rpartition("/")[0] + "/%C3%A9",
    ],
)
def test_a_wrong_token_is_a_404_and_nothing_is_written(ledger: Ledger, job: Job, base: str, wrong: object) -> None:
    assert httpx.post(wrong(url_of(base, job)), json=BODY).status_code == 404  # type: ignore[operator]
    assert ledger.hints(job.attempt_id or "") == []


def test_a_genuine_token_of_an_attempt_that_this_ledger_does_not_have_is_a_404(base: str) -> None:
    assert httpx.post(callback_url(base, SecretStr(KEY), "0" * 32), json=BODY).status_code == 404


def test_a_body_beyond_64_kib_is_not_read_to_its_end_whatever_it_says_of_its_length(
    ledger: Ledger, job: Job, base: str
) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(80):
            yield b" " * 1024

    assert httpx.post(url_of(base, job), content=endless()).status_code == 413
    padded = json.dumps(BODY).encode() + b" " * (64 * 1024)
    assert httpx.post(url_of(base, job), content=padded).status_code == 413
    assert ledger.hints(job.attempt_id or "") == []
    assert httpx.post(url_of(base, job), content=json.dumps(BODY).encode() + b" " * 60_000).status_code == 204


def test_other_methods_are_answered_without_a_look_at_the_ledger(job: Job, base: str) -> None:
    assert httpx.get(url_of(base, job)).status_code == 405


def test_the_token_is_in_no_log_and_no_answer(job: Job, base: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "wan_pipeline")
    caplog.set_level(logging.DEBUG, "uvicorn")
    token = url_of(base, job).rpartition("/")[2]
    answer = httpx.post(url_of(base, job), json=BODY)
    assert job.attempt_id is not None
    assert job.attempt_id in caplog.text
    # uvicorn's access log is off, as `wan-pipeline receiver` has it; pytest listens to it all the same.
    ours = [record.getMessage() for record in caplog.records if record.name not in ("uvicorn.access", "httpx")]
    assert token not in "\n".join(ours)
    assert token not in answer.text + str(answer.headers)


def test_where_the_ledger_is_out_of_reach_the_caller_is_asked_to_call_again(
    house: House, job: Job, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    def gone(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("the server has gone away"))

    monkeypatch.setattr(Ledger, "add_callback", gone)
    answer = httpx.post(url_of(base, job), json=BODY)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
