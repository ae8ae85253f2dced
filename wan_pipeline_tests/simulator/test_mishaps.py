"""Result files that are no good although every answer is in order: each is charged, and is what its word says."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from wan_pipeline.simulator.mishaps import HUGE_BYTES, WORDS
from wan_pipeline_tests.simulator.test_server import served
from wan_pipeline_tests.simulator.world import KEY, PROVIDERS, World, accepted, probe

FLASH = "alibaba/wan-2.6/image-to-video-flash"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def url_of(world: World, prediction_id: str | None) -> str:
    answer = world.http.get(f"/api/v3/predictions/{prediction_id}/result").json()["data"]
    assert answer["status"] == "completed"
    return answer["outputs"][0]


def submitted(world: World, word: str) -> str | None:
    prediction_id = accepted(world.wavespeed(prompt=f"A cat {word}", duration=2, enable_audio=False))
    world.finish()
    return prediction_id


@pytest.mark.parametrize("word", WORDS)
def test_every_mishap_is_charged_and_completed_as_any_other_job(world: World, word: str):
    for provider in PROVIDERS:
        assert accepted(getattr(world, provider)(prompt=f"A cat {word}"))
    world.finish()
    assert {job.mishap for job in world.books.jobs()} == {WORDS[word]}
    assert {job.state(world.clock.now) for job in world.books.jobs()} == {"completed"}
    assert len(world.books.charges()) == 3 and world.books.refunds() == []


def test_no_video_is_a_page_with_status_200_each_time(world: World):
    url = url_of(world, submitted(world, "[no video]"))
    answers = [world.http.get(url) for _ in range(2)]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["content-type"] for answer in answers} == {"text/html; charset=utf-8"}
    assert answers[0].content == answers[1].content


def test_a_half_file_comes_whole_and_the_same_each_time_and_is_half_of_the_video(world: World):
    whole = world.http.get(url_of(world, submitted(world, ""))).content
    url = url_of(world, submitted(world, "[half]"))
    for _ in range(2):
        answer = world.http.get(url)
        assert answer.status_code == 200 and answer.headers["content-length"] == str(len(answer.content))
        assert answer.content == whole[: len(whole) // 2]


def test_the_other_video_can_be_played_and_is_not_what_was_ordered(world: World):
    found = probe(world.http.get(url_of(world, submitted(world, "[other video]"))).content)
    assert (found["size"], found["frames"], found["audio"]) == ((320, 240), 24, [])


def test_a_dead_url_stays_dead_until_the_job_is_asked_anew(world: World):
    prediction_id = submitted(world, "[gone]")
    dead = url_of(world, prediction_id)
    assert url_of(world, prediction_id) == dead, "asking does not help before it was missed"
    assert world.http.get(dead).status_code == 404
    alive = url_of(world, prediction_id)
    assert alive != dead
    assert world.http.get(dead).status_code == 404
    assert probe(world.http.get(alive).content)["frames"] == 48
    assert url_of(world, prediction_id) == alive
    elsewhere = alive.replace(".1.mp4", ".2.mp4")
    assert world.http.get(elsewhere).status_code == 403, "only what was signed"


def test_what_is_gone_always_is_gone_under_every_url(world: World):
    prediction_id = submitted(world, "[gone always]")
    for _ in range(3):
        assert world.http.get(url_of(world, prediction_id)).status_code == 404


def test_over_a_connection_a_cut_file_breaks_off_once_and_a_huge_one_always(tmp_path: Path):
    with served(tmp_path, latency_s=0.0, jitter=0.0, render="shared") as (url, _):
        upload = httpx.post(f"{url}/api/v3/media/uploads", json={"filename": "cat.jpg", "size": 1}, headers=KEY)
        from wan_pipeline_tests.simulator.world import picture

        ticket = upload.json()["data"]
        httpx.put(ticket["upload"]["url"], content=picture()).raise_for_status()

        def result_url(word: str) -> str:
            body = {"image": ticket["download_url"], "prompt": word, "duration": 2, "enable_audio": False}
            made = httpx.post(f"{url}/api/v3/{FLASH}", json=body, headers=KEY).json()["data"]
            return httpx.get(made["urls"]["get"], headers=KEY).json()["data"]["outputs"][0]

        whole = httpx.get(result_url("good"), timeout=60).content
        cut, always, huge = result_url("[cut]"), result_url("[cut always]"), result_url("[huge]")
        assert _broken_off(cut) == (len(whole), len(whole) // 2)
        assert httpx.get(cut).content == whole, "the second time it is whole"
        assert _broken_off(always) == _broken_off(always) == (len(whole), len(whole) // 2)
        assert _broken_off(huge) == _broken_off(huge) == (HUGE_BYTES, 1024 * 1024)


def _broken_off(url: str) -> tuple[int, int]:
    """How many bytes were declared, and how many came before the connection was cut."""
    came = 0
    with httpx.stream("GET", url) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            for chunk in answer.iter_raw():
                came += len(chunk)
        return int(answer.headers["content-length"]), came


def test_in_process_a_cut_file_is_shorter_than_declared(world: World):
    url = url_of(world, submitted(world, "[cut]"))
    first, second = world.http.get(url), world.http.get(url)
    declared = int(first.headers["content-length"])
    assert len(first.content) == declared // 2 and len(second.content) == declared
