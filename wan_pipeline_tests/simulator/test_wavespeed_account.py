"""WaveSpeed's list of predictions and billing records: what is found, in which order, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from wan_pipeline_tests.simulator.world import World, accepted

MODEL = "alibaba/wan-2.6/image-to-video-flash"
LIST, BILLINGS = "/api/v3/predictions", "/api/v3/billings/search"
DAY_S = 86_400


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def ask(world: World, path: str, **body: Any) -> dict[str, Any]:
    answer = world.http.post(path, json=body)
    assert answer.status_code == 200 and answer.json()["code"] == 200, answer.text
    return answer.json()["data"]


def items(world: World, **body: Any) -> list[dict[str, Any]]:
    return ask(world, LIST, **body)["items"]


def ids(world: World, **body: Any) -> list[str]:
    return [item["id"] for item in items(world, **body)]


def records(world: World, **body: Any) -> list[tuple[str, str, float]]:
    found = ask(world, BILLINGS, **body)["items"]
    return [(item["prediction"]["uuid"], item["billing_type"], item["price"]) for item in found]


def submit(world: World, **body: Any) -> str:
    prediction_id = accepted(world.wavespeed(**body))
    assert prediction_id
    return prediction_id


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def test_a_prediction_is_listed_from_the_moment_it_was_accepted_with_its_inputs(world: World):
    prediction_id = submit(world, prompt="The cat looks up", seed=7, duration=2)
    [item] = items(world)
    assert item["id"] == prediction_id and item["model"] == MODEL and item["status"] == "created"
    assert item["created_at"] == "2027-01-15T08:00:00.000000000Z", "in nanoseconds, as the list's sample"
    assert item["inputs"] == {"image": world.image, "prompt": "The cat looks up", "seed": 7, "duration": 2}
    world.finish()
    [done] = items(world)
    polled = world.http.get(f"{LIST}/{prediction_id}/result").json()["data"]
    assert done["status"] == "completed" and done["outputs"] == polled["outputs"] != []
    assert done["executionTime"] == done["timings"]["inference"] == 2000
    assert set(done) - {"inputs", "executionTime"} == set(polled)


def test_the_inputs_in_a_list_have_lost_their_urls_queries(world: World):
    submit(world, image=world.image + "?X-Amz-Signature=secret")
    assert items(world)[0]["inputs"]["image"] == world.image


def test_rows_hold_no_inputs_where_so_configured_or_not_asked_for(tmp_path: Path):
    shy = World(tmp_path / "shy", list_inputs=False)
    submit(shy)
    assert "inputs" not in items(shy)[0]
    open_ = World(tmp_path / "open")
    submit(open_)
    assert "inputs" not in items(open_, include_inputs=False)[0] and "inputs" in items(open_, include_inputs=True)[0]


def test_the_list_is_newest_first_and_its_pages_miss_none(world: World):
    submitted = []
    for number in range(5):
        submitted.append(submit(world))
        world.clock.now += number % 2
    pages = [ask(world, LIST, page=page, page_size=2) for page in (1, 2, 3, 4)]
    assert [page["page"] for page in pages] == [1, 2, 3, 4]
    assert [item["id"] for page in pages for item in page["items"]] == submitted[::-1]


def test_the_list_is_kept_by_model_status_and_time(world: World):
    start = world.clock.now
    done, failed = submit(world), submit(world, prompt="[fail]")
    world.clock.now += 10
    working = submit(world)
    world.clock.now += 1
    created = submit(world)
    assert ids(world) == [created, working, failed, done]
    assert ids(world, status="completed") == [done] and ids(world, status="failed") == [failed]
    assert ids(world, status="processing") == [working] and ids(world, status="created") == [created]
    assert ids(world, status="cancelled") == ids(world, status="timeout") == []
    assert ids(world, model=MODEL, status="completed") == [done] and ids(world, model="openai/sora") == []
    assert ids(world, created_after=stamp(start + 10)) == [created, working]
    assert ids(world, created_before=stamp(start + 10)) == [working, failed, done]
    assert ids(world, created_after=stamp(start + 1), created_before=stamp(start + 10)) == [working]
    assert ids(world, created_after="2027-01-15T09:00:05+01:00") == [created, working]


def test_predictions_are_listed_for_seven_days(world: World):
    old = submit(world)
    world.clock.now += 7 * DAY_S - 1
    new = submit(world)
    assert ids(world) == [new, old]
    world.clock.now += 1
    assert ids(world) == [new] == ids(world, created_after="2020-01-01T00:00:00Z")


def test_a_result_can_be_fetched_for_seven_days_at_wavespeed_and_for_one_elsewhere(world: World):
    assert [world.config.ttl_s(provider) / DAY_S for provider in ("wavespeed", "shortapi", "aimlapi")] == [7, 1, 1]
    submit(world)
    world.finish()
    url = items(world)[0]["outputs"][0]
    world.clock.now += 7 * DAY_S - 10
    assert world.http.get(url).status_code == 200
    world.clock.now += 10
    assert world.http.get(url).status_code == 403


def test_every_charge_and_refund_is_billed_with_its_prediction(world: World):
    good = submit(world, enable_audio=False)
    bad = submit(world, prompt="[fail]", resolution="1080p", enable_audio=False)
    accepted(world.aimlapi())
    assert records(world) == [(bad, "deduct", 0.1875), (good, "deduct", 0.125)]
    world.finish()
    assert records(world) == [(bad, "refund", 0.1875), (bad, "deduct", 0.1875), (good, "deduct", 0.125)]
    assert records(world, sort="created_at ASC")[0] == (good, "deduct", 0.125)
    assert records(world, billing_type="refund") == [(bad, "refund", 0.1875)]
    assert records(world, prediction_uuids=[good, "nobody"]) == [(good, "deduct", 0.125)]
    assert records(world, prediction_uuids=[]) == []
    assert records(world, model_uuid="openai/sora") == [] != records(world, model_uuid=MODEL)
    net = sum(price if kind == "deduct" else -price for _, kind, price in records(world))
    assert net * 1e9 == world.books.total_nanos("wavespeed")
    [record] = ask(world, BILLINGS, prediction_uuids=[good])["items"]
    assert record["prediction"] == {"uuid": good, "model_uuid": MODEL, "status": "completed"}
    assert record["order"]["price"] == record["price"] and record["created_at"] == "2027-01-15T08:00:00.000Z"


def test_billing_records_come_by_the_accounts_lag_and_are_found_by_time_and_page(tmp_path: Path):
    world = World(tmp_path, billing_lag_s=30)
    start_ms = round(world.clock.now * 1000)
    first = submit(world)
    assert records(world) == []
    world.clock.now += 30
    second = submit(world)
    assert records(world) == [(first, "deduct", 0.25)]
    world.clock.now += 30
    assert [each[0] for each in records(world)] == [second, first]
    pages = [ask(world, BILLINGS, page=page, page_size=1) for page in (1, 2, 3)]
    assert [page["total"] for page in pages] == [2, 2, 2]
    assert [item["prediction"]["uuid"] for page in pages for item in page["items"]] == [second, first]
    assert [each[0] for each in records(world, start_time=str(start_ms + 30_001))] == [second]
    assert [each[0] for each in records(world, end_time=str(start_ms + 30_000))] == [first]
    assert [each[0] for each in records(world, start_time="2027-01-15T08:00:31Z")] == [second]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (LIST, {"page": 0}),
        (LIST, {"page_size": 101}),
        (LIST, {"page_size": "10"}),
        (LIST, {"status": "succeeded"}),
        (LIST, {"created_after": "yesterday"}),
        (LIST, {"created_after": "2027-01-01T00:00:00"}),
        (LIST, {"created_before": 1_800_000_000}),
        (LIST, {"prompt": "A cat"}),
        (BILLINGS, {"page": -1}),
        (BILLINGS, {"page_size": 0}),
        (BILLINGS, {"billing_type": "charge"}),
        (BILLINGS, {"sort": "price ASC"}),
        (BILLINGS, {"start_time": 1_800_000_000_000}),
        (BILLINGS, {"start_time": "9" * 40}),
        (BILLINGS, {"prediction_uuids": "abc"}),
        (BILLINGS, {"prediction_id": "abc"}),
    ],
)
def test_what_is_not_allowed_is_a_400_in_its_style(world: World, path: str, body: dict[str, Any]):
    answer = world.http.post(path, json=body)
    assert answer.status_code == 400 == answer.json()["code"] and answer.json()["message"]


def test_without_a_key_nothing_is_told(world: World):
    for path in (LIST, BILLINGS):
        assert world.http.post(path, json={}, headers={"Authorization": ""}).json()["code"] == 401
    assert world.http.get("/api/v3/webhook/secret", headers={"Authorization": ""}).json()["code"] == 401


def test_an_account_that_cannot_be_overdrawn_refuses_what_it_cannot_pay_for(tmp_path: Path):
    world = World(tmp_path, opening_balance_usd="0.3")
    assert world.http.get("/api/v3/balance").json()["data"] == {"balance": 0.3}
    submit(world, enable_audio=False)
    refused = world.wavespeed()
    assert refused.status_code == 402 and "balance" in refused.json()["message"]
    assert world.shortapi(resolution="1080P").json()["code"] == 402
    assert accepted(world.wavespeed(enable_audio=False, prompt="[fail]"))
    assert world.wavespeed(enable_audio=False).status_code == 402
    world.finish()
    assert accepted(world.wavespeed(enable_audio=False)), "what was refunded can be spent again"
    assert world.books.total_nanos("wavespeed") == 250_000_000
