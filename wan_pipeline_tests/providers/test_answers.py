"""Answers are read as documented, and in every odd shape that the providers are known to give them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from wan_pipeline.money import ZERO, Money
from wan_pipeline.providers.base import (
    Accepted,
    Ambiguous,
    Denied,
    Failed,
    InProgress,
    PollError,
    PollOutcome,
    Refused,
    Rejected,
    SubmitOutcome,
    Succeeded,
)
from wan_pipeline_tests.providers.tiny_server import ACCEPTED_BODY, KEY, MODEL_OF, Behaviour, client_of, says, serving

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
A_DAY_ON, A_WEEK_ON = NOW + timedelta(days=1), NOW + timedelta(days=7)
URL = "https://cdn.test/a/video.mp4?Expires=1&Signature=abc%3D"


def submit(provider: str, body: Any, headers: dict[str, str] | None = None) -> SubmitOutcome:
    async def run() -> SubmitOutcome:
        async with serving(says(200, body, headers)) as server, client_of(provider, server.url) as client:
            return await client.submit(MODEL_OF[provider], {}, "attempt-1")

    return asyncio.run(run())


def poll(provider: str, body: Any) -> PollOutcome:
    return poll_with(provider, says(200, body))


def poll_with(provider: str, behaviour: Behaviour) -> PollOutcome:
    async def run() -> PollOutcome:
        async with serving(behaviour) as server, client_of(provider, server.url, clock=lambda: NOW) as client:
            return await client.poll(MODEL_OF[provider], "job-1")

    return asyncio.run(run())


# --- submissions ---


@pytest.mark.parametrize(
    ("amount", "reported", "noted"),
    [
        ("0.02", Money.usd("0.02"), False),
        ("0", ZERO, False),
        (" 1.275 ", Money.usd("1.275"), False),
        (0.425, Money.usd("0.425"), False),  # a JSON number, which never becomes a float
        ("0.00000000001", Money(1), False),  # finer than a nano-dollar: up, never down
        (3, Money.usd(3), False),
        (None, None, False),
        ("", None, False),
        ("free", None, True),
        ("-1", None, True),
        ("1e400", None, True),
        ("NaN", None, True),
        (True, None, True),
        ({"usd": 1}, None, True),
    ],
)
def test_shortapis_amount_is_dollars_or_unknown(amount: Any, reported: Money | None, noted: bool) -> None:
    outcome = submit("shortapi", {"code": 0, "data": {"amount": amount, "job_id": "j-1"}})
    assert isinstance(outcome, Accepted)
    assert (outcome.provider_job_id, outcome.reported) == ("j-1", reported)
    assert bool(outcome.note) is noted


@pytest.mark.parametrize(
    "body",
    [
        {"code": 0, "job_id": "j-1"},  # where its own samples look for it
        {"code": "0", "data": {"job_id": "j-1"}},
        {"data": {"job_id": "j-1"}},
        {"code": 0, "data": {"job_id": "j-1", "amount": None}, "message": "ok"},
    ],
)
def test_shortapis_job_id_is_found_wherever_it_stands(body: Any) -> None:
    assert submit("shortapi", body) == Accepted("j-1")


@pytest.mark.parametrize("provider", ["shortapi", "wavespeed"])
@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (401, Denied),
        (403, Denied),
        ("403", Denied),
        (402, Denied),
        (429, Refused),
        (400, Rejected),
        (1001, Rejected),
        (-1, Rejected),
        ("E42", Rejected),
    ],
)
def test_an_error_code_inside_a_200_is_a_refusal_in_the_providers_words(
    provider: str, code: Any, meaning: type[Any]
) -> None:
    outcome = submit(provider, {"code": code, "message": "the image cannot be used", "data": None})
    assert type(outcome) is meaning
    assert "the image cannot be used" in outcome.reason
    assert str(code) in outcome.reason


@pytest.mark.parametrize("provider", ["shortapi", "wavespeed"])
@pytest.mark.parametrize("code", ["success", "OK", "", 204, "299", True, [], {"value": 0}])
def test_a_code_that_may_mean_success_is_no_sure_no(provider: str, code: Any) -> None:
    outcome = submit(provider, {"code": code, "message": "fine", "result": {"task": "somewhere else"}})
    assert isinstance(outcome, Ambiguous), outcome


@pytest.mark.parametrize(
    ("provider", "body"),
    [("shortapi", {"code": 500, "data": {"job_id": "j-1"}}), ("wavespeed", {"code": 500, "data": {"id": "j-1"}})],
)
def test_an_error_code_together_with_a_job_id_is_unsure(provider: str, body: Any) -> None:
    outcome = submit(provider, body)
    assert isinstance(outcome, Ambiguous)
    assert "j-1" in outcome.reason


@pytest.mark.parametrize(
    ("meta", "headers", "reported"),
    [
        ({"usage": {"credits_used": 1575000}}, {}, "0.7875"),
        ({"usage": {"credits_used": 1}}, {}, "0.0000005"),
        ({"usage": {"credits_used": 0.5}}, {}, "0.00000025"),
        ({"usage": {"credits_used": 0}}, {}, "0"),
        ({"usage": {"credits_used": 1575000}}, {"x-aimlapi-credits-used": "7"}, "0.7875"),
        (None, {"x-aimlapi-credits-used": "1575000"}, "0.7875"),
        ({"usage": None}, {"x-aimlapi-usd-spent": "0.7875"}, "0.7875"),
        ({}, {}, None),
        ({"usage": {"credits_used": "many"}}, {}, None),
    ],
)
def test_aimlapis_credits_are_read_at_submission_and_never_through_a_float(
    meta: Any, headers: dict[str, str], reported: str | None
) -> None:
    outcome = submit("aimlapi", {"id": "V2cdWP9kao8xiofM-OvwG", "status": "queued", "meta": meta}, headers)
    assert isinstance(outcome, Accepted)
    assert outcome.provider_job_id == "V2cdWP9kao8xiofM-OvwG"
    assert outcome.reported == (None if reported is None else Money.usd(reported))


def test_aimlapis_id_is_taken_from_the_header_where_the_body_lacks_it() -> None:
    assert submit("aimlapi", {"status": "queued"}, {"X-Inference-Id": "inf-1"}) == Accepted("inf-1")


def test_an_id_that_could_not_be_asked_about_is_none() -> None:
    for job_id in ("a b", "a\nb", "é", "x" * 201, True, 1.5, ["j"], f"x{KEY}"):
        assert isinstance(submit("aimlapi", {"id": job_id, "status": "queued"}), Ambiguous)
    assert submit("aimlapi", {"id": 77, "status": "queued"}) == Accepted("77")


# --- polls ---


@pytest.mark.parametrize("provider", ["shortapi", "aimlapi", "wavespeed"])
def test_a_poll_asks_at_the_documented_address(provider: str) -> None:
    async def run() -> None:
        async with serving(says(200, ACCEPTED_BODY[provider])) as server, client_of(provider, server.url) as client:
            await client.poll(MODEL_OF[provider], "job/1 &?")
        (request,) = server.gets
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.target == {
            "shortapi": "/api/v1/job/query?id=job%2F1%20%26%3F",
            "aimlapi": "/v2/video/generations?generation_id=job%2F1%20%26%3F",
            "wavespeed": "/api/v3/predictions/job%2F1%20%26%3F/result",
        }[provider].replace("%20", "+" if "+" in request.target else "%20")

    asyncio.run(run())


def shortapi(status: Any, **data: Any) -> Any:
    return {"code": 0, "data": {"status": status, **data}}


@pytest.mark.parametrize("status", [2, "2", "succeeded", "SUCCEEDED"])
@pytest.mark.parametrize(
    "result",
    [
        {"images": [{"url": URL}]},
        {"videos": [{"url": URL}]},
        {"images": [], "videos": [{"url": URL}]},
        {"videos": None, "images": [{"url": URL}]},
        {"videos": [URL]},
        {"video": {"url": URL}},
        [{"url": URL}],
        URL,
    ],
)
def test_shortapis_result_is_found_under_images_and_under_videos(status: Any, result: Any) -> None:
    assert poll("shortapi", shortapi(status, result=result)) == Succeeded(URL, expires_at=A_DAY_ON)


@pytest.mark.parametrize("status", [0, 1, "0", "1", "processing"])
def test_shortapis_job_in_progress(status: Any) -> None:
    outcome = poll("shortapi", shortapi(status))
    assert isinstance(outcome, InProgress)
    assert outcome.note == ""


@pytest.mark.parametrize("status", [3, "3", "failed"])
def test_shortapis_failed_job_says_nothing_of_what_it_cost(status: Any) -> None:
    outcome = poll("shortapi", shortapi(status, message="content policy"))
    assert isinstance(outcome, Failed)
    assert "content policy" in outcome.reason
    assert outcome.reported is None


@pytest.mark.parametrize("status", [4, -1, "archived", 2.5])
def test_an_unknown_status_is_polled_on_and_told(status: Any) -> None:
    outcome = poll("shortapi", shortapi(status))
    assert isinstance(outcome, InProgress)
    assert str(status) in outcome.note
    assert isinstance(poll("aimlapi", {"id": "j", "status": str(status)}), InProgress)
    assert isinstance(poll("wavespeed", {"code": 200, "data": {"id": "j", "status": str(status)}}), InProgress)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"id": "j", "status": "queued", "meta": {"usage": {"credits_used": 5}}}, InProgress("queued")),
        ({"id": "j", "status": "generating"}, InProgress("generating")),
        ({"id": "j", "status": "completed", "video": {"url": URL}}, Succeeded(URL, expires_at=A_DAY_ON)),
        (
            {"id": "j", "status": "completed", "video": {"url": URL}, "meta": {"usage": {"credits_used": 2000000}}},
            Succeeded(URL, Money.usd(1), expires_at=A_DAY_ON),
        ),
        (
            {"id": "j", "status": "error", "video": None, "error": {"name": "Bad", "message": "no face"}},
            Failed("aimlapi says the generation failed: Bad: no face", ZERO),
        ),
        (
            {"id": "j", "status": "error", "error": None},
            Failed("aimlapi says the generation failed: without a word", ZERO),
        ),
    ],
)
def test_aimlapis_answers_to_a_poll(body: Any, expected: PollOutcome) -> None:
    assert poll("aimlapi", body) == expected


def wavespeed(status: str, **data: Any) -> Any:
    return {"code": 200, "message": "success", "data": {"id": "j", "status": status, **data}}


@pytest.mark.parametrize(
    "outputs", [[URL], URL, {"0": URL}, {"video": URL}, {"urls": [URL]}, ["", URL], [{"url": URL}]]
)
def test_wavespeeds_outputs_are_a_list_a_url_or_an_object(outputs: Any) -> None:
    answer = poll("wavespeed", wavespeed("completed", outputs=outputs, timings={"inference": 61500}))
    assert answer == Succeeded(URL, None, 61.5, A_WEEK_ON)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("created", InProgress("created")),
        ("processing", InProgress("processing")),
        ("failed", Failed("wavespeed says failed: out of memory", ZERO)),
        ("cancelled", Failed("wavespeed says cancelled: out of memory", None)),
        ("timeout", Failed("wavespeed says timeout: out of memory", None)),
        ("deleted", Failed("wavespeed says deleted: out of memory", None)),
    ],
)
def test_wavespeeds_statuses(status: str, expected: PollOutcome) -> None:
    assert poll("wavespeed", wavespeed(status, outputs=[], error="out of memory")) == expected


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        ("shortapi", shortapi(2, result={"images": []})),
        ("shortapi", shortapi(2, result={"images": [{"url": "ftp://cdn.test/a.mp4"}]})),
        ("shortapi", shortapi(2)),
        ("aimlapi", {"id": "j", "status": "completed", "video": None}),
        ("aimlapi", {"id": "j", "status": "completed", "video": {"url": "javascript:alert(1)"}}),
        ("aimlapi", {"id": "j", "status": "completed", "video": {"url": "/relative.mp4"}}),
        ("wavespeed", wavespeed("completed", outputs=[], has_nsfw_contents=[True])),
        ("wavespeed", wavespeed("completed", outputs=None, has_nsfw_contents=True)),
        ("wavespeed", wavespeed("completed", outputs=["file:///etc/passwd"])),
    ],
)
def test_a_complete_job_without_a_fetchable_url_is_asked_again_and_told(provider: str, body: Any) -> None:
    outcome = poll(provider, body)
    assert isinstance(outcome, PollError)
    assert "no URL" in outcome.reason
    assert not outcome.gone


@pytest.mark.parametrize("provider", ["shortapi", "aimlapi", "wavespeed"])
@pytest.mark.parametrize(
    "body", [[], None, "text", 5, {}, {"data": None}, {"data": []}, {"status": None}, '{"data":' * 900]
)
def test_a_poll_that_makes_no_sense_is_only_a_poll_that_failed(provider: str, body: Any) -> None:
    assert isinstance(poll(provider, body), PollError)


@pytest.mark.parametrize("provider", ["shortapi", "wavespeed"])
def test_an_error_code_in_a_poll_fails_the_poll_and_not_the_job(provider: str) -> None:
    assert poll(provider, {"code": 500, "message": "busy"}) == PollError(f"{provider} answered code 500: busy")
    outcome = poll(provider, {"code": 404, "message": "no such job"})
    assert isinstance(outcome, PollError)
    assert outcome.gone
