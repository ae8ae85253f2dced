"""A run over shots: what is done shows, what is not is told, and nothing is bought that was not asked for."""

from __future__ import annotations

import dagster as dg
import pytest

from wan_pipeline.defs.partitions import add_shots
from wan_pipeline.defs.resources import SimulatorResource
from wan_pipeline.money import ZERO
from wan_pipeline_tests.defs.interrupted import interrupted_run, submitted
from wan_pipeline_tests.defs.lab import DEFAULTS, RANGE, Lab, jpeg

KEYS = ["a/one", "a/three", "a/two", "b"]


def test_every_shot_of_a_range_is_materialized_with_what_a_person_wants_to_know(lab: Lab) -> None:
    lab.put_shots(KEYS)

    result = lab.run(KEYS)

    assert result.success
    for asset in ("source_images", "shot_quotes", "generated_videos"):
        assert lab.materialized(asset) == set(KEYS)
    metadata = lab.materialization("generated_videos", "a/two").metadata
    shown = {name: entry.value for name, entry in metadata.items()}
    job = next(job for job in lab.jobs() if job.shot == "a/two")
    assert shown["job_id"] == job.id
    assert shown["provider_job_id"] == job.provider_job_id
    assert shown["provider"] == "wavespeed"
    assert shown["model"] == "wavespeed/wan-2.6-i2v-flash"
    assert shown["take"] == 1
    assert shown["quoted_usd"] == shown["billed_usd"] == "0.05"
    assert shown["basis"] == "quoted"
    assert abs(shown["video_seconds"] - 2) < 0.1
    assert shown["waited_seconds"] >= 0
    assert shown["uri"] == job.video_uri
    assert shown["sha256"] == job.video_sha256
    assert shown["simulated"] is True
    assert "poster" not in shown  # nothing serves this bucket
    assert lab.materialization("generated_videos", "a/two").tags["dagster/data_version"] == job.video_sha256


def test_checks_are_told_for_each_shot(lab: Lab) -> None:
    lab.put_shots(KEYS)
    lab.put("inbox/b.jpg", b"this is no picture")

    lab.run(KEYS)

    good = dict.fromkeys(KEYS[:3], True)
    assert lab.checks("source_images", "within_limits") == good | {"b": False}
    for check in ("playable", "as_ordered", "billed_as_quoted"):
        assert lab.checks("generated_videos", check) == good


def test_the_page_of_a_check_shows_each_shot_by_its_newest_result(lab: Lab) -> None:
    lab.put_shots(KEYS)
    lab.run(KEYS)
    assert lab.check_statuses("generated_videos", "as_ordered") == {"SUCCEEDED": set(KEYS)}
    assert lab.check_statuses("source_images", "within_limits") == {"SUCCEEDED": set(KEYS)}

    lab.put("inbox/b.jpg", b"this is no picture any more")
    lab.run(KEYS)

    assert lab.check_statuses("source_images", "within_limits") == {"SUCCEEDED": set(KEYS[:3]), "FAILED": {"b"}}
    # Its video is there, but this run, which was to check it, did not come to that.
    statuses = lab.check_statuses("generated_videos", "as_ordered")
    assert statuses == {"SUCCEEDED": set(KEYS[:3]), "EXECUTION_FAILED": {"b"}}


def test_one_bad_shot_fails_the_run_and_no_other_shot(lab: Lab) -> None:
    lab.put_shots(KEYS, {"a/three": "[refuse] me"})

    result = lab.run(KEYS)

    assert not result.success
    assert lab.materialized("generated_videos") == set(KEYS) - {"a/three"}
    assert lab.materialized("shot_quotes") == set(KEYS)
    told = lab.failure(result)
    assert told.startswith("1 of 4 shots are not done:\na/three: failed: ")
    assert "a/two" not in told


def test_quoting_buys_nothing(lab: Lab) -> None:
    lab.put_shots(KEYS)

    assert lab.run(KEYS, "quote_shots").success
    result = lab.run(KEYS, assets="shot_quotes")
    assert result.success

    assert lab.materialized("shot_quotes") == set(KEYS)
    assert lab.materialization("shot_quotes", "b").metadata["quoted_usd"].value == "0.05"
    assert lab.materialized("generated_videos") == set()
    run = lab.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert (run.tags["wan/quoted_usd"], run.tags["wan/billed_usd"]) == ("0.20", "0.00")
    assert (lab.jobs(), lab.charged()) == ([], ZERO)


@pytest.mark.parametrize("asset", ["source_images", "shot_quotes", "generated_videos"])
def test_what_is_not_selected_is_not_shown(lab: Lab, asset: str) -> None:
    lab.put_shots(KEYS[:1])

    assert lab.run(KEYS[:1], assets=asset).success

    for other in ("source_images", "shot_quotes", "generated_videos"):
        assert lab.materialized(other) == ({KEYS[0]} if other == asset else set())


def test_a_rerun_buys_nothing_and_shows_the_same_video(lab: Lab) -> None:
    lab.put_shots(KEYS)
    lab.run(KEYS)
    paid = lab.charged()

    assert lab.run(KEYS).success

    assert lab.charged() == paid == lab.billed()
    shown = lab.materialization("generated_videos", "b")
    assert shown.metadata["take"].value == 1
    assert shown.metadata["billed_usd"].value == "0.00"


