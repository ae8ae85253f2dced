"""A POST is sent once, whatever happens to it, and what happened to it is classified by docs/architecture.md's table."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import SecretStr

from wan_pipeline.money import Money
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.providers.base import Accepted, Ambiguous, Denied, NotSent, Refused, Rejected, SubmitOutcome
from wan_pipeline.providers.connect import PROVIDERS, connect
from wan_pipeline.providers.meaning import retry_after_s
from wan_pipeline_tests.providers.tiny_server import (
    ACCEPTED_BODY,
    KEY,
    MODEL_OF,
    QUICK,
    Behaviour,
    TinyServer,
    Wire,
    client_of,
    says,
    serving,
)

BODY = {"prompt": "a cat — une chatte", "duration": 5}
each_provider = pytest.mark.parametrize("provider", sorted(PROVIDERS))


def post(
    provider: str, *behaviours: Behaviour, read_requests: bool = True, key: str = KEY
) -> tuple[SubmitOutcome, TinyServer]:
    """One submission to a server that behaves so, and that server."""

    async def run() -> tuple[SubmitOutcome, TinyServer]:
        async with serving(*behaviours) as server:
            async with client_of(provider, server.url, key) as client:
                outcome = await client.submit(MODEL_OF[provider], BODY, "attempt-1")
                await asyncio.sleep(0.02)  # time for a second POST, if there were one
                return outcome, server

    return asyncio.run(run())


# --- ways to misbehave ---


async def hang(wire: Wire) -> None:
    await asyncio.sleep(30)


async def reset(wire: Wire) -> None:
    wire.reset()


async def close(wire: Wire) -> None:
    wire.writer.close()


async def garbage(wire: Wire) -> None:
    await wire.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    wire.writer.close()


async def cut(wire: Wire) -> None:
    await wire.write(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"code": 0, "da')
    wire.writer.close()


async def cut_refusal(wire: Wire) -> None:
    await wire.write(b"HTTP/1.1 422 Nope\r\nContent-Length: 500\r\n\r\n{")
    wire.writer.close()


async def drip(wire: Wire) -> None:
    await wire.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    for _ in range(500):
        await wire.write(b" ")
        await asyncio.sleep(0.05)


def moved(status: int, to: str) -> Behaviour:
    return says(status, "", {"Location": to})


PATHS = {"shortapi": "/api/v1/job/create", "aimlapi": "/v2/video/generations"}
CASES: list[tuple[str, Behaviour, type[Any]]] = [
    ("no answer", hang, Ambiguous),
    ("reset", reset, Ambiguous),
    ("closed without an answer", close, Ambiguous),
    ("no HTTP", garbage, Ambiguous),
    ("answer cut off", cut, Ambiguous),
    ("answer drips in", drip, Ambiguous),
    ("200 empty", says(200), Ambiguous),
    ("204", says(204), Ambiguous),
    ("200 HTML", says(200, "<html>maintenance</html>"), Ambiguous),
    ("200 JSON of another shape", says(200, {"hello": "world"}), Ambiguous),
    ("200 list", says(200, []), Ambiguous),
    ("200 NaN", says(200, '{"code": NaN}'), Ambiguous),
    ("200 nested beyond reason", says(200, "[" * 100_000), Ambiguous),
    ("200 objects within objects", says(200, '{"data":' * 500 + "{}" + "}" * 500), Ambiguous),
    ("200 number beyond reason", says(200, '{"code": 1e999999999999999999999}'), Ambiguous),
    ("200 endless", says(200, b" " * (5 << 20)), Ambiguous),
    ("200 no gzip", says(200, b"{}", {"Content-Encoding": "gzip"}), Ambiguous),
    ("200 empty id", says(200, {"id": "", "data": {"id": "", "job_id": ""}}), Ambiguous),
    ("200 id that is none", says(200, {"id": {"a": 1}, "data": {"id": [1], "job_id": None}}), Ambiguous),
    ("500", says(500, "oops"), Ambiguous),
    ("501", says(501), Ambiguous),
    ("502", says(502, "<html>Bad Gateway</html>"), Ambiguous),
    ("503", says(503, "busy"), Ambiguous),
    ("503 with an unreadable Retry-After", says(503, "busy", {"Retry-After": "soon"}), Ambiguous),
    ("503 with Retry-After", says(503, "busy", {"Retry-After": "7"}), Refused),
    ("504", says(504, {"message": "generation did not finish", "statusCode": 504}), Ambiguous),
    ("520", says(520), Ambiguous),
    ("429", says(429, {"message": "slow down"}), Refused),
    ("400", says(400, {"message": "bad image"}), Rejected),
    ("404", says(404, "<html>no such page</html>"), Rejected),
    ("405", says(405), Rejected),
    ("408", says(408), Ambiguous),
    ("409", says(409), Rejected),
    ("413", says(413), Rejected),
    ("422", says(422, {"detail": [{"msg": "duration"}]}), Rejected),
    ("422 cut off", cut_refusal, Rejected),
    ("499", says(499), Ambiguous),
    ("401", says(401, {"message": "no such key"}), Denied),
    ("402", says(402), Denied),
    ("403", says(403, {"message": "out of credits"}), Denied),
    ("300", moved(300, "/elsewhere"), Ambiguous),
    ("301 elsewhere", moved(301, "/jobs/1"), Ambiguous),
    ("302 elsewhere", moved(302, "/jobs/1"), Ambiguous),
    ("302 nowhere", says(302), Ambiguous),
    ("302 unreadable", moved(302, "http://["), Ambiguous),
    ("303", moved(303, "/jobs/1"), Ambiguous),
    ("307", moved(307, "/elsewhere"), Denied),
    ("308", moved(308, "/elsewhere"), Denied),
]


@each_provider
@pytest.mark.parametrize(("behaviour", "meaning"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_one_post_arrives_and_its_fate_is_classified(provider: str, behaviour: Behaviour, meaning: type[Any]) -> None:
    outcome, server = post(provider, behaviour)
    assert type(outcome) is meaning, outcome
    assert len(server.received) == 1  # sent once, and no redirect was followed
    assert server.connections == 1
    assert outcome.reason
    assert KEY not in str(outcome)


@each_provider
def test_an_accepted_job_is_known_by_its_id(provider: str) -> None:
    for status in (200, 201, 202):
        outcome, server = post(provider, says(status, ACCEPTED_BODY[provider]))
        reported = {"shortapi": Money.usd("0.425"), "aimlapi": Money.usd("0.7875"), "wavespeed": None}[provider]
        assert outcome == Accepted("job-1", reported)
        (request,) = server.posts
        expected = PATHS.get(provider, "/api/v3/alibaba/wan-2.6/image-to-video-flash")
        assert request.target == expected
        assert json.loads(request.body) == BODY
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["content-type"] == "application/json"
        assert request.headers.get("x-client-request-id") == ("attempt-1" if provider == "aimlapi" else None)


@each_provider
def test_a_gzipped_answer_is_read(provider: str) -> None:
    data = gzip.compress(json.dumps(ACCEPTED_BODY[provider]).encode())
    outcome, _ = post(provider, says(200, data, {"Content-Encoding": "gzip"}))
    assert isinstance(outcome, Accepted)


# --- nothing left this machine ---


@each_provider
@pytest.mark.parametrize("base_url", ["http://nowhere.invalid", "http://127.0.0.1:{closed}", "https://{not_tls}"])
def test_what_never_left_may_be_sent_again(provider: str, base_url: str) -> None:
    async def run() -> tuple[SubmitOutcome, TinyServer]:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it, and it refuses
            async with serving(says(200, "no TLS here"), read_requests=False) as server:
                port = unused.getsockname()[1]
                url = base_url.format(closed=port, not_tls=server.url.removeprefix("http://"))
                async with client_of(provider, url) as client:
                    return await client.submit(MODEL_OF[provider], BODY, "attempt-1"), server

    outcome, server = asyncio.run(run())
    assert isinstance(outcome, NotSent), outcome
    assert outcome.reason
    assert server.received == []


def test_waiting_in_vain_for_a_connection_sends_nothing() -> None:
    async def run() -> tuple[SubmitOutcome, SubmitOutcome, int]:
        async with serving(hang) as server:
            patience = type(QUICK)(read_s=1.0, pool_s=0.1)
            async with client_of("shortapi", server.url, patience=patience, max_in_flight=1) as client:
                first = asyncio.create_task(client.submit(MODEL_OF["shortapi"], BODY, "attempt-1"))
                while not server.received:
                    await asyncio.sleep(0.01)
                second = await client.submit(MODEL_OF["shortapi"], BODY, "attempt-2")
                return await first, second, len(server.posts)

    first, second, posts = asyncio.run(run())
    assert (type(first), type(second), posts) == (Ambiguous, NotSent, 1)


# --- connections ---


@each_provider
def test_a_server_that_drops_idle_connections_makes_no_post_ambiguous(provider: str) -> None:
    """It answers once, then resets whatever else is written on the connection, as a proxy does whose idle time is over."""

    async def once(wire: Wire) -> None:
        await wire.answer(200, ACCEPTED_BODY[provider])
        if await wire.reader.read(1):
            wire.reset()

    async def run() -> None:
        async with serving(once) as server:
            async with client_of(provider, server.url) as client:
                for number in range(3):
                    outcome = await client.submit(MODEL_OF[provider], BODY, f"attempt-{number}")
                    assert isinstance(outcome, Accepted)
            assert [request.connection for request in server.posts] == [1, 2, 3]

    asyncio.run(run())


def test_a_refusal_before_the_body_was_read_is_a_refusal() -> None:
    async def run() -> SubmitOutcome:
        async with serving(says(413, {"message": "too large"}), read_requests=False) as server:
            async with client_of("aimlapi", server.url) as client:
                return await client.submit(MODEL_OF["aimlapi"], {"image_url": "data:" + "A" * (2 << 20)}, "attempt-1")

    outcome = asyncio.run(run())
    # What the answer was can be lost with the connection; then it is unsure, and never "not sent".
    assert type(outcome) in (Rejected, Ambiguous), outcome


def test_a_cancelled_post_passes_the_cancellation_on() -> None:
    async def run() -> int:
        async with serving(hang) as server:
            async with client_of("shortapi", server.url, patience=type(QUICK)()) as client:
                task = asyncio.create_task(client.submit(MODEL_OF["shortapi"], BODY, "attempt-1"))
                while not server.received:
                    await asyncio.sleep(0.01)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            return len(server.posts)

    assert asyncio.run(run()) == 1


def test_a_transport_that_breaks_in_an_unforeseen_way_leaves_the_post_ambiguous() -> None:
    import httpx

    class Broken(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise ZeroDivisionError("in somebody's code")

    async def run() -> SubmitOutcome:
        limits = PROVIDERS["shortapi"].lowest_tier_limits
        async with connect("shortapi", "http://simulator.invalid", SecretStr(KEY), limits, Broken()) as client:
            return await client.submit(MODEL_OF["shortapi"], BODY, "attempt-1")

    outcome = asyncio.run(run())
    assert isinstance(outcome, Ambiguous)
    assert "ZeroDivisionError" in outcome.reason


# --- the address has moved ---


@pytest.mark.parametrize(
    ("status", "same_path", "meaning"), [(301, True, Denied), (302, True, Denied), (302, False, Ambiguous)]
)
def test_only_a_redirect_to_the_same_path_elsewhere_says_that_nothing_was_done(
    status: int, same_path: bool, meaning: type[Any]
) -> None:
    to = f"https://api.elsewhere.test{PATHS['shortapi'] if same_path else '/login'}?token=secret"
    if same_path:
        to = to.partition("?")[0]
    outcome, server = post("shortapi", moved(status, to))
    assert type(outcome) is meaning
    assert "https://api.elsewhere.test" in outcome.reason
    assert "secret" not in outcome.reason
    assert len(server.received) == 1


# --- waits ---


@pytest.mark.parametrize(
    ("header", "wait_s"), [(None, None), ("0", 0), ("12", 12), ("-3", None), ("1.5", None), ("", None)]
)
def test_a_refusal_says_how_long_to_wait(header: str | None, wait_s: float | None) -> None:
    outcome, _ = post(
        "wavespeed", says(429, {"message": "slow"}, {"Retry-After": header} if header is not None else {})
    )
    assert isinstance(outcome, Refused)
    assert outcome.retry_after_s == wait_s


def test_a_wait_may_be_given_as_a_date() -> None:
    now = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
    assert retry_after_s(format_datetime(now + timedelta(seconds=90), usegmt=True), now) == 90
    assert retry_after_s(format_datetime(now - timedelta(hours=1), usegmt=True), now) == 0
    assert retry_after_s("Fri, 20 Nov 2026 08:01:00 -0000", now) == 60
    for nonsense in ("soon", "Fri, 99 Nov 2026 08:01:00 GMT", "٣", "9" * 400):
        assert retry_after_s(nonsense, now) is None


# --- our own mistakes ---


@pytest.mark.parametrize("key", ["", "  ", "with\nnewline", "schlüssel", "nul\0"])
def test_a_key_that_cannot_be_one_is_told_without_showing_it(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        client_of("aimlapi", "http://127.0.0.1:1", key)
    assert "aimlapi" in str(caught.value)
    assert not key.strip() or key not in str(caught.value)


def test_a_key_copied_with_its_line_end_is_the_key() -> None:
    outcome, server = post("aimlapi", says(200, ACCEPTED_BODY["aimlapi"]), key=f" {KEY}\n")
    assert isinstance(outcome, Accepted)
    assert server.posts[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("attempt_id", ["", "a b", "a/b", "é", "x" * 129, "a\r\nX-Evil: 1"])
def test_an_attempt_id_that_aimlapi_would_drop_is_never_sent(attempt_id: str) -> None:
    async def run() -> int:
        async with serving(says(200, ACCEPTED_BODY["aimlapi"])) as server:
            async with client_of("aimlapi", server.url) as client:
                with pytest.raises(ValueError, match="attempt id"):
                    await client.submit(MODEL_OF["aimlapi"], BODY, attempt_id)
            return len(server.received)

    assert asyncio.run(run()) == 0


def test_another_providers_model_is_never_sent() -> None:
    async def run() -> None:
        async with client_of("wavespeed", "http://127.0.0.1:1") as client:
            with pytest.raises(ValueError, match="not bought from wavespeed"):
                await client.submit(MODEL_OF["shortapi"], BODY, "attempt-1")

    asyncio.run(run())


def test_an_unknown_provider_or_base_url_is_a_mistake_of_the_configuration() -> None:
    limits = PROVIDERS["shortapi"].lowest_tier_limits
    with pytest.raises(ConfigurationError, match="wavespeed"):
        connect("wavspeed", "http://127.0.0.1:1", SecretStr(KEY), limits)
    with pytest.raises(ConfigurationError, match="http"):
        connect("wavespeed", "api.wavespeed.ai", SecretStr(KEY), limits)
