"""The books: kept through a killed process, shared by several, never changed, and the clock alone says how a job stands."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from pathlib import Path

import pytest

from wan_pipeline.simulator.books import Books, Full, Job, NewFetch, NewJob
from wan_pipeline.simulator.config import SimulatorConfig
from wan_pipeline_tests.simulator.world import PROVIDERS, World, accepted


def new_job(job_id: str, *, fails: bool = False, nanos: int = 7) -> NewJob:
    return NewJob(job_id, "wavespeed", "m", '{"a": 1}', None, nanos, fails, "{}")


def accept(books: Books, job_id: str, limit: int | None = None, seconds: float = 60) -> Job | Full:
    post_id = books.receive("wavespeed", None)
    return books.accept(post_id, new_job(job_id), [], lambda number: seconds, limit)


KILLED = """
import os, sys
from pathlib import Path
from wan_pipeline.simulator.books import Books, NewFetch, NewJob
books = Books(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    job_id = f"{os.getpid()}-{number}"
    post_id = books.receive("wavespeed", None)
    job = NewJob(job_id, "wavespeed", "m", "{}", None, 3, False, "{}")
    books.accept(post_id, job, [NewFetch("image", "http://x/y", 1, "00")], lambda number: 60.0, None)
    print(job_id, flush=True)
"""


def test_what_was_answered_before_a_kill_is_in_the_books_each_once_with_its_charge(tmp_path: Path):
    told: list[str] = []
    for round_ in range(3):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        told += [process.stdout.readline().strip() for _ in range(20 + round_)]
        os.kill(process.pid, signal.SIGKILL)
        told += process.stdout.read().split()
        process.wait()
        process.stdout.close()
    books = Books(tmp_path)
    ids = [job.id for job in books.jobs()]
    assert set(told) <= set(ids) and len(set(ids)) == len(ids)
    assert len(ids) - len(told) <= 3, "at most one a process was accepted and not told"
    assert [job.number for job in books.jobs()] == list(range(1, len(ids) + 1))
    assert sorted(entry.job_id for entry in books.charges()) == sorted(ids)
    assert books.total_nanos() == 3 * len(ids)
    assert sorted(str(fetch.job_id) for fetch in books.fetches()) == sorted(ids)


def test_charges_and_refunds_can_only_be_added(tmp_path: Path):
    books = Books(tmp_path)
    accept(books, "a")
    database = sqlite3.connect(books.path)
    for statement in ("UPDATE entries SET nanos = 0", "DELETE FROM entries"):
        with pytest.raises(sqlite3.IntegrityError, match="only appended"):
            database.execute(statement)
    database.close()
    assert books.total_nanos() == 7


def test_the_limit_holds_when_many_submit_at_once(tmp_path: Path):
    others = [Books(tmp_path) for _ in range(2)]  # as two processes would
    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(lambda number: accept(others[number % 2], f"job-{number}", limit=5), range(40)))
    jobs = [outcome for outcome in outcomes if isinstance(outcome, Job)]
    assert len(jobs) == 5 == len(others[0].jobs())
    assert sorted(job.number for job in jobs) == [1, 2, 3, 4, 5]
    assert others[1].posts() == {"wavespeed": 40}


def test_a_new_folder_can_be_opened_by_many_at_once(tmp_path: Path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: accept(Books(tmp_path / "new"), str(number)), range(16)))
    assert len(Books(tmp_path / "new").jobs()) == 16


def test_a_fetch_of_a_refused_submission_is_written_down_without_a_job(tmp_path: Path):
    books = Books(tmp_path)
    post_id = books.receive("aimlapi", "attempt-1")
    books.refuse(post_id, "invalid", [NewFetch("image_url", "http://x/y", 3, "ab")])
    [fetch], [post] = books.fetches(), books.post_rows()
    assert (fetch.job_id, fetch.provider, fetch.post_id) == (None, "aimlapi", post.id)
    assert (post.outcome, post.client_request_id) == ("invalid", "attempt-1")
    assert post.received_at.tzinfo is UTC


def test_how_long_a_job_takes_follows_from_seed_and_number_alone(tmp_path: Path):
    world = World(tmp_path, jitter=0.3, latency_s=10.0, seed=5)
    for _ in range(20):
        accepted(world.wavespeed())
    jobs = world.books.jobs()
    expected = [SimulatorConfig(tmp_path, latency_s=10.0, jitter=0.3, seed=5).job_latency_s(n) for n in range(1, 21)]
    assert [job.latency_s for job in jobs] == pytest.approx(expected, abs=1e-6)
    assert all(7 <= latency <= 13 for latency in expected)
    assert max(expected) - min(expected) > 3, "the jitter is there"
    assert expected != [SimulatorConfig(tmp_path, latency_s=10.0, seed=6).job_latency_s(n) for n in range(1, 21)]


def test_a_later_process_finds_every_job_as_the_clock_says(tmp_path: Path):
    first = World(tmp_path)
    done, failed = accepted(first.wavespeed()), accepted(first.wavespeed(prompt="[fail]"))
    later = World(tmp_path)
    later.clock.now = first.clock.now
    states = []
    for seconds in (0.1, 1.0, 1.0):
        later.clock.now += seconds
        answers = [later.http.get(f"/api/v3/predictions/{each}/result").json()["data"] for each in (done, failed)]
        states.append([answer["status"] for answer in answers])
    assert states == [["created", "created"], ["processing", "processing"], ["completed", "failed"]]


def test_one_job_more_than_the_limit_is_a_429_that_says_when_to_come_again(tmp_path: Path):
    world = World(tmp_path, max_in_flight=2, latency_s=10.0)
    for submit in (world.shortapi, world.aimlapi, world.wavespeed):
        assert accepted(submit()) and accepted(submit())
        refused = submit()
        assert refused.status_code == 429 and refused.headers["Retry-After"] == "10"
        assert refused.json().get("code", refused.json().get("statusCode")) == 429
    assert len(world.books.charges()) == 6
    world.clock.now += 10
    for submit in (world.shortapi, world.aimlapi, world.wavespeed):
        assert accepted(submit()), "there is room again as soon as the first are ready"


def test_a_limit_may_be_one_providers_alone(tmp_path: Path):
    world = World(tmp_path, max_in_flight={"aimlapi": 1})
    assert accepted(world.aimlapi()) and world.aimlapi().status_code == 429
    assert all(accepted(world.wavespeed()) for _ in range(4))


def test_the_books_can_be_read_over_http_with_exact_money(tmp_path: Path):
    world = World(tmp_path)
    accepted(world.shortapi(duration=5, resolution="720P"))
    accepted(world.aimlapi(prompt="[fail]", headers={"X-Client-Request-Id": "attempt-9"}))
    accepted(world.wavespeed(resolution="1080p", enable_audio=False))
    world.wavespeed(duration=99)
    world.finish()
    books = world.http.get("/simulator/books").json()
    assert (books["total_usd"], books["total_nanos"]) == ("0.6125", 612_500_000)
    assert (books["charged_usd"], books["refunded_usd"]) == ("2.1875", "1.575")
    assert books["by_provider"] == {
        "aimlapi": {"total_usd": "0", "total_nanos": 0},
        "shortapi": {"total_usd": "0.425", "total_nanos": 425_000_000},
        "wavespeed": {"total_usd": "0.1875", "total_nanos": 187_500_000},
    }
    assert books["posts_by_provider"] == {"aimlapi": 1, "shortapi": 1, "wavespeed": 2}
    assert [job["state"] for job in books["jobs"]] == ["completed", "failed", "completed"]
    assert books["jobs"][1]["client_request_id"] == "attempt-9"
    assert len(books["fetches"]) == 3 and len(books["charges"]) == 3 and len(books["refunds"]) == 1
    assert [post["outcome"] for post in books["posts"]] == ["accepted"] * 3 + ["invalid"]
    assert "key-1" not in json.dumps(books)


def test_the_providers_of_a_limit_are_known_ones(tmp_path: Path):
    with pytest.raises(ValueError, match="max_in_flight"):
        SimulatorConfig(tmp_path, max_in_flight={"openai": 1})
    assert {SimulatorConfig(tmp_path, max_in_flight=3).limit(provider) for provider in PROVIDERS} == {3}
