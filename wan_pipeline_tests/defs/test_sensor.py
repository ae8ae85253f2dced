"""The bucket sensor: every new or changed shot is asked for once, whatever happens between two ticks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from wan_pipeline.bucket import BucketObject, FolderBucket, open_bucket
from wan_pipeline.defs import sensors
from wan_pipeline.defs.take_up import remember_finished
from wan_pipeline.generation.events import Finished, Verdict
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.shots.discovery import discover
from wan_pipeline_tests.defs.lab import DEFAULTS, Lab, asked_for, jpeg

KEYS = ["a/one", "a/two", "b"]


def _settle(lab: Lab) -> str:
    """Everything that is in the bucket now was asked for, and Dagster has kept that; gives the cursor."""
    cursor = lab.tick(lab.tick().cursor).cursor
    assert cursor is not None
    assert asked_for(lab.tick(cursor).run_requests) == []
    return cursor


def test_new_shots_become_partitions_and_one_run_over_their_range(lab: Lab) -> None:
    lab.put_shots(KEYS)

    result = lab.tick()

    assert lab.partitions == KEYS
    assert asked_for(result.run_requests) == [("a/one", "b")]
    assert result.run_requests is not None
    assert result.run_requests[0].tags["wan/asked_by"] == "sensor"


def test_what_was_launched_is_not_asked_for_again(lab: Lab) -> None:
    lab.put_shots(KEYS)
    first = lab.tick()

    second = lab.tick(first.cursor)
    third = lab.tick(second.cursor)

    assert asked_for(second.run_requests) == asked_for(third.run_requests) == []
    assert "3 shots in the bucket, nothing new" in str(third.skip_reason)


def test_a_tick_whose_runs_were_not_launched_is_repeated_with_the_same_run_keys(lab: Lab) -> None:
    """Killed after the partitions were added and before Dagster kept the cursor; a run of that key is launched once."""
    lab.put_shots(KEYS)
    lost = lab.tick()

    again = lab.tick()

    assert [request.run_key for request in again.run_requests or ()] == [
        request.run_key for request in lost.run_requests or ()
    ]
    assert lab.partitions == KEYS


def test_a_changed_shot_is_asked_for_alone(lab: Lab) -> None:
    lab.put_shots(KEYS)
    cursor = _settle(lab)
    lab.put("inbox/a/two.jpg", jpeg(200))

    changed = lab.tick(cursor)

    assert asked_for(changed.run_requests) == [("a/two", "a/two")]


def test_a_change_that_comes_from_defaults_asks_for_nothing(lab: Lab) -> None:
    lab.put_shots(KEYS)
    cursor = _settle(lab)
    lab.put("inbox/_defaults.yaml", DEFAULTS.replace("fall", "rise"))

    assert asked_for(lab.tick(cursor).run_requests) == []


def test_broken_defaults_ask_for_nothing_that_was_made_already(lab: Lab) -> None:
    lab.put_shots(KEYS)
    cursor = _settle(lab)
    lab.put("inbox/_defaults.yaml", "model: [")
    broken = lab.tick(cursor)
    lab.put("inbox/_defaults.yaml", DEFAULTS)
    mended = lab.tick(broken.cursor)

    assert asked_for(broken.run_requests) == asked_for(mended.run_requests) == []


def test_a_shot_that_defaults_make_ready_is_asked_for(lab: Lab) -> None:
    lab.put_shots(KEYS)
    lab.put("inbox/_defaults.yaml", "duration: 2\nprompt: The leaves fall.\n")  # no model
    cursor = _settle(lab)
    lab.put("inbox/_defaults.yaml", DEFAULTS)

    assert asked_for(lab.tick(cursor).run_requests) == [("a/one", "b")]


def test_a_shot_with_mistakes_has_a_run_of_its_own_once_for_each_set_of_mistakes(lab: Lab) -> None:
    lab.put_shots(KEYS)
    lab.put("inbox/a/one.yaml", "colour: red\n")
    first = lab.tick()
    assert asked_for(first.run_requests) == [("a/two", "b"), ("a/one", "a/one")]

    same = lab.tick(first.cursor)
    assert asked_for(same.run_requests) == []

    lab.put("inbox/a/one.yaml", "smell: sweet\n")
    assert asked_for(lab.tick(same.cursor).run_requests) == [("a/one", "a/one")]


def test_files_that_are_not_quiet_yet_are_waited_for(lab: Lab) -> None:
    lab.settings["settle_seconds"] = "3600"
    lab.put_shots(KEYS)

    result = lab.tick()

    assert asked_for(result.run_requests) == []
    assert "3 wait for their files to be quiet" in str(result.skip_reason)
    assert lab.partitions == []


def test_an_image_that_comes_while_the_bucket_is_listed_waits_for_the_next_listing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The yaml that names it came before it, where this listing had been already."""
    lab.put_shots(["a", "b"])
    cursor = _settle(lab)
    real = FolderBucket.list

    def slow(bucket: FolderBucket, prefix: str = "", start_after: str = "") -> Iterator[BucketObject]:
        for item in real(bucket, prefix, start_after):
            yield item
            if item.key == "inbox/b.jpg":
                lab.put("inbox/0group.yaml", "inputs: {first_frame: z/end.jpg}\n")
                lab.put("inbox/z/end.jpg", jpeg(77))
                yield from real(bucket, "inbox/z/")

    with monkeypatch.context() as patched:
        patched.setattr(FolderBucket, "list", slow)
        during = lab.tick(cursor)
    assert asked_for(during.run_requests) == []
    assert "1 wait for their files to be quiet" in str(during.skip_reason)
    assert asked_for(lab.tick(during.cursor).run_requests) == [("0group", "0group")]


