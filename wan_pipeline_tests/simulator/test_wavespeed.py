"""WaveSpeed: its shapes, its billing rules with the worked examples, and what its document refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wan_pipeline_tests.simulator.world import World, accepted, sound

PATH = "/api/v3/alibaba/wan-2.6/image-to-video-flash"
IMAGE, AUDIO = "http://bucket.test/cat.jpg", "http://bucket.test/a.wav"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.source.put("a.wav", sound())
    return world


def test_a_prediction_goes_from_created_to_completed_with_every_documented_field(world: World):
    created = world.wavespeed()
    assert created.status_code == 200
    envelope = created.json()
    assert set(envelope) == {"code", "message", "data"}
    assert envelope["code"] == 200 and envelope["message"] == "success"
    data = envelope["data"]
    prediction_id = data["id"]
    result_url = f"http://sim.test/api/v3/predictions/{prediction_id}/result"
    assert data == {
        "id": prediction_id,
        "model": "alibaba/wan-2.6/image-to-video-flash",
        "outputs": [],
        "urls": {"get": result_url},
        "has_nsfw_contents": [],
        "status": "created",
        "created_at": "2027-01-15T08:00:00.000Z",
        "error": "",
        "timings": {"inference": 0},
    }
    world.clock.now += 1
    assert world.http.get(result_url).json()["data"]["status"] == "processing"
    world.finish()
    done = world.http.get(result_url).json()
    assert done == world.http.get(f"/api/v3/predictions/{prediction_id}").json()
    assert done["data"]["status"] == "completed" and done["data"]["has_nsfw_contents"] == [False]
    assert done["data"]["timings"] == {"inference": 2000}
    [output] = done["data"]["outputs"]
    assert output.startswith("http://sim.test/files/")


@pytest.mark.parametrize(
    ("body", "nanos"),
    [
        ({"duration": 5, "resolution": "720p", "enable_audio": False}, 125_000_000),
        ({"duration": 10, "resolution": "720p", "enable_audio": True}, 500_000_000),
        ({"duration": 15, "resolution": "1080p", "enable_audio": True}, 1_125_000_000),
        ({"duration": 5, "resolution": "1080p", "enable_audio": False}, 187_500_000),
        ({}, 250_000_000),
        ({"duration": 3, "resolution": "1080p", "enable_audio": False}, 112_500_000),
        ({"audio": AUDIO}, 250_000_000),
        ({"audio": AUDIO, "enable_audio": False}, 125_000_000),
    ],
)
def test_it_charges_by_the_documents_rules_and_quotes_the_same(world: World, body: dict[str, Any], nanos: int):
    quoted = world.http.post("/api/v3/model/price", json={"model_id": PATH.removeprefix("/api/v3/"), "inputs": body})
    assert quoted.json()["data"] == {
        "model_id": "alibaba/wan-2.6/image-to-video-flash",
        "price": nanos / 1e9,
        "discounted_price": nanos / 1e9,
        "discount_rate": 0,
        "currency": "USD",
    }
    assert world.books.total_nanos() == 0, "a quote is free"
    assert accepted(world.wavespeed(**body))
    assert world.books.total_nanos() == nanos
    balance = world.http.get("/api/v3/balance").json()
    assert balance == {"code": 200, "message": "success", "data": {"balance": (10**12 - nanos) / 1e9}}


@pytest.mark.parametrize(
    "body",
    [
        {"duration": 1},
        {"duration": 16},
        {"duration": "5"},
        {"resolution": "480p"},
        {"resolution": "1080P"},
        {"seed": -2},
        {"seed": 2147483648},
        {"enable_audio": "true"},
        {"enable_audio": None},
        {"shot_type": "duo"},
        {"image_url": IMAGE},
        {"generate_audio": True},
        {"image": "data:image/png;base64,AAAA"},
        {"image": "http://"},
        {"audio": IMAGE},
        {"prompt": ""},
        {"prompt": "a cat [refuse]"},
    ],
)
def test_what_the_document_does_not_allow_is_refused_in_its_style_and_not_charged(world: World, body: dict[str, Any]):
    answer = world.wavespeed(**body)
    refusal = answer.json()
    assert answer.status_code == 400 == refusal["code"]
    assert set(refusal) == {"code", "message", "data"} and refusal["message"]
    assert world.books.jobs() == [] and world.books.charges() == []


@pytest.mark.parametrize("missing", ["image", "prompt"])
def test_what_is_required_is_missed_by_name(world: World, missing: str):
    body = {"image": IMAGE, "prompt": "x"}
    del body[missing]
    answer = world.http.post(PATH, json=body)
    assert answer.status_code == 400 and answer.json()["message"].startswith(missing)


def test_without_a_key_or_with_a_wrong_one_the_answer_is_a_401_in_its_style(tmp_path: Path):
    world = World(tmp_path, keys=frozenset({"key-1"}))
    assert accepted(world.wavespeed())
    for key in ("", "Bearer wrong"):
        headers = {"Authorization": key}
        for answer in (
            world.http.post(PATH, json={}, headers=headers),
            world.http.get("/api/v3/predictions/x/result", headers=headers),
            world.http.get("/api/v3/balance", headers=headers),
            world.http.post("/api/v3/model/price", json={}, headers=headers),
        ):
            assert answer.status_code == 401 == answer.json()["code"]
    assert world.books.posts() == {"wavespeed": 3}, "what is not allowed was received all the same"


def test_an_unknown_prediction_or_model_is_a_404_in_its_style(world: World):
    for answer in (
        world.http.get("/api/v3/predictions/nobody/result"),
        world.http.post("/api/v3/alibaba/wan-9/image-to-video", json={}),
        world.http.post("/api/v3/model/price", json={"model_id": "alibaba/wan-9"}),
    ):
        assert answer.status_code == 404 == answer.json()["code"]


def test_a_failed_prediction_says_why_and_is_refunded(world: World):
    prediction_id = accepted(world.wavespeed(prompt="a cat [fail]"))
    world.finish()
    data = world.http.get(f"/api/v3/predictions/{prediction_id}/result").json()["data"]
    assert data["status"] == "failed" and data["error"] and data["outputs"] == []
    assert world.books.total_nanos() == 0
