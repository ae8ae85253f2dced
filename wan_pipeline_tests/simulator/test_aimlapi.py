"""AI/ML API: its shapes, headers and prices, and what its schema refuses."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from wan_pipeline_tests.simulator.world import World, accepted, picture, sound

IMAGE, AUDIO = "http://bucket.test/cat.jpg", "http://bucket.test/a.wav"
PATH = "/v2/video/generations"
SCHEMA = Path(__file__).parents[3] / "shared/providers/aimlapi/wan2.6-i2v.json"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.source.put("a.wav", sound())
    return world


def test_a_generation_goes_from_queued_with_its_credits_to_completed_without_them(world: World):
    created = world.aimlapi(resolution="1080p", duration=5)
    assert created.status_code == 200
    generation_id = created.json()["id"]
    assert created.json() == {"id": generation_id, "status": "queued", "meta": {"usage": {"credits_used": 1575000}}}
    assert created.headers["x-inference-id"] == generation_id
    assert created.headers["x-aimlapi-credits-used"] == "1575000"
    assert created.headers["x-aimlapi-usd-spent"] == "0.7875"

    def get() -> dict[str, Any]:
        return world.http.get(PATH, params={"generation_id": generation_id}).json()

    assert get() == {"id": generation_id, "status": "queued"}
    world.clock.now += 1
    assert get() == {"id": generation_id, "status": "generating"}
    world.finish()
    answer = get()
    assert set(answer) == {"id", "status", "video"} and answer["status"] == "completed"
    assert answer["video"]["url"].startswith("http://sim.test/files/") and "Expires=" in answer["video"]["url"]


@pytest.mark.skipif(not SCHEMA.exists(), reason="shared/providers is not beside the checkout")
def test_every_answer_validates_against_the_published_schema(world: World):
    import jsonschema

    document = json.loads(SCHEMA.read_text())
    operation = document["paths"][PATH]["post"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    for prompt in ("a cat", "a cat [fail]"):
        created = world.aimlapi(prompt=prompt)
        jsonschema.validate(created.json(), schema)
        for seconds in (0, 1, 10):
            world.clock.now += seconds
            answer = world.http.get(PATH, params={"generation_id": created.json()["id"]}).json()
            jsonschema.validate(answer, schema)


@pytest.mark.parametrize(
    ("body", "nanos"),
    [
        ({}, 1_575_000_000),
        ({"duration": 15, "resolution": "1080p"}, 2_362_500_000),
        ({"duration": 5, "resolution": "720p", "generate_audio": False}, 525_000_000),
    ],
)
def test_it_charges_by_the_second(world: World, body: dict[str, Any], nanos: int):
    credits_used = world.aimlapi(**body).json()["meta"]["usage"]["credits_used"]
    assert credits_used * 500 == nanos == world.books.total_nanos()


@pytest.mark.parametrize(
    "body",
    [
        {"duration": "5"},
        {"duration": 7},
        {"resolution": "720P"},
        {"generate_audio": "true"},
        {"audio": True},
        {"prompt_extend": True},
        {"enhance_prompt": 0},
        {"seed": "7"},
        {"seed": 7.5},
        {"shot_type": "both"},
        {"model": "alibaba/wan-2-5-i2v"},
        {"prompt": None},
        {"image_url": "cat.jpg"},
        {"image_url": "data:text/plain;base64,AAAA"},
        {"image_url": "data:image/png;base64,not base64"},
        {"image_url": "data:image/png;base64,AAAA"},
        {"audio_url": "data:audio/wav;base64,AAAA"},
        {"audio_url": IMAGE},
        {"prompt": "a cat [refuse]"},
    ],
)
def test_what_the_schema_does_not_allow_is_refused_in_its_style_and_not_charged(world: World, body: dict[str, Any]):
    answer = world.aimlapi(**body)
    assert answer.status_code == 400
    refusal = answer.json()
    assert set(refusal) == {"message", "path", "requestId", "statusCode", "timestamp"}
    assert refusal["path"] == PATH and refusal["statusCode"] == 400 and refusal["message"]
    assert world.books.jobs() == [] and world.books.charges() == []


@pytest.mark.parametrize("missing", ["model", "prompt", "image_url"])
def test_what_is_required_is_missed_by_name(world: World, missing: str):
    body = {"model": "alibaba/wan-2-6-i2v", "prompt": "x", "image_url": IMAGE}
    del body[missing]
    answer = world.http.post(PATH, json=body)
    assert answer.status_code == 400 and missing in answer.json()["message"]


def test_a_data_uri_is_accepted_as_the_image_and_its_data_stays_out_of_the_books(world: World):
    data = base64.b64encode(picture(kind="PNG")).decode()
    assert accepted(world.aimlapi(image_url=f"data:image/png;base64,{data}"))
    assert world.books.fetches() == []
    assert world.books.jobs()[0].body["image_url"] == "data:image/png;base64,…"


@pytest.mark.parametrize(
    ("sent", "recorded"),
    [
        ("attempt-1:A_b.C", "attempt-1:A_b.C"),
        ("x" * 128, "x" * 128),
        ("x" * 129, None),
        ("has space", None),
        ("semi;colon", None),
        (None, None),
    ],
)
def test_a_client_request_id_in_the_alphabet_is_recorded_and_any_other_is_silently_dropped(
    world: World, sent: str | None, recorded: str | None
):
    assert accepted(world.aimlapi(headers={} if sent is None else {"X-Client-Request-Id": sent}))
    assert [job.client_request_id for job in world.books.jobs()] == [recorded]
    assert [post.client_request_id for post in world.books.post_rows()] == [recorded]


def test_without_a_key_the_answer_is_a_401_in_its_style(world: World):
    for answer in (
        world.http.post(PATH, json={}, headers={"Authorization": ""}),
        world.http.get(PATH, params={"generation_id": "x"}, headers={"Authorization": ""}),
    ):
        assert answer.status_code == 401 and answer.json()["statusCode"] == 401 and answer.json()["requestId"]


def test_an_unknown_generation_path_or_method_is_told_in_its_style(world: World):
    for answer, status in (
        (world.http.get(PATH, params={"generation_id": "nobody"}), 404),
        (world.http.get(PATH), 400),
        (world.http.get("/v2/nothing"), 404),
        (world.http.request("DELETE", PATH), 405),
    ):
        assert answer.status_code == status == answer.json()["statusCode"]


def test_a_failed_generation_ends_in_error_and_is_refunded(world: World):
    generation_id = accepted(world.aimlapi(prompt="a cat [fail]"))
    world.finish()
    answer = world.http.get(PATH, params={"generation_id": generation_id}).json()
    assert answer["status"] == "error" and set(answer["error"]) == {"name", "message"}
    assert world.books.total_nanos() == 0


def test_a_job_of_one_provider_is_unknown_to_the_others(world: World):
    job_id = accepted(world.wavespeed())
    assert world.http.get(PATH, params={"generation_id": job_id}).status_code == 404
    assert world.http.get("/api/v1/job/query", params={"id": job_id}).json()["code"] == 404
