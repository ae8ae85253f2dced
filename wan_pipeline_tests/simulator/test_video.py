"""The finished video: a real one, as ordered, behind a URL that expires."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from wan_pipeline.simulator.render import VideoOrder, video_size
from wan_pipeline.simulator.renderer import Renderer
from wan_pipeline_tests.simulator.world import World, accepted, clip, picture, probe, sound

R2V = "alibaba/wan-2.6/reference-to-video"
I2V27 = "alibaba/wan-2.7/image-to-video"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, render="each")


def result_url(world: World, answer: httpx.Response) -> str:
    job_id = accepted(answer)
    assert job_id is not None, answer.json()
    world.finish()
    if "/v2/" in str(answer.request.url):
        return world.http.get("/v2/video/generations", params={"generation_id": job_id}).json()["video"]["url"]
    if "/v3/" in str(answer.request.url):
        return world.http.get(f"/api/v3/predictions/{job_id}/result").json()["data"]["outputs"][0]
    result = world.http.get("/api/v1/job/query", params={"id": job_id}).json()["data"]["result"]
    return next(iter(result.values()))[0]["url"]


def video(world: World, answer: httpx.Response) -> dict[str, Any]:
    file = world.http.get(result_url(world, answer))
    assert file.status_code == 200 and file.headers["content-type"] == "video/mp4"
    return probe(file.content)


def as_ordered(found: dict[str, Any], size: tuple[int, int], seconds: int, *, sound: bool) -> None:
    assert (found["codec"], found["pixels"], found["size"]) == ("h264", "yuv420p", size)
    assert found["frames"] == seconds * found["fps"]
    assert found["duration_s"] == pytest.approx(seconds, abs=0.05)
    assert found["audio"] == (["aac"] if sound else [])


def test_a_silent_720p_video_moves_and_has_no_sound(world: World):
    found = video(world, world.wavespeed(duration=2, enable_audio=False))
    as_ordered(found, (1280, 720), 2, sound=False)
    assert found["moves"] > 1, "the camera comes nearer"


def test_ordered_sound_is_there_and_can_be_heard(world: World):
    found = video(world, world.wavespeed(duration=2, resolution="1080p"))
    as_ordered(found, (1920, 1080), 2, sound=True)
    assert np.abs(found["sound"]).max() > 0.05


def test_portrait_stays_portrait_and_odd_sides_become_even(world: World):
    tall = world.source.put("tall.png", picture(333, 501, "PNG"))
    found = video(world, world.wavespeed(image=tall, duration=2, enable_audio=False))
    as_ordered(found, (720, 1084), 2, sound=False)


def test_a_given_sound_is_used_and_followed_by_silence(world: World):
    url = world.source.put("voice.mp3", sound(2, "mp3"))
    args = {"first_frame_image": world.image, "driving_audio_url": url, "duration": 4, "resolution": "720p"}
    found = video(world, world.shortapi(I2V27, **args))
    as_ordered(found, (1280, 720), 4, sound=True)
    voice, rest = found["sound"][: 48000 * 3 // 2], found["sound"][48000 * 5 // 2 :]
    assert np.abs(voice).max() > 0.2 and np.abs(rest).max() < 0.01


def test_a_longer_sound_is_cut(world: World):
    url = world.source.put("long.wav", sound(9))
    as_ordered(video(world, world.aimlapi(audio_url=url, duration=5, resolution="720p")), (1280, 720), 5, sound=True)


def test_a_last_frame_is_where_the_video_ends(world: World):
    white = world.source.put("end.png", picture(640, 360, "PNG", color="white"))
    args = {"first_frame_image": world.image, "last_frame_image": white, "duration": 2, "resolution": "720p"}
    found = video(world, world.shortapi(I2V27, **args))
    as_ordered(found, (1280, 720), 2, sound=False)
    assert found["last"].mean() > 225


def test_reference_to_video_starts_from_the_first_clip(world: World):
    url = world.source.put("a.mp4", clip(1, 320, 240))
    answer = world.shortapi(R2V, prompt="x", video_urls=[url], duration=2, resolution="720p", audio=True)
    as_ordered(video(world, answer), (960, 720), 2, sound=True)


def test_alpha_and_a_turned_camera_are_rendered_as_shown(world: World):
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (640, 360), "red").save(buffer, "JPEG", exif=exif)
    turned = world.source.put("turned.jpg", buffer.getvalue())
    found = video(world, world.wavespeed(image=turned, duration=2, enable_audio=False))
    as_ordered(found, (720, 1280), 2, sound=False)
    clear = world.source.put("clear.png", picture(kind="PNG", mode="RGBA", color=(0, 0, 0, 0)))
    found = video(world, world.wavespeed(image=clear, duration=2, enable_audio=False))
    assert found["last"].mean() > 225


def test_two_jobs_over_one_image_give_two_videos_and_the_same_job_one(world: World):
    first = result_url(world, world.wavespeed(duration=2, enable_audio=False))
    second = result_url(world, world.wavespeed(duration=2, enable_audio=False))
    assert world.http.get(first).content == world.http.get(first).content != world.http.get(second).content


def test_a_result_is_served_in_ranges(world: World):
    url = result_url(world, world.wavespeed(duration=2, enable_audio=False))
    whole = world.http.get(url).content
    part = world.http.get(url, headers={"Range": "bytes=10-19"})
    assert part.status_code == 206 and part.content == whole[10:20]
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"
    assert world.http.get(url, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416
    head = world.http.request("HEAD", url)
    assert head.content == b"" and int(head.headers["content-length"]) == len(whole)


def test_a_result_needs_no_key_but_its_signature_and_its_time(tmp_path: Path):
    world = World(tmp_path, result_ttl_s=60, keys=frozenset({"key-1"}))
    url = result_url(world, world.wavespeed())
    bare = {"Authorization": ""}
    assert world.http.get(url, headers=bare).status_code == 200
    address, _, query = url.partition("?")
    expires = httpx.URL(url).params["Expires"]
    other = accepted(world.wavespeed())
    for wrong in (
        address,
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.replace(f"Expires={expires}", f"Expires={int(expires) + 1}"),
        f"http://sim.test/files/{other}.mp4?{query}",
        f"{address}?Expires=never&Signature=é",
    ):
        assert world.http.get(wrong, headers=bare).status_code == 403, wrong
    world.clock.now += 61
    assert world.http.get(url, headers=bare).status_code == 403


def test_another_process_over_the_folder_knows_the_signature_and_renders_what_is_missing(world: World):
    url = result_url(world, world.wavespeed(duration=2, enable_audio=False))
    expected = world.http.get(url).content
    for file in (world.config.folder / "videos").iterdir():
        file.unlink()
    later = World(world.config.folder, render="each")
    later.clock.now = world.clock.now
    assert later.http.get(url).content == expected


def test_shared_rendering_serves_one_file_for_each_size_length_and_sound(tmp_path: Path):
    world = World(tmp_path)
    urls = [
        result_url(world, world.wavespeed(duration=2)),
        result_url(world, world.wavespeed(duration=2, prompt="B")),
        result_url(world, world.wavespeed(duration=2, enable_audio=False)),
    ]
    files = [world.http.get(url).content for url in urls]
    assert files[0] == files[1] != files[2]
    as_ordered(probe(files[0]), (1280, 720), 2, sound=True)
    as_ordered(probe(files[2]), (1280, 720), 2, sound=False)
    assert len(list((tmp_path / "shared").glob("*.mp4"))) == 2


def test_threads_with_event_loops_of_their_own_share_one_simulator(world: World):
    def make(number: int) -> int:
        answer = world.wavespeed(duration=2 + number % 2, enable_audio=False)
        world.clock.now += 10
        return probe(world.http.get(result_url(world, answer)).content)["frames"]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(make, range(4))) == [48, 72, 48, 72]
    assert len(world.books.jobs()) == 4


def test_a_url_is_as_configured_or_names_the_host_that_was_asked(tmp_path: Path):
    assert result_url(World(tmp_path / "a"), World(tmp_path / "a").wavespeed()).startswith("http://sim.test/files/")
    world = World(tmp_path / "b", base_url="https://cdn.test/x/")
    assert result_url(world, world.wavespeed()).startswith("https://cdn.test/x/files/")


def test_renderers_that_make_the_same_file_at_once_leave_one_whole_file(tmp_path: Path):
    order = VideoOrder(320, 240, 1, tone=True)
    renderers = [Renderer(Path) for _ in range(3)]  # as several processes
    with ThreadPoolExecutor(3) as pool:
        files = list(pool.map(lambda one: one.request(order, tmp_path / "v.mp4", awaited=True).result(), renderers))
    assert files == [tmp_path / "v.mp4"] * 3 == [tmp_path / "v.mp4" for _ in files]
    as_ordered(probe(files[0].read_bytes()), (320, 240), 1, sound=True)
    for renderer in renderers:
        renderer.stop()
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]


def test_what_is_awaited_is_rendered_before_what_is_not(tmp_path: Path):
    renderer = Renderer(Path)
    order = VideoOrder(1280, 720, 5, tone=False)
    later = [renderer.request(order, tmp_path / f"{number}.mp4") for number in range(12)]
    awaited = renderer.request(order, tmp_path / "11.mp4", awaited=True)
    assert awaited is later[11]
    awaited.result()
    assert not all(future.done() for future in later[:11])
    renderer.stop()
    assert all(future.done() for future in later), "who waits for a file is told that the end has come"


@pytest.mark.parametrize(
    ("source", "resolution", "size"),
    [
        ((1920, 1080), "720p", (1280, 720)),
        ((1080, 1920), "1080p", (1080, 1920)),
        ((1000, 1000), "720p", (720, 720)),
        ((333, 500), "1080p", (1080, 1622)),
        ((5000, 100), "720p", (5760, 720)),
    ],
)
def test_the_short_side_is_as_ordered(source: tuple[int, int], resolution: str, size: tuple[int, int]):
    assert video_size(*source, resolution) == size