def test_a_shot_that_is_not_due_is_a_partition_and_is_not_asked_for(lab: Lab) -> None:
    lab.put_shots(KEYS)
    moment = datetime.now(UTC) + timedelta(days=1)
    lab.put("inbox/b.yaml", f"not_before: {moment.isoformat()}\n")

    result = lab.tick()

    assert lab.partitions == KEYS
    assert asked_for(result.run_requests) == [("a/one", "a/two")]
    assert "1 are not due yet" in str(lab.tick(result.cursor).skip_reason)


def test_many_shots_are_split_into_runs_and_over_ticks_and_none_is_lost(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "MAX_SHOTS_PER_TICK", 300)
    lab.put("inbox/_defaults.yaml", DEFAULTS)
    keys = [f"s{n:03d}" for n in range(330)]
    for key in keys:
        lab.put(f"inbox/{key}.jpg", b"inspection would say that this is none")

    first = lab.tick()
    second = lab.tick(first.cursor)
    third = lab.tick(second.cursor)

    assert lab.partitions == keys
    assert asked_for(first.run_requests) == [("s000", "s199"), ("s200", "s299")]
    assert asked_for(second.run_requests) == [("s300", "s329")]
    assert asked_for(third.run_requests) == []


def test_a_tick_out_of_time_asks_for_nothing_and_the_next_goes_on_from_there(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.put_shots(KEYS, dict.fromkeys(KEYS, "A prompt of its own."))
    monkeypatch.setattr(sensors, "TICK_SECONDS", 0)

    late = lab.tick()
    monkeypatch.undo()
    on_time = lab.tick(late.cursor)

    assert "were not enough" in str(late.skip_reason)
    assert asked_for(late.run_requests) == []
    assert asked_for(on_time.run_requests) == [("a/one", "b")]


def test_what_a_person_has_had_made_is_not_asked_for(lab: Lab) -> None:
    lab.put_shots(KEYS)
    assert lab.run(KEYS).success

    assert asked_for(lab.tick().run_requests) == []


def test_what_was_stopped_before_it_was_bought_is_asked_for(lab: Lab) -> None:
    lab.put_shots(KEYS)
    ends = dict(zip(KEYS, (Verdict.MADE, Verdict.STOPPED, Verdict.MADE), strict=True))
    finished = [Finished(shot, ends[shot.key]) for shot in discover(open_bucket(str(lab.bucket)), None)]
    with lab.ledger() as ledger:
        remember_finished(ledger.index, finished, datetime.now(UTC), simulated=True)

    assert asked_for(lab.tick().run_requests) == [("a/two", "a/two")]


def test_what_a_person_has_had_quoted_is(lab: Lab) -> None:
    lab.put_shots(KEYS)
    assert lab.run(KEYS, "quote_shots").success

    assert asked_for(lab.tick().run_requests) == [("a/one", "b")]


def test_what_was_tried_in_demo_mode_is_not_taken_for_made_in_live_mode(lab: Lab) -> None:
    lab.put_shots(KEYS)
    _settle(lab)
    live = Lab(lab.home, lab.instance, {"mode": "live"})

    assert asked_for(live.tick().run_requests) == [("a/one", "b")]


def test_a_shot_that_is_gone_is_not_asked_for_and_comes_back_when_it_does(lab: Lab) -> None:
    lab.put_shots(KEYS)
    lab.put("inbox/b.jpg", jpeg(99))
    first = lab.tick()
    (lab.bucket / "inbox/b.jpg").unlink()
    second = lab.tick(first.cursor)
    lab.put("inbox/b.jpg", jpeg(160))
    third = lab.tick(second.cursor)

    assert asked_for(second.run_requests) == []
    assert asked_for(third.run_requests) == [("b", "b")]
    assert lab.partitions == KEYS


def test_a_broken_bucket_fails_the_tick_and_is_not_taken_for_an_empty_one(lab: Lab) -> None:
    lab.put_shots(KEYS)
    cursor = _settle(lab)
    lab.bucket.rename(lab.home / "elsewhere")
    lab.bucket.write_text("a file, not a folder")

    with pytest.raises(ConfigurationError, match=r"WAN_BUCKET_URL: .*/bucket is no folder"):
        lab.tick(cursor)
    with lab.ledger() as ledger:
        assert {row.gone_at for row in ledger.index.load().values()} == {None}


@pytest.mark.parametrize("cursor", ["", "{}", "nonsense", '{"asked_for": [["gone", "x"]]}', '{"asked_for": 3}'])
def test_a_cursor_that_somebody_has_edited_loses_nothing(lab: Lab, cursor: str) -> None:
    lab.put_shots(KEYS)

    assert asked_for(lab.tick(cursor).run_requests) == [("a/one", "b")]
