"""Inputs: fetched by the URL given, read for real, held against the documents' limits; a bad one costs nothing."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from wan_pipeline_tests.simulator.world import SOURCE, World, accepted, clip, picture, sound

I2V27 = "alibaba/wan-2.7/image-to-video"
R2V = "alibaba/wan-2.6/reference-to-video"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def huge_png(width: int, height: int) -> bytes:
    """A PNG that says it is huge, and is small."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_each_submission_fetches_its_inputs_again_and_the_books_say_which_without_the_query(world: World):
    url = world.image + "?X-Amz-Signature=secret&X-Amz-Expires=60"
    for _ in range(3):
        assert accepted(world.wavespeed(image=url))
    assert world.source.asked["cat.jpg"] == 3
    fetches = world.books.fetches()
    assert [fetch.url for fetch in fetches] == [world.image] * 3
    assert [fetch.job_id for fetch in fetches] == [job.id for job in world.books.jobs()]
    assert all(fetch.size_bytes == len(picture()) and fetch.field == "image" for fetch in fetches)
    assert b"secret" not in (world.config.folder / "books.sqlite").read_bytes()
    assert b"secret" not in (world.config.folder / "books.sqlite-wal").read_bytes()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing.jpg", "HTTP 404"),
        ("loop", "TooManyRedirects"),
        ("empty.jpg", "empty"),
        ("text.png", "not an image"),
        ("truncated.jpg", "cannot be read"),
        ("huge.png", "too large"),
        ("bomb.png", "too large"),
        ("clip.mp4", "not an image"),
    ],
)
def test_an_input_that_cannot_be_read_is_refused_by_name_and_costs_nothing(world: World, name: str, said: str):
    world.source.put("empty.jpg", b"")
    world.source.put("text.png", b"This is no picture.")
    world.source.put("truncated.jpg", picture()[:-2000])
    world.source.put("huge.png", huge_png(20_000, 20_000))
    world.source.put("bomb.png", huge_png(50_000, 50_000))
    world.source.put("clip.mp4", clip())
    for _ in range(2):  # what is remembered of the bytes says the same
        message = world.wavespeed(image=f"{SOURCE}/{name}").json()["message"]
        assert message.startswith("image: ") and said in message
    assert world.books.jobs() == [] and world.books.charges() == []
    assert {post.outcome for post in world.books.post_rows()} == {"invalid"}


def test_a_refusal_does_not_repeat_the_signed_part_of_a_url(world: World):
    for url in (f"{SOURCE}/nothing.jpg?Signature=secret", "http://127.0.0.1:1/x?Signature=secret"):
        assert "secret" not in world.wavespeed(image=url).text


def test_a_redirect_is_followed(world: World):
    assert accepted(world.wavespeed(image=f"{SOURCE}/moved"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (picture(239, 240), "[240, 8000]"),
        (picture(8001, 1001), "[240, 8000]"),
        (picture(2400, 299), "aspect"),
        (picture(kind="GIF"), "gif"),
        (picture(kind="TIFF"), "tiff"),
        (picture(kind="PNG", mode="RGBA"), "alpha"),
        (picture(kind="PNG", mode="LA"), "alpha"),
    ],
)
def test_an_image_outside_the_limits_of_wan_27_is_refused(world: World, data: bytes, said: str):
    url = world.source.put("x", data)
    for args in ({"first_frame_image": url}, {"first_frame_image": world.image, "last_frame_image": url}):
        body = world.shortapi(I2V27, **args).json()
        assert body["code"] == 400 and said in body["message"], body
    assert world.books.total_nanos() == 0


@pytest.mark.parametrize(
    "data",
    [
        picture(240, 240),
        picture(1920, 240),
        picture(240, 1920),
        picture(kind="PNG"),
        picture(kind="BMP"),
        picture(kind="WEBP"),
        picture(kind="WEBP", mode="RGBA"),
        picture(mode="L"),
    ],
)
def test_an_image_within_the_limits_of_wan_27_is_accepted(world: World, data: bytes):
    assert accepted(world.shortapi(I2V27, first_frame_image=world.source.put("x", data)))


