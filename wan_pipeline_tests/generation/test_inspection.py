"""Inspection asks a bucket on S3 for no more than it needs: requests and bytes are counted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from s3fs import S3FileSystem

from wan_pipeline.bucket import Bucket, open_bucket
from wan_pipeline.generation.inspection import Inspection, Inspector
from wan_pipeline.providers.catalog import find_model
from wan_pipeline.shots.discovery import discover
from wan_pipeline_tests.generation.house import png
from wan_pipeline_tests.media.samples import image_bytes, video_bytes
from wan_pipeline_tests.services.s3 import S3Server


class Asked:
    """What a bucket was asked for: the methods, and how many bytes came."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self.size_bytes = 0


@pytest.fixture
def bucket(moto_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    for name, value in moto_server.environment().items():
        monkeypatch.setenv(name, value)
    return open_bucket(f"s3://{moto_server.make_bucket()}")


@pytest.fixture
def inspected(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[Inspection, Asked]]:
    """The bucket's one shot inspected, and what that took."""

    def inspect() -> tuple[Inspection, Asked]:
        (shot,) = discover(bucket, None)
        asked = Asked()
        calls = S3FileSystem._call_s3  # type: ignore[attr-defined]

        async def counted(self: Any, method: str, *arguments: Any, **named: Any) -> Any:
            answer = await calls(self, method, *arguments, **named)
            asked.methods.append(method)
            asked.size_bytes += answer["ContentLength"] if method == "get_object" else 0
            return answer

        monkeypatch.setattr(S3FileSystem, "_call_s3", counted)

        async def work() -> Inspection:
            with ThreadPoolExecutor(2) as threads:
                return await Inspector(bucket, threads, find_model).inspect(shot)

        return asyncio.run(work()), asked

    return inspect


def an_image(bucket: Bucket, data: bytes) -> None:
    bucket.write("inbox/cat.png", data, "image/png")
    bucket.write("inbox/cat.yaml", b"model: wavespeed/wan-2.6-i2v-flash\nprompt: It looks up.\n", "text/yaml")


def test_an_image_is_read_once_in_one_request(
    bucket: Bucket, inspected: Callable[[], tuple[Inspection, Asked]]
) -> None:
    data = png()
    an_image(bucket, data)
    inspection, asked = inspected()
    assert inspection.problems == ()
    assert (asked.methods, asked.size_bytes) == (["get_object"], len(data))


def test_an_image_that_is_far_too_large_is_not_read_to_its_end(
    bucket: Bucket, inspected: Callable[[], tuple[Inspection, Asked]]
) -> None:
    an_image(bucket, image_bytes("PNG") + bytes(30_000_000))
    inspection, asked = inspected()
    (problem,) = inspection.problems
    assert problem.message == "the file is too large"
    assert asked.methods == ["get_object", "head_object"]
    assert asked.size_bytes < 9_000_000


def test_a_clip_is_read_about_once_in_few_requests(
    bucket: Bucket, inspected: Callable[[], tuple[Inspection, Asked]]
) -> None:
    """All of it is hashed; what the probe reads anew are its two ends, where they are not kept any more."""
    noise = random.Random(1).randbytes(20_000_000)
    data = video_bytes(2.0, 1280, 720, audio="aac") + len(noise).to_bytes(4, "big") + b"free" + noise[8:]
    bucket.write("inbox/clip.mp4", data, "video/mp4")
    bucket.write(
        "inbox/dance.yaml",
        b"model: shortapi/wan-2.6-r2v\nprompt: It dances.\ninputs: {videos: [clip.mp4]}\n",
        "text/yaml",
    )
    inspection, asked = inspected()
    assert inspection.problems == ()
    assert asked.methods.count("head_object") == 1
    assert len(asked.methods) <= 15, asked.methods
    assert len(data) <= asked.size_bytes < len(data) + 4_000_000