def test_a_person_who_asks_for_a_failed_shot_gets_it_tried_again_and_the_sensor_does_not(lab: Lab) -> None:
    lab.put_shots(KEYS[:1], {"a/one": "[fail] once"})
    lab.run(KEYS[:1], tags={"wan/asked_by": "sensor"})
    assert len(lab.jobs()) == 1

    lab.run(KEYS[:1], tags={"wan/asked_by": "sensor"})
    assert len(lab.jobs()) == 1
    lab.run(KEYS[:1], tags={"wan/asked_by": "run"})
    assert len(lab.jobs()) == 1
    lab.run(KEYS[:1])
    assert len(lab.jobs()) == 2


def test_a_new_take_is_bought_when_asked_for_and_not_by_the_reexecution_of_that_run(lab: Lab) -> None:
    lab.put_shots(KEYS[:1])
    lab.run(KEYS[:1])

    assert lab.run(KEYS[:1], tags={"wan/new_take": "true"}).success
    assert len(lab.jobs()) == 2
    assert lab.materialization("generated_videos", "a/one").metadata["take"].value == 2

    assert lab.run(KEYS[:1], tags={"wan/new_take": "true", "dagster/parent_run_id": "0123"}).success
    assert len(lab.jobs()) == 2


def test_collect_only_buys_nothing(lab: Lab) -> None:
    lab.put_shots(KEYS[:2])

    result = lab.run(KEYS[:2], tags={"wan/collect_only": "true"})

    assert not result.success
    assert "not bought" in lab.failure(result)
    assert lab.jobs() == []


def test_a_check_that_is_executed_alone_looks_at_what_is_there_and_buys_nothing(lab: Lab) -> None:
    lab.put_shots(KEYS[:2])
    lab.run(KEYS[:1])
    check = dg.AssetCheckKey(dg.AssetKey("generated_videos"), "playable")
    add_shots(lab.instance, KEYS[:2])
    job = lab.defs.resolve_implicit_global_asset_job_def()
    there, absent = (
        job.get_subset(asset_selection=set(), asset_check_selection={check}).execute_in_process(
            instance=lab.instance, tags={RANGE[0]: key, RANGE[1]: key}, raise_on_error=False
        )
        for key in KEYS[:2]
    )

    assert there.success
    assert "a/three: failed: not bought" in lab.failure(absent)
    assert lab.checks("generated_videos", "playable") == {"a/one": True}
    assert len(lab.jobs()) == 1


def test_outdated_shots_are_shown_as_such_and_made_anew_when_a_person_says_so(lab: Lab) -> None:
    lab.put_shots(KEYS[:1])
    lab.run(KEYS[:1])
    lab.put("inbox/_defaults.yaml", DEFAULTS.replace("fall", "rise"))

    assert lab.run(KEYS[:1]).success
    assert lab.materialization("generated_videos", "a/one").metadata["outdated"].value is True
    assert len(lab.jobs()) == 1

    assert lab.run(KEYS[:1], tags={"wan/outdated": "true"}).success
    assert lab.materialization("generated_videos", "a/one").metadata["outdated"].value is False
    assert len(lab.jobs()) == 2


def test_a_shot_that_is_gone_from_the_bucket_fails_and_the_others_are_made(lab: Lab) -> None:
    lab.put_shots(KEYS)
    (lab.bucket / "inbox/b.jpg").unlink()

    result = lab.run(KEYS)

    assert "b: gone: no file below inbox/" in lab.failure(result)
    assert lab.materialized("generated_videos") == set(KEYS[:3])


def test_what_is_in_flight_for_a_shot_that_is_gone_is_collected(lab: Lab) -> None:
    lab.put_shots(KEYS[:2])
    lab.overrides["simulator"] = SimulatorResource(latency_s="1", render="shared")
    interrupted_run(lab, KEYS[:2], submitted(2))
    assert {str(job.state) for job in lab.jobs()} == {"submitted"}
    (lab.bucket / f"inbox/{KEYS[0]}.jpg").unlink()

    result = lab.run(KEYS[:2])

    assert f"{KEYS[0]}: gone: no file below inbox/" in lab.failure(result)
    assert {str(job.state) for job in lab.jobs()} == {"stored"}
    assert (lab.bucket / f"videos/{KEYS[0]}/take-1.mp4").exists()


def test_a_tag_that_nobody_understands_fails_the_run_before_any_money(lab: Lab) -> None:
    lab.put_shots(KEYS)

    result = lab.run(KEYS, tags={"wan/new_takes": "true"})

    assert "wan/new_takes" in lab.failure(result)
    assert lab.jobs() == []


def test_the_poster_links_to_the_video_where_the_bucket_is_served(lab: Lab) -> None:
    from wan_pipeline.defs.resources import BucketResource

    lab.overrides["bucket"] = BucketResource(public_base_url="http://127.0.0.1:9")
    lab.put("inbox/_defaults.yaml", DEFAULTS)
    lab.put("inbox/a b/ünï#1.jpg", jpeg(1))

    assert lab.run(["a b/ünï#1"]).success

    poster = lab.materialization("generated_videos", "a b/ünï#1").metadata["poster"].value
    base = "http://127.0.0.1:9/videos/a%20b/%C3%BCn%C3%AF%231/take-1"
    assert poster == f"[![poster]({base}.webp)]({base}.mp4)"
