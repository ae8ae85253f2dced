"""The sample inbox: small, ready, over all five models, and never in anybody's way."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import av
import pytest
from PIL import Image

from wan_pipeline.bucket import FolderBucket
from wan_pipeline.providers.base import Role
from wan_pipeline.providers.catalog import catalog
from wan_pipeline.shots.discovery import discover
from wan_pipeline.shots.samples import write_samples
from wan_pipeline_tests.shots.inboxes import FLASH, by_key, folder_bucket


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> FolderBucket:
    bucket = FolderBucket(tmp_path_factory.mktemp("samples"))
    keys = write_samples(bucket)
    assert keys == [item.key for item in bucket.list()]
    return bucket


def test_every_sample_shot_is_ready_and_they_show_every_model_and_feature(bucket: FolderBucket) -> None:
    shots = by_key(discover(bucket, None))
    orders = [shot.order for shot in shots.values() if shot.order is not None]
    assert len(orders) == len(shots) >= 6
    assert {order.model_id for order in orders} == set(catalog())
    assert {order.resolution for order in orders} == {"720p", "1080p"}
    assert any(order.has_audio for order in orders)
    roles = {frozenset(slot.role for slot in order.slots) for order in orders}
    assert {frozenset({Role.FIRST_FRAME}), frozenset({Role.FIRST_FRAME, Role.LAST_FRAME})} <= roles
    assert any(Role.VIDEOS in some for some in roles)
    assert any("/" in key and shots[key].campaign == "spring" for key in shots)
    assert sum(order.duration_s for order in orders) <= 30


def test_the_media_are_what_the_models_take(bucket: FolderBucket) -> None:
    media = {item.key: bucket.read(item.key) for item in bucket.list("inbox/") if not item.key.endswith(".yaml")}
    for key, data in media.items():
        if key.endswith(".mp4"):
            with av.open(BytesIO(data)) as clip:
                assert clip.streams.video[0].codec_context.name == "h264"
                assert clip.duration == 2 * av.time_base
                assert len(list(clip.decode(video=0))) == 48
        else:
            with Image.open(BytesIO(data)) as picture:
                assert (picture.size, picture.mode) == ((1280, 720), "RGB")
                assert len(set(picture.resize((64, 36)).getdata())) > 100


def test_any_image_dropped_into_the_sample_inbox_becomes_a_shot(bucket: FolderBucket) -> None:
    bucket.write("inbox/dropped.jpg", bucket.read("inbox/harbour.png"), "image/jpeg")
    shot = by_key(discover(bucket, None))["dropped"]
    assert shot.ready
    assert shot.model_id == FLASH


def test_the_samples_are_written_once(bucket: FolderBucket) -> None:
    before = [(item.key, item.etag) for item in bucket.list()]
    assert write_samples(bucket) == []
    assert [(item.key, item.etag) for item in bucket.list()] == before


def test_an_inbox_that_holds_anything_is_left_alone(tmp_path: Path) -> None:
    bucket = folder_bucket(tmp_path, {"mine.txt": "mine"})
    assert write_samples(bucket) == []
    assert [item.key for item in bucket.list()] == ["inbox/mine.txt"]


def test_no_listing_taken_half_way_shows_a_ready_shot_that_changes_later(tmp_path: Path) -> None:
    class Watched(FolderBucket):
        def write(self, key: str, data: bytes, content_type: str) -> object:  # pyright: ignore
            written = super().write(key, data, content_type)
            seen.append({shot.key: shot.order for shot in discover(self, None) if shot.ready})
            return written

    seen: list[dict[str, object]] = []
    bucket = Watched(tmp_path)
    write_samples(bucket)  # pyright: ignore
    final = {shot.key: shot.order for shot in discover(bucket, None)}
    assert all(order == final[key] for ready in seen for key, order in ready.items())
