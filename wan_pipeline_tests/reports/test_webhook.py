"""The webhook is told of each alert once, by whoever comes first; when it is down, later; and its URL is kept secret."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from pydantic import SecretStr

from wan_pipeline.reports import webhook as module
from wan_pipeline.reports.webhook import MANY, Sending, send_due
from wan_pipeline.spend.audit_tables import alerts
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline_tests.services.webhook import SECRET, Webhook, webhook
from wan_pipeline_tests.spend.samples import NOON

MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def one_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.sqlite") as opened:
        yield opened


@pytest.fixture
def ledger(one_ledger: Ledger) -> Ledger:
    """Without an alert."""
    with one_ledger.engine.begin() as connection:
        connection.execute(alerts.delete())
    return one_ledger


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as opened:
        yield opened


def raise_some(ledger: Ledger, *subjects: str, kind: str = "waste", simulated: bool = False) -> None:
    causes = [(kind, subject, f"much of {subject}") for subject in subjects]
    ledger.alerts.raise_new(causes, simulated=simulated, now=NOON)


def send(ledger: Ledger, url: str, after: timedelta = timedelta(), *, simulated: bool = False) -> Sending:
    return send_due(ledger.alerts, SecretStr(url), simulated=simulated, now=NOON + after)


def test_each_alert_is_told_once_over_many_ticks(ledger: Ledger, hook: Webhook) -> None:
    raise_some(ledger, "2026-10", "2026-11")
    sent = [send(ledger, hook.url, tick * MINUTE).sent for tick in range(5)]
    assert sent == [2, 0, 0, 0, 0]
    assert hook.subjects == ["2026-10", "2026-11"]


def test_what_is_told_is_what_slack_accepts_with_fields_for_programs_beside_it(ledger: Ledger, hook: Webhook) -> None:
    raise_some(ledger, "a <!channel> & b")
    send(ledger, hook.url)
    assert hook.told == [
        {
            "text": "wan-pipeline: much of a &lt;!channel&gt; &amp; b",
            "kind": "waste",
            "subject": "a <!channel> & b",
            "message": "much of a <!channel> & b",
            "simulated": False,
            "raised_at": "2026-12-05T12:00:00Z",
        }
    ]
    path, headers = hook.seen[0]
    assert path == f"/services/{SECRET}"
    assert headers["Content-Type"] == "application/json"


def test_simulated_alerts_say_so_and_are_sent_in_demo_mode_alone(ledger: Ledger, hook: Webhook) -> None:
    raise_some(ledger, "2026-11", simulated=True)
    assert send(ledger, hook.url).sent == 0
    assert send(ledger, hook.url, simulated=True).sent == 1
    assert hook.told[0]["text"] == "wan-pipeline: simulated, no money was spent: much of 2026-11"
    assert hook.told[0]["simulated"] is True


def test_what_is_over_before_it_could_be_told_is_told_as_over(ledger: Ledger, hook: Webhook) -> None:
    raise_some(ledger, "2026-11")
    ledger.alerts.settle(["waste"], [], simulated=False, now=NOON + MINUTE)
    send(ledger, hook.url, 2 * MINUTE)
    assert hook.told[0]["message"] == "much of 2026-11 (no more since 2026-12-05 12:01 UTC)"


@pytest.mark.parametrize("status", [301, 404, 429, 500, 503])
def test_a_webhook_that_refuses_is_asked_again_with_growing_waits(ledger: Ledger, hook: Webhook, status: int) -> None:
    """A redirect is a refusal too: whoever answers there is somebody else."""
    raise_some(ledger, "2026-11")
    hook.status, hook.headers = status, {"Location": "/elsewhere"}
    tries = [minute for minute in range(16) if send(ledger, hook.url, minute * MINUTE).failed]
    assert tries == [0, 1, 3, 7, 15]
    (failing,) = ledger.alerts.failing(simulated=False)
    assert failing.error == f"HTTP {status}"
    hook.status = 200
    assert send(ledger, hook.url, timedelta(hours=2)) == Sending(1, 0, None)
    assert send(ledger, hook.url, timedelta(hours=4)) == Sending(0, 0, None)
    assert ledger.alerts.failing(simulated=False) == []


def test_as_long_as_the_webhook_asks_for_is_waited(ledger: Ledger, hook: Webhook) -> None:
    raise_some(ledger, "2026-11")
    hook.status, hook.headers = 429, {"Retry-After": "600"}
    assert send(ledger, hook.url).failed == 1
    hook.status = 200
    assert [send(ledger, hook.url, minute * MINUTE).sent for minute in (1, 5, 9, 10)] == [0, 0, 0, 1]


def test_one_that_is_refused_for_itself_does_not_keep_the_others(ledger: Ledger, hook: Webhook) -> None:
    raise_some(ledger, "first", "second")
    hook.status = 400
    assert send(ledger, hook.url) == Sending(0, 2, "HTTP 400")
    assert hook.subjects == ["first", "second"]


def test_a_webhook_that_is_down_costs_a_tick_one_try_and_is_told_all_when_it_is_up(ledger: Ledger) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/services/{SECRET}"
    raise_some(ledger, "first", "second", "third")
    assert send(ledger, url) == Sending(0, 1, "not reached (ConnectError)")
    with webhook(port) as hook:
        assert send(ledger, url, 2 * MINUTE) == Sending(3, 0, None)
        assert hook.subjects == ["first", "second", "third"]


def test_a_webhook_that_does_not_answer_keeps_nobody(
    ledger: Ledger, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POST_S", 0.2)
    raise_some(ledger, "first", "second")
    hook.delay_s = 1.0
    began = time.monotonic()
    assert send(ledger, hook.url) == Sending(0, 1, "no answer within 0.2 s")
    assert time.monotonic() - began < 0.8


def test_many_of_a_kind_at_once_are_one_message_and_each_is_told(ledger: Ledger, hook: Webhook) -> None:
    raise_some(ledger, "2026-11")
    raise_some(ledger, *(f"j{number:03}" for number in range(700)), kind="ambiguous_money")
    assert send(ledger, hook.url) == Sending(701, 0, None)
    assert hook.subjects == ["2026-11", "700 subjects"]
    assert hook.told[1]["message"].startswith("700 alerts of the kind ambiguous_money at once: j000, j001, ")
    assert hook.told[1]["message"].endswith(f"and {700 - MANY} more. `wan-pipeline alerts` lists them")
    assert send(ledger, hook.url, MINUTE) == Sending(0, 0, None)


def test_processes_that_send_at_once_tell_each_alert_once(ledger: Ledger, hook: Webhook) -> None:
    raise_some(ledger, *(f"{year}" for year in range(2000, 2005)), kind="waste")
    raise_some(ledger, *(f"{year}" for year in range(2000, 2005)), kind="usual_spend")

    def tick(_: int) -> int:
        with Ledger.open(ledger.engine.url.render_as_string()) as mine:
            return send(mine, hook.url).sent

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(tick, range(4))) == 10
    assert len(hook.told) == len({(body["kind"], body["subject"]) for body in hook.told}) == 10


def test_a_process_that_dies_while_it_sends_leaves_the_alert_to_the_next(ledger: Ledger, hook: Webhook) -> None:
    raise_some(ledger, "2026-11")
    (alert,) = ledger.alerts.unsent(NOON, simulated=False)
    assert ledger.alerts.take([alert.id], NOON, NOON + MINUTE) == [alert.id]  # and it is heard of no more
    assert [send(ledger, hook.url, seconds * timedelta(seconds=1)).sent for seconds in (0, 30, 60)] == [0, 0, 1]


def test_the_url_is_in_no_log_no_error_and_no_row(
    ledger: Ledger, hook: Webhook, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    raise_some(ledger, "2026-11")
    wrong = (f"http://127.0.0.1:1/{SECRET}", f"http://[::1/{SECRET}", f"http://\x00/{SECRET}", f"ftp://{SECRET}")
    told = [send(ledger, url, number * timedelta(hours=3)) for number, url in enumerate((*wrong, hook.url))]
    assert [each.sent for each in told] == [0, 0, 0, 0, 1]
    rows = ledger.alerts.all(simulated=False)
    out, err = capfd.readouterr()
    for text in (caplog.text, out, err, repr(told), repr(rows)):
        assert not any(part in text for part in SECRET.split("/")), text
