"""ShortAPI: its shapes, its prices, and what its three documents refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wan_pipeline_tests.simulator.world import World, accepted, clip, picture, sound

I2V = "alibaba/wan-2.6/image-to-video"
R2V = "alibaba/wan-2.6/reference-to-video"
I2V27 = "alibaba/wan-2.7/image-to-video"
IMAGE, CLIP, AUDIO = "http://bucket.test/cat.jpg", "http://bucket.test/a.mp4", "http://bucket.test/a.wav"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.source.put("a.mp4", clip())
    world.source.put("a.wav", sound())
    return world


def test_a_job_goes_from_created_through_its_statuses_to_the_documented_result(world: World):
    created = world.shortapi(duration=5, resolution="720P", audio=False)
    assert created.status_code == 200
    body = created.json()
    assert set(body) == {"code", "data"} and set(body["data"]) == {"amount", "job_id"}
    assert body["code"] == 0 and body["data"]["amount"] == "0.425"
    job_id = body["data"]["job_id"]

    def query() -> dict[str, Any]:
        return world.http.get("/api/v1/job/query", params={"id": job_id}).json()

    assert query() == {"code": 0, "data": {"status": 0}}
    world.clock.now += 1
    assert query() == {"code": 0, "data": {"status": 1}}
    world.finish()
    answer = query()
    assert answer["code"] == 0 and answer["data"]["status"] == 2
    [item] = answer["data"]["result"]["images"]
    assert item["url"].startswith("http://sim.test/files/") and "Expires=" in item["url"]
    assert answer == query(), "a poll gives the same URL again"


def test_reference_to_video_gives_its_result_under_videos(world: World):
    created = world.shortapi(R2V, prompt="@Video1 dances", video_urls=[CLIP], duration=2)
    job_id = accepted(created)
    world.finish()
    result = world.http.get("/api/v1/job/query", params={"id": job_id}).json()["data"]["result"]
    assert set(result) == {"videos"}


@pytest.mark.parametrize(
    ("model", "args", "amount", "nanos"),
    [
        (I2V, {}, "0.64", 640_000_000),
        (I2V, {"duration": 10, "resolution": "720P"}, "0.85", 850_000_000),
        (I2V, {"duration": 15, "resolution": "1080P", "audio": True}, "1.92", 1_920_000_000),
        (R2V, {"prompt": "x", "video_urls": [CLIP]}, "0.64", 640_000_000),
        (R2V, {"prompt": "x", "video_urls": [CLIP], "duration": 7, "resolution": "720p"}, "0.595", 595_000_000),
        (I2V27, {"first_frame_image": IMAGE}, "0.425", 425_000_000),
        (I2V27, {"first_frame_image": IMAGE, "duration": 13, "resolution": "720p"}, "1.105", 1_105_000_000),
    ],
)
def test_it_charges_what_the_documents_say(world: World, model: str, args: dict[str, Any], amount: str, nanos: int):
    assert world.shortapi(model, **args).json()["data"]["amount"] == amount
    assert [entry.nanos for entry in world.books.charges()] == [nanos]
    assert world.books.total_nanos() == nanos


I2V_REFUSED: list[dict[str, Any]] = [
    {"duration": 6},
    {"duration": "5"},
    {"duration": 5.0},
    {"duration": True},
    {"resolution": "720p"},
    {"resolution": "480P"},
    {"audio": "false"},
    {"prompt_extend": 1},
    {"shot_type": "double"},
    {"seed": 3},
    {"prompt": "x" * 1501},
    {"prompt": ""},
    {"prompt": None},
    {"prompt": 5},
    {"negative_prompt": "x" * 501},
    {"audio_url": None},
    {"image_url": "cat.jpg"},
    {"image_url": "ftp://bucket.test/cat.jpg"},
    {"image_url": "data:image/jpeg;base64,AAAA"},
    {"image_url": [IMAGE]},
    {"prompt": "a cat [refuse]"},
]
R2V_REFUSED: list[dict[str, Any]] = [
    {"video_urls": []},
    {"video_urls": [CLIP] * 4},
    {"video_urls": CLIP},
    {"video_urls": [CLIP] * 2, "image_urls": [IMAGE] * 4},
    {"image_urls": [IMAGE] * 6},
    {"duration": 1},
    {"duration": 11},
    {"resolution": "720P"},
    {"prompt_extend": False},
    {"video_urls": [IMAGE]},
    {"image_urls": [CLIP]},
    {"prompt": "x" * 1501},
]
I2V27_REFUSED: list[dict[str, Any]] = [
    {},
    {"prompt": "x"},
    {"last_frame_image": IMAGE},
    {"driving_audio_url": AUDIO},
    {"last_frame_image": IMAGE, "driving_audio_url": AUDIO},
    {"first_clip_video_url": CLIP, "driving_audio_url": AUDIO},
    {"first_clip_video_url": CLIP, "first_frame_image": IMAGE},
    {"first_clip_video_url": CLIP, "last_frame_image": IMAGE, "driving_audio_url": AUDIO},
    {"first_frame_image": IMAGE, "duration": 1},
    {"first_frame_image": IMAGE, "duration": 16},
    {"first_frame_image": IMAGE, "resolution": "1080P"},
    {"first_frame_image": IMAGE, "audio": True},
    {"first_frame_image": IMAGE, "shot_type": "single"},
    {"first_frame_image": IMAGE, "prompt": "x" * 5001},
    {"first_frame_image": IMAGE, "negative_prompt": "x" * 501},
]
REFUSED = [
    *[(I2V, args) for args in I2V_REFUSED],
    *[(R2V, {"prompt": "x", "video_urls": [CLIP]} | args) for args in R2V_REFUSED],
    *[(I2V27, args) for args in I2V27_REFUSED],
    ("alibaba/wan-2.5/image-to-video", {}),
]


@pytest.mark.parametrize(("model", "args"), REFUSED)
def test_what_the_document_does_not_allow_is_refused_with_a_code_and_not_charged(
    world: World, model: str, args: dict[str, Any]
):
    answer = world.shortapi(model, **args)
    body = answer.json()
    assert answer.status_code == 200
    assert body["code"] != 0 and body["message"] and "data" not in body
    assert world.books.jobs() == [] and world.books.charges() == []
    assert world.books.posts() == {"shortapi": 1}


@pytest.mark.parametrize("missing", ["prompt", "image_url"])
def test_what_is_required_is_missed_by_name(world: World, missing: str):
    args = {"prompt": "x", "image_url": IMAGE}
    del args[missing]
    body = world.http.post("/api/v1/job/create", json={"model": I2V, "args": args}).json()
    assert body["code"] == 400 and f"args.{missing}" in body["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"[]",
        b'{"model": "x"}',
        b'{"model": "alibaba/wan-2.6/image-to-video", "args": {}, "webhook": "x"}',
        b'{"model": "alibaba/wan-2.6/image-to-video", "args": {"duration": NaN}}',
    ],
)
def test_a_body_of_another_form_is_refused(world: World, body: bytes):
    assert world.http.post("/api/v1/job/create", content=body).json()["code"] == 400


@pytest.mark.parametrize(
    "args",
    [
        {"first_frame_image": IMAGE},
        {"first_frame_image": IMAGE, "driving_audio_url": AUDIO},
        {"first_frame_image": IMAGE, "last_frame_image": IMAGE},
        {"first_frame_image": IMAGE, "last_frame_image": IMAGE, "driving_audio_url": AUDIO},
        {"first_clip_video_url": CLIP},
        {"first_clip_video_url": CLIP, "last_frame_image": IMAGE},
    ],
)
def test_each_of_the_six_combinations_of_wan_27_is_accepted_and_fetched(world: World, args: dict[str, str]):
    assert accepted(world.shortapi(I2V27, **args))
    assert sorted(fetch.field for fetch in world.books.fetches()) == sorted(args)
    assert sorted(fetch.url for fetch in world.books.fetches()) == sorted(args.values())


def test_a_full_set_of_references_is_accepted_and_each_is_fetched(world: World):
    images = [world.source.put(f"{n}.png", picture(240 + n, 240, "PNG")) for n in range(2)]
    assert accepted(world.shortapi(R2V, prompt="x", video_urls=[CLIP] * 3, image_urls=images))
    assert world.source.asked == {"a.mp4": 3, "0.png": 1, "1.png": 1}


@pytest.mark.parametrize("headers", [{"Authorization": ""}, {"Authorization": "Bearer "}, {"Authorization": "Basic x"}])
def test_without_a_key_nothing_is_answered(world: World, headers: dict[str, str]):
    for answer in (
        world.http.post("/api/v1/job/create", json={}, headers=headers),
        world.http.get("/api/v1/job/query?id=x", headers=headers),
    ):
        assert answer.status_code == 401 and answer.json()["code"] == 401 and answer.json()["message"]


def test_an_unknown_job_is_an_error_code(world: World):
    answer = world.http.get("/api/v1/job/query", params={"id": "nobody"})
    assert answer.status_code == 200 and answer.json()["code"] == 404


def test_a_failed_job_is_charged_at_first_and_refunded_when_it_fails(world: World):
    job_id = accepted(world.shortapi(prompt="a cat [fail]"))
    assert world.books.total_nanos() == 640_000_000 and world.books.refunds() == []
    world.finish()
    assert world.http.get("/api/v1/job/query", params={"id": job_id}).json()["data"] == {"status": 3}
    assert world.books.total_nanos() == 0
    assert [entry.nanos for entry in world.books.refunds()] == [640_000_000]
    assert len(world.books.charges()) == 1
