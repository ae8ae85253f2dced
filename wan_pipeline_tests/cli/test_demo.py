"""`demo`: at least six videos of the five models, the books agree, and a second one buys nothing."""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.money import Money
from wan_pipeline.providers.catalog import catalog
from wan_pipeline_tests.cli.house import House


def test_demo_makes_videos_of_all_models_its_total_is_the_books_and_a_second_one_buys_nothing(tmp_path: Path) -> None:
    house = House(tmp_path / "home")
    first = house.data("demo")
    videos = first["videos"]
    assert len(videos) >= 6
    assert {video["model"] for video in videos} == set(catalog())
    assert {video["resolution"] for video in videos} == {"720p", "1080p"}
    assert any(video["has_audio"] for video in videos)
    assert first["bought"] == len(videos)
    assert first["not_made"] == []
    total = Money.total(Money.usd(video["billed_usd"]) for video in videos)
    assert total.nanos == house.books.total_nanos() > 0
    assert first["totals"] == {"ledger_usd": str(total), "books_usd": str(total), "agree": True}
    for video in videos:
        assert Path(video["video_uri"].removeprefix("file://")).stat().st_size > 1000

    second = house.run("demo")
    assert second.returncode == 0
    assert f"Nothing to buy: {len(videos)} videos are there already" in second.stdout
    assert f"Total: {total} USD" in second.stdout
    for video in videos:
        assert any(video["shot"] in line and video["model"] in line for line in second.stdout.splitlines())
    assert "make dev" in second.stdout
    assert len(house.books.charges()) == len(videos)

    # And the providers' own books agree, line by line; ShortAPI has none.
    results = {each["provider"]: each for each in house.data("reconcile")}
    assert {name: each["verdict"] for name, each in results.items()} == {
        "wavespeed": "explained",
        "aimlapi": "explained",
        "shortapi": "no books",
    }
    for name in ("wavespeed", "aimlapi"):
        (books,) = results[name]["books"]
        assert (books["matched"], books["findings"], books["too_early"]) == (results[name]["jobs"], 0, 0)
        assert books["ledger_usd"] == books["theirs_usd"] == results[name]["billed_usd"]
