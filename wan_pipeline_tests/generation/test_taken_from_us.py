"""A batch whose job another process has taken over meanwhile (this host slept): what was asked for once is bought once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from wan_pipeline.generation.events import Verdict
from wan_pipeline.spend.records import JobState, StoredVideo
from wan_pipeline.spend.tables import owners
from wan_pipeline_tests.generation.house import House

GoOn = Callable[[], Awaitable[httpx.Response]]


def store_elsewhere(house: House) -> bool:
    """Another process takes the job over, since its holder seems to be gone, and stores its video. False: there is none."""
    with house.ledger() as other:
        jobs = other.jobs(JobState.SUBMITTED)
        if not jobs:
            return False
        (job,) = jobs
        with other.engine.begin() as connection:
            connection.execute(owners.update().where(owners.c.id == job.owner).values(released_at=house.clock()))
        other.take_over(job.id)
        other.mark_generated(job.id, "https://files.invalid/video.mp4")
        first, key = "videos/shot000/take-1.mp4", f"videos/shot000/take-{job.take}.mp4"
        house.bucket.copy(first, key)
        size_bytes = house.bucket.stat(key).size_bytes
        other.mark_stored(job.id, StoredVideo(house.bucket.uri(key), key, "a" * 64, size_bytes, 2.0, None))
    return True


def test_a_new_take_that_another_process_finishes_is_not_bought_a_second_time(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.shots(1)
    assert house.make()["shot000"].verdict is Verdict.MADE
    taken = False

    async def while_we_slept(request: httpx.Request, go_on: GoOn) -> httpx.Response:
        nonlocal taken
        response = await go_on()
        if request.url.path.endswith("/result") and not taken:
            taken = store_elsewhere(house)
        return response

    house.faults.fault = while_we_slept
    result = house.make(new_take=True)["shot000"]
    assert taken
    assert result.verdict is Verdict.REUSED
    assert len(house.faults.posts) == len(house.books.charges()) == 2