def test_models_whose_document_sets_no_limit_take_any_readable_image(world: World):
    for data in (picture(100, 100), picture(kind="PNG", mode="RGBA"), picture(kind="GIF"), picture(3000, 100)):
        url = world.source.put("x", data)
        for answer in (world.shortapi(image_url=url), world.aimlapi(image_url=url), world.wavespeed(image=url)):
            assert accepted(answer), answer.json()


@pytest.mark.parametrize(
    ("model", "args", "allowed"),
    [
        (I2V27, {"first_clip_video_url": clip(2)}, True),
        (I2V27, {"first_clip_video_url": clip(10, kind="mov")}, True),
        (I2V27, {"first_clip_video_url": clip(1.5)}, False),
        (I2V27, {"first_clip_video_url": clip(10.5)}, False),
        (I2V27, {"first_clip_video_url": clip(2, 236, 240)}, False),
        (I2V27, {"first_clip_video_url": clip(2, kind="webm")}, False),
        (I2V27, {"first_clip_video_url": clip(2)[:-900]}, False),
        (I2V27, {"first_clip_video_url": sound()}, False),
        (R2V, {"prompt": "x", "video_urls": [clip(1, 64, 64)]}, True),
        (R2V, {"prompt": "x", "video_urls": [clip(30, 64, 64)]}, True),
        (R2V, {"prompt": "x", "video_urls": [clip(0.5)]}, False),
        (R2V, {"prompt": "x", "video_urls": [clip(31, 64, 64)]}, False),
        (R2V, {"prompt": "x", "video_urls": [clip(1, kind="webm")]}, False),
        (R2V, {"prompt": "x", "video_urls": [clip()], "image_urls": [picture(239, 240)]}, False),
        (R2V, {"prompt": "x", "video_urls": [clip()], "image_urls": [picture(5001, 240)]}, False),
        (R2V, {"prompt": "x", "video_urls": [clip()], "image_urls": [picture(5000, 240)]}, True),
        (R2V, {"prompt": "x", "video_urls": [clip()], "image_urls": [picture(kind="PNG", mode="RGBA")]}, False),
        (I2V27, {"first_frame_image": picture(), "driving_audio_url": sound(2)}, True),
        (I2V27, {"first_frame_image": picture(), "driving_audio_url": sound(5, "mp3")}, True),
        (I2V27, {"first_frame_image": picture(), "driving_audio_url": sound(1.5)}, False),
        (I2V27, {"first_frame_image": picture(), "driving_audio_url": sound(31)}, False),
        (I2V27, {"first_frame_image": picture(), "driving_audio_url": sound(5, "mp4")}, False),
        (I2V27, {"first_frame_image": picture(), "driving_audio_url": b"RIFF....WAVE"}, False),
    ],
)
def test_clips_references_and_sounds_are_held_against_their_documents(
    world: World, model: str, args: dict[str, Any], allowed: bool
):
    served = {field: _served(world, field, value) for field, value in args.items()}
    answer = world.shortapi(model, **served)
    assert (accepted(answer) is not None) is allowed, answer.json()
    assert bool(world.books.charges()) is allowed


def _served(world: World, field: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return world.source.put(field, value)
    if isinstance(value, list):
        return [_served(world, f"{field}-{number}", item) for number, item in enumerate(value)]
    return value


def test_a_file_over_the_documents_size_is_refused_without_reading_all_of_it(world: World):
    url = world.source.put("big.wav", bytes(16 * 1024 * 1024))
    body = world.shortapi(I2V27, first_frame_image=world.image, driving_audio_url=url).json()
    assert body["code"] == 400 and "driving_audio_url" in body["message"] and "bytes" in body["message"]
