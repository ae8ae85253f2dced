"""ShortAPI: a callback's URL is the attempt's own and nobody's guess, and what it names is believed only after a poll."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import SecretStr

from wan_pipeline.providers.base import SearchResult, Sighting
from wan_pipeline.providers.callback import callback_url, is_genuine, job_ids_in
from wan_pipeline.providers.connect import PROVIDERS, connect
from wan_pipeline.providers.words import shown
from wan_pipeline_tests.providers.accounts import ShortApi, lost
from wan_pipeline_tests.providers.tiny_server import ACCEPTED_BODY, KEY, MODEL_OF, client_of, says, serving

BASE = "https://hooks.test/wan/"
SECRET = SecretStr(KEY)


def look(account: ShortApi, base: str | None = None, **about: Any) -> SearchResult:
    return account.look("shortapi", lost("shortapi", **about), callback_base_url=base)


def processing(job_id: str) -> dict[str, Any]:
    return {"code": 0, "data": {"job_id": job_id, "status": 1}}


def test_the_token_is_the_attempts_and_the_keys() -> None:
    url = callback_url(BASE, SECRET, "attempt-1")
    assert url.startswith("https://hooks.test/wan/shortapi/attempt-1/")
    token = url.rpartition("/")[2]
    assert len(token) == 64
    assert is_genuine(SECRET, "attempt-1", token)
    assert is_genuine(SecretStr(f" {KEY}\n"), "attempt-1", token)  # as the client reads it
    for key, attempt, wrong in (
        (SECRET, "attempt-2", token),
        (SecretStr("another-key"), "attempt-1", token),
        (SECRET, "attempt-1", token.upper()),
        (SECRET, "attempt-1", token[:-1]),
        (SECRET, "attempt-1", ""),
        (SECRET, "attempt-1", "é" * 64),
        (SECRET, "attempt-1", "\ud83d"),
    ):
        assert not is_genuine(key, attempt, wrong)


def test_a_token_is_in_nobodys_words() -> None:
    url = callback_url(BASE, SECRET, "attempt-1")
    token = url.rpartition("/")[2]
    for text in (
        f"cannot call {url}",
        f"path /shortapi/attempt-1/{token}: 404",
        f"to=%2Fshortapi%2Fattempt-1%2F{token}",
    ):
        assert token not in shown(text)
        assert "attempt-1" in shown(text)


def test_shortapi_is_given_the_url_where_there_is_one_and_nobody_else_is() -> None:
    async def sent(provider: str, base: str | None) -> dict[str, Any]:
        async with serving(says(200, ACCEPTED_BODY[provider])) as server:
            async with client_of(provider, server.url, callback_base_url=base) as client:
                await client.submit(MODEL_OF[provider], body, "attempt-1")
            return json.loads(server.posts[0].body)

    body = {"model": "m", "args": {"prompt": "A cat"}}
    assert asyncio.run(sent("shortapi", None)) == body
    assert asyncio.run(sent("shortapi", BASE)) == body | {"callback_url": callback_url(BASE, SECRET, "attempt-1")}
    assert asyncio.run(sent("aimlapi", BASE)) == body
    assert asyncio.run(sent("wavespeed", BASE)) == body
    assert body == {"model": "m", "args": {"prompt": "A cat"}}, "the frozen request was changed"


def test_connect_hands_the_address_on() -> None:
    limits = PROVIDERS["shortapi"].lowest_tier_limits

    async def sent() -> bytes:
        async with serving(says(200, ACCEPTED_BODY["shortapi"])) as server:
            async with connect("shortapi", server.url, SECRET, limits, callback_base_url=BASE) as client:
                await client.submit(MODEL_OF["shortapi"], {}, "attempt-1")
            return server.posts[0].body

    assert b"hooks.test" in asyncio.run(sent())


@pytest.mark.parametrize(
    ("payload", "ids"),
    [
        ({"code": 0, "data": {"job_id": "job-1", "status": 2}}, ["job-1"]),
        ({"job_id": "job-1", "data": {"id": "job-2"}}, ["job-1", "job-2"]),
        ({"id": 17}, ["17"]),
        ([{"jobId": "a"}, {"job": {"id": "a"}}], ["a"]),
        ({"data": {"result": {"images": [{"url": "https://x/y"}]}}}, []),
        ({"job_id": ["a"], "id": "two words", "data": {"id": None}}, []),
        ({"id": "x" * 300}, []),
        ([{"id": f"j{number}"} for number in range(50)], [f"j{number}" for number in range(10)]),
        ("job-1", []),
        (None, []),
    ],
)
def test_the_ids_that_a_payload_names(payload: Any, ids: list[str]) -> None:
    assert job_ids_in(payload) == ids


def test_a_payload_nested_beyond_reason_names_nothing() -> None:
    payload: Any = {"id": "j"}
    for _ in range(5000):
        payload = {"data": payload}
    assert job_ids_in(payload) == []


def test_a_hint_that_a_poll_knows_is_found() -> None:
    result = look(ShortApi(jobs={"job-1": processing("job-1")}), hints=["job-1", "job-1"])
    assert (result.sighting, result.provider_job_id) == (Sighting.FOUND, "job-1")


def test_a_hint_that_the_ledger_has_as_anothers_is_never_taken() -> None:
    result = look(ShortApi(jobs={"job-1": processing("job-1")}), hints=["job-1"], known={"job-1"})
    assert result.sighting is Sighting.UNSURE
    assert result.candidates == ()


def test_several_hints_that_polls_know_are_for_a_person() -> None:
    jobs = {each: processing(each) for each in ("job-1", "job-2")}
    result = look(ShortApi(jobs=jobs), hints=["job-1", "job-2", "job-3"])
    assert result.sighting is Sighting.UNSURE
    assert set(result.candidates) == {"job-1", "job-2"}


def test_a_hint_that_no_poll_knows_proves_nothing_either_way() -> None:
    result = look(ShortApi(), hints=["job-1"])
    assert (result.sighting, result.candidates) == (Sighting.UNSURE, ())


def test_a_hint_whose_poll_cannot_be_asked_now_is_asked_for_again_later() -> None:
    jobs = {"job-1": processing("job-1"), "job-2": {"code": 500, "message": "busy"}}
    result = look(ShortApi(jobs=jobs), hints=["job-1", "job-2"])
    assert result.sighting is Sighting.UNREACHABLE
    assert set(result.candidates) == {"job-1", "job-2"}


def test_without_a_hint_a_person_is_told_what_to_do() -> None:
    without, with_base = look(ShortApi()), look(ShortApi(), BASE)
    assert without.sighting is with_base.sighting is Sighting.UNSURE  # never absent: nobody promises a callback
    assert "WAN_PUBLIC_CALLBACK_URL" in without.testimonies[0].detail
    assert "no callback" in with_base.testimonies[0].detail
