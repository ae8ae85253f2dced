"""One batch against the real simulator: made once, billed once, reused, never bought again by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wan_pipeline.generation.events import Finished, Inspected, Progress, Quoted, Stage, Verdict
from wan_pipeline.money import ZERO, Money
from wan_pipeline.providers.base import ProviderLimits
from wan_pipeline.shots.samples import write_samples
from wan_pipeline.spend.records import Budgets, JobState
from wan_pipeline_tests.generation.house import KEY, House, png


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def verdicts(results: dict[str, Finished]) -> dict[str, Verdict]:
    return {key: result.verdict for key, result in results.items()}


def test_the_samples_of_all_five_models_are_stored_checked_and_billed_exactly_as_the_books_say(house: House) -> None:
    write_samples(house.bucket)
    results = house.make()
    assert set(verdicts(results).values()) == {Verdict.MADE}, {k: r.reason for k, r in results.items()}
    videos = [result.video for result in results.values() if result.video]
    assert len({video.model for video in videos}) == 5
    for video in videos:
        assert all(check.passed for check in video.checks), video.checks
        assert len(video.checks) == 3
        assert house.bucket.stat(video.key).size_bytes == video.size_bytes
        manifest = json.loads(house.bucket.read(video.key.replace(".mp4", ".json")))
        assert manifest["job"]["provider_job_id"] == video.provider_job_id
        assert manifest["job"]["billed"] == str(video.billed)
        assert manifest["video"]["sha256"] == video.sha256
        assert house.bucket.read(video.key.replace(".mp4", ".webp"))[8:12] == b"WEBP"
    assert Money.total(video.billed or ZERO for video in videos).nanos == house.books.total_nanos()


def test_a_rerun_buys_nothing_and_says_that_each_video_was_there(house: House) -> None:
    house.shots(5)
    house.make()
    posts, charged = len(house.faults.posts), house.books.total_nanos()
    again = house.make()
    assert set(verdicts(again).values()) == {Verdict.REUSED}
    assert all(result.video and result.video.billed == ZERO for result in again.values())
    assert all(result.video and len(result.video.checks) == 3 for result in again.values())
    assert (len(house.faults.posts), house.books.total_nanos()) == (posts, charged)


def test_each_stage_tells_what_it_found_and_only_the_last_one_spends(house: House) -> None:
    house.shots(2)
    assert set(verdicts(house.make(Stage.INSPECT)).values()) == {Verdict.INSPECTED}
    assert [type(event) for event in house.events].count(Inspected) == 2
    quoted = house.make(Stage.QUOTE)
    assert set(verdicts(quoted).values()) == {Verdict.QUOTED}
    assert [event.quote.high for event in house.events if isinstance(event, Quoted)] == [Money.usd("0.05")] * 2
    assert house.faults.requests == []
    assert house.ledger().jobs() == []


def test_two_shots_with_the_same_request_buy_one_video_and_both_have_it(house: House) -> None:
    house.put("inbox/_defaults.yaml", "model: wavespeed/wan-2.6-i2v-flash\nprompt: a\nduration: 2\n")
    for name in ("one", "two"):
        house.put(f"inbox/{name}.png", png())
    results = house.make()
    assert sorted(verdicts(results).values()) == [Verdict.MADE, Verdict.REUSED]
    assert len(house.books.charges()) == 1
    reused = next(result for result in results.values() if result.verdict is Verdict.REUSED)
    made = next(result for result in results.values() if result.verdict is Verdict.MADE)
    assert reused.video and made.video
    assert reused.video.reused_from == made.shot.key
    assert house.bucket.read(f"videos/{reused.shot.key}/take-1.mp4") == house.bucket.read(made.video.key)
    manifest = json.loads(house.bucket.read(f"videos/{reused.shot.key}/take-1.json"))
    assert manifest["reused_from"]["shot"] == made.shot.key
    assert set(verdicts(house.make()).values()) == {Verdict.REUSED}
    assert len(house.books.charges()) == 1


def test_a_changed_request_is_a_new_take_and_going_back_to_the_old_one_finds_the_old_video(house: House) -> None:
    house.shots(1)
    first = house.make()["shot000"].video
    house.put("inbox/shot000.yaml", "prompt: Something else.\n")
    second = house.make()["shot000"].video
    house.put("inbox/shot000.yaml", "{}\n")
    third = house.make()["shot000"]
    assert first and second and third.video
    assert (first.take, second.take) == (1, 2)
    assert third.verdict is Verdict.REUSED
    assert third.video.sha256 == first.sha256
    assert len(house.books.charges()) == 2


def test_a_change_of_the_defaults_marks_finished_shots_outdated_and_buys_only_when_a_person_asks(house: House) -> None:
    house.shots(2)
    house.make()
    house.put("inbox/_defaults.yaml", "model: wavespeed/wan-2.6-i2v-flash\nprompt: New.\nduration: 2\n")
    assert set(verdicts(house.make()).values()) == {Verdict.OUTDATED}
    assert len(house.books.charges()) == 2
    remade = house.make(keys=["shot001"], outdated=True)
    assert verdicts(remade) == {"shot001": Verdict.MADE}
    assert remade["shot001"].video and remade["shot001"].video.take == 2
    assert len(house.books.charges()) == 3


def test_a_new_take_is_bought_only_on_purpose_and_each_time_once(house: House) -> None:
    house.shots(1)
    house.make()
    second = house.make(new_take=True)["shot000"]
    assert second.verdict is Verdict.MADE
    assert second.video and second.video.take == 2
    assert verdicts(house.make()) == {"shot000": Verdict.REUSED}
    assert len(house.books.charges()) == 2


@pytest.mark.parametrize("word", ["[refuse]", "[fail]"])
def test_one_that_the_provider_refuses_or_fails_stands_alone_and_is_tried_again_only_by_name(
    house: House, word: str
) -> None:
    house.shots(4)
    house.put("inbox/shot002.yaml", f'prompt: "{word}"\n')
    results = house.make()
    assert verdicts(results).pop("shot002") is Verdict.FAILED
    assert [v for k, v in verdicts(results).items() if k != "shot002"] == [Verdict.MADE] * 3
    assert results["shot002"].reason
    posts = len(house.faults.posts)
    assert verdicts(house.make())["shot002"] is Verdict.FAILED
    assert len(house.faults.posts) == posts, "a failure was tried again by itself"
    house.make(keys=["shot002"], retry_failed=True)
    assert len(house.faults.posts) == posts + 1
    net = house.books.total_nanos()
    ledger = house.ledger()
    assert Money.total(job.billed or ZERO for job in ledger.jobs()).nanos == net


def test_a_failure_that_was_charged_is_told_with_what_it_cost_in_this_batch_and_not_again(house: House) -> None:
    house.put("inbox/sad.png", png())
    house.put("inbox/sad.yaml", 'model: shortapi/wan-2.7-i2v\nduration: 2\nprompt: "[fail]"\n')
    assert house.make()["sad"].billed == Money.usd("0.17"), "ShortAPI does not say that it gives the money back"
    assert house.make()["sad"].billed == ZERO


def test_what_does_not_fit_the_budget_is_not_bought_and_says_until_when(tmp_path: Path) -> None:
    house = House(tmp_path, budgets=Budgets(Money.usd("0.12"), Money.usd(9), Money.usd(9)))
    house.shots(4)
    results = house.make()
    assert sorted(verdicts(results).values()) == [Verdict.DEFERRED] * 2 + [Verdict.MADE] * 2
    reason = next(result.reason for result in results.values() if result.verdict is Verdict.DEFERRED)
    assert "WAN_DAILY_BUDGET_USD is 0.12 USD" in reason
    assert "there is room again from" in reason
    assert house.books.total_nanos() == Money.usd("0.10").nanos


def test_a_shot_before_its_time_is_not_bought(house: House) -> None:
    house.shots(2)
    house.put("inbox/shot001.yaml", "not_before: 2999-01-01T00:00:00Z\n")
    assert verdicts(house.make()) == {"shot000": Verdict.MADE, "shot001": Verdict.NOT_DUE}
    assert len(house.faults.posts) == 1


def test_bad_inputs_are_told_one_by_one_and_the_good_shots_beside_them_are_made(house: House) -> None:
    house.shots(2)
    house.put("inbox/text.png", "this is no picture")
    house.put("inbox/cut.jpg", png()[:200])
    house.put("inbox/huge.png", png(size=(20000, 20000), mode="1", colour="white"))
    house.put("inbox/broken.yaml", "prompt: [unclosed\n")
    house.put("inbox/seen-through.png", png(mode="RGBA"))
    house.put("inbox/seen-through.yaml", "model: shortapi/wan-2.7-i2v\n")
    house.put("inbox/wide.png", png(size=(4000, 300)))
    house.put("inbox/wide.yaml", "model: shortapi/wan-2.7-i2v\n")
    house.put("inbox/who.png", png("red"))
    house.put("inbox/who.yaml", "model: wavespeed/wan-9\n")
    house.put("inbox/lacks.png", png("green"))
    house.put("inbox/lacks.yaml", "model: shortapi/wan-2.6-i2v\nduration: 5\nseed: 7\n")
    house.put("inbox/escape.yaml", "inputs: {first_frame: ../../secret.png}\n")
    house.put("inbox/a,b.png", png("blue"))
    results = house.make()
    bad = {key: result for key, result in results.items() if not key.startswith("shot")}
    assert len(bad) == 10, sorted(bad)
    assert {result.verdict for result in bad.values()} == {Verdict.NOT_READY}
    assert all("inbox/" in result.reason for result in bad.values()), {k: r.reason for k, r in bad.items()}
    assert [verdicts(results)[key] for key in ("shot000", "shot001")] == [Verdict.MADE] * 2
    assert len(house.faults.posts) == 2


def test_a_bucket_that_nobody_can_fetch_from_serves_aimlapi_by_data_uri_and_the_others_are_told(tmp_path: Path) -> None:
    house = House(tmp_path, fetchable=False)
    house.shots(1)
    house.put("inbox/inline.png", png("navy"))
    house.put("inbox/inline.yaml", "model: aimlapi/wan-2.6-i2v\nduration: 5\n")
    results = house.make()
    assert verdicts(results) == {"inline": Verdict.MADE, "shot000": Verdict.NOT_READY}
    assert "WAN_PUBLIC_BASE_URL" in results["shot000"].reason
    assert len(house.faults.posts) == 1


def test_more_shots_than_the_provider_takes_at_once_are_all_made_in_the_end(tmp_path: Path) -> None:
    house = House(tmp_path, simulator_in_flight=2, latency_s=0.3, limits=ProviderLimits(6, 6000))
    house.shots(7)
    house.faults.fault = None
    results = house.make()
    assert set(verdicts(results).values()) == {Verdict.MADE}
    assert len(house.books.charges()) == 7


def test_the_key_and_the_signed_part_of_a_url_are_nowhere_that_we_write(house: House) -> None:
    house.shots(2)
    results = house.make()
    assert set(verdicts(results).values()) == {Verdict.MADE}
    ours = [path for path in house.folder.rglob("*") if path.is_file() and "simulator" not in path.parts]
    assert any(path.name.startswith("ledger.sqlite") for path in ours)
    for path in ours:
        data = path.read_bytes()
        assert KEY.encode() not in data, path
        assert b"Signature=" not in data, path
    assert not [event for event in house.events if KEY in str(event) or "Signature=" in str(event)]


def test_progress_names_every_state_in_order(house: House) -> None:
    house.shots(1)
    house.make()
    states = [event.state for event in house.events if isinstance(event, Progress)]
    assert states == [JobState.SUBMITTED, JobState.GENERATED]
    assert isinstance(house.events[-1], Finished)
