"""AI/ML API's logs and transactions: what is found, when, by whom, and what the descriptions refuse."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from wan_pipeline_tests.simulator.world import World, accepted

LOGS, TRANSACTIONS = "/v2/logs", "/v2/billing/transactions"
SCHEMAS = Path(__file__).parents[3] / "shared/providers/aimlapi"
DAY_S = 86_400


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, logs_per_minute=None)


def ask(world: World, path: str, headers: dict[str, str] | None = None, **params: Any) -> dict[str, Any]:
    answer = world.http.get(path, params=params, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def rows(world: World, headers: dict[str, str] | None = None, **params: Any) -> list[dict[str, Any]]:
    return ask(world, LOGS, headers, **({"period": "1d"} | params))["data"]


def entries(world: World, **params: Any) -> list[dict[str, Any]]:
    return ask(world, TRANSACTIONS, **params)["data"]


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def submit(world: World, attempt: str | None = None, **body: Any) -> str:
    generation_id = accepted(world.aimlapi({} if attempt is None else {"X-Client-Request-Id": attempt}, **body))
    assert generation_id
    return generation_id


def test_a_request_in_flight_is_in_no_log_and_no_account_until_it_ends(world: World):
    generation_id = submit(world, "attempt-1", duration=5)
    assert rows(world) == [] == entries(world, type="MODEL_USAGE")
    world.clock.now += 1.999
    assert rows(world) == [] == entries(world, type="MODEL_USAGE")
    world.clock.now += 0.001
    [row], [entry] = rows(world), entries(world, type="MODEL_USAGE")
    assert row == {
        "created": "2027-01-15T08:00:00.000Z",
        "status": "succeeded",
        "origin": "api",
        "model": "alibaba/wan-2-6-i2v",
        "cost": {"usd": 0.7875, "credits": 1575000},
        "tokens": {"input": 0, "output": 0, "total": 0},
        "request_id": row["request_id"],
        "inference_id": generation_id,
        "client_request_id": "attempt-1",
    }
    assert entry == {
        "created_at": "2027-01-15T08:00:02.000Z",
        "direction": "CHARGE",
        "type": "MODEL_USAGE",
        "amount": {"usd": 0.7875, "credits": 1575000},
        "model": "alibaba/wan-2-6-i2v",
        "reference_id": generation_id,
    }


def test_the_charge_lands_after_the_generation_by_the_accounts_lag_and_the_books_have_it_at_once(tmp_path: Path):
    world = World(tmp_path, billing_lag_s=600)
    submit(world)
    world.clock.now += 2
    assert len(rows(world)) == 1 and entries(world, type="MODEL_USAGE") == []
    assert len(world.books.charges()) == 1
    world.clock.now += 599.9
    assert entries(world, type="MODEL_USAGE") == []
    world.clock.now += 0.1
    [entry] = entries(world, type="MODEL_USAGE")
    assert entry["created_at"] == "2027-01-15T08:10:02.000Z"
    late = stamp(world.clock.now)
    assert entries(world, type="MODEL_USAGE", **{"from": late}) == [entry], "from counts when it got there"


def test_the_logs_may_lag_too(tmp_path: Path):
    world = World(tmp_path, logs_lag_s=60)
    submit(world)
    world.clock.now += 61.9
    assert rows(world) == []
    world.clock.now += 0.1
    assert len(rows(world)) == 1


def test_a_failed_request_is_logged_at_no_cost_and_never_charged(world: World):
    generation_id = submit(world, "attempt-1", prompt="a cat [fail]")
    world.finish()
    [row] = rows(world)
    assert (row["status"], row["inference_id"]) == ("failed", generation_id)
    assert row["cost"] == {"usd": 0, "credits": 0}
    assert [entry["type"] for entry in entries(world)] == ["INIT"]
    assert world.books.total_nanos() == 0


def test_a_submission_that_was_refused_has_no_row_since_it_got_no_inference_id(tmp_path: Path):
    world = World(tmp_path, max_in_flight=1, opening_balance_usd="2", keys=frozenset({"key-1"}))
    headers = {"X-Client-Request-Id": "refused"}
    refused = [
        world.aimlapi(headers, duration=7),
        world.aimlapi(headers | {"Authorization": "Bearer wrong"}),
        world.aimlapi(headers, prompt="[refuse]"),
    ]
    submit(world, "accepted", duration=10)
    refused.append(world.aimlapi(headers))
    world.finish()
    refused.append(world.aimlapi(headers, duration=10))
    assert [answer.status_code for answer in refused] == [400, 401, 400, 429, 403]
    assert all("x-inference-id" not in answer.headers for answer in refused)
    world.finish()
    assert [row["client_request_id"] for row in rows(world)] == ["accepted"]
    assert [post.outcome for post in world.books.post_rows()] == [
        "invalid", "unauthorized", "invalid", "accepted", "busy", "no credit",
    ]  # fmt: skip
    assert world.books.total_nanos() == 1_575_000_000


def test_a_request_id_outside_the_alphabet_was_dropped_and_is_null_in_the_logs(world: World):
    submit(world, "has space")
    submit(world)
    world.finish()
    assert [row["client_request_id"] for row in rows(world)] == [None, None]


def test_the_logs_are_those_of_the_key_that_asks_and_the_account_is_of_all_keys(world: World):
    submit(world, "mine")
    accepted(world.aimlapi({"Authorization": "Bearer other-key", "X-Client-Request-Id": "other"}))
    world.finish()
    other = {"Authorization": "Bearer other-key"}
    assert [row["client_request_id"] for row in rows(world)] == ["mine"]
    assert [row["client_request_id"] for row in rows(world, other)] == ["other"]
    assert [row["client_request_id"] for row in rows(world, key_prefix="key-")] == ["mine"]
    refused = world.http.get(LOGS, params={"period": "1d", "key_prefix": "other"})
    assert refused.status_code == 403 and "management key" in refused.json()["message"]
    assert len(entries(world, type="MODEL_USAGE")) == 2
    for name in ("books.sqlite", "books.sqlite-wal"):
        assert b"other-key" not in (world.config.folder / name).read_bytes()


def test_rows_come_newest_first_and_pages_miss_none_and_show_none_twice(world: World):
    for number in range(7):
        submit(world, f"attempt-{number}")
        world.clock.now += number % 2  # some at the same moment
    world.finish()
    seen: list[str] = []
    for offset in (0, 3, 6):
        answer = ask(world, LOGS, period="1d", limit=3, offset=offset)
        seen += [row["client_request_id"] for row in answer["data"]]
        assert answer["pagination"] == {"limit": 3, "offset": offset, "total": 7, "has_more": offset < 6}
    assert seen == [f"attempt-{number}" for number in reversed(range(7))]
    beyond = ask(world, LOGS, period="1d", offset=7)
    assert beyond["data"] == [] and beyond["pagination"]["has_more"] is False


def test_the_window_counts_when_the_request_was_made(world: World):
    start = world.clock.now
    submit(world, "first")
    world.clock.now += 3600
    submit(world, "second")
    world.finish()

    def found(**window: str) -> list[str]:
        answer = ask(world, LOGS, **window)
        return [row["client_request_id"] for row in answer["data"]]

    assert found(start=stamp(start), end=stamp(start + 3599)) == ["first"]
    assert found(start=stamp(start + 1), end=stamp(start + 3600)) == ["second"]
    assert found(start="2027-01-15T08:00:00", end="2027-01-15T08:00:01") == ["first"], "no offset is UTC"
    assert found(start="2027-01-15T09:00:00+01:00", end="2027-01-15T09:00:01+01:00") == ["first"]
    assert found(period="1h") == ["second"]
    assert found(period="2h") == ["second", "first"]
    world.clock.now = start + 93 * DAY_S
    assert found(period="92d") == [] and found(period="2208h") == []
    assert found(start=stamp(start), end=stamp(start + 92 * DAY_S)) == ["second", "first"]


def test_rows_are_kept_by_model_and_status(world: World):
    submit(world, "good")
    submit(world, "bad", prompt="[fail]")
    accepted(world.wavespeed())
    world.finish()

    def found(**params: Any) -> list[str]:
        return [row["client_request_id"] for row in rows(world, **params)]

    assert found() == ["bad", "good"]
    assert found(status="failed") == ["bad"] and found(status="succeeded") == ["good"]
    assert found(status=["succeeded", "failed"]) == ["bad", "good"]
    assert found(model="alibaba/wan-2-6-i2v") == found(model="wan-2-6-i2v") == ["bad", "good"]
    assert found(model=["openai/gpt-5", "wan-2-6-i2v"]) == ["bad", "good"]
    assert found(model="openai/gpt-5") == found(model="wan-2-6") == []
    assert found(model="alibaba/wan-2-6-i2v,openai/gpt-5") == [], "a comma-separated list is one long name"


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"period": "7d", "start": "2027-01-01T00:00:00Z", "end": "2027-01-02T00:00:00Z"},
        {"period": "7d", "end": "2027-01-02T00:00:00Z"},
        {"start": "2027-01-01T00:00:00Z"},
        {"end": "2027-01-01T00:00:00Z"},
        {"start": "2027-01-02T00:00:00Z", "end": "2027-01-01T00:00:00Z"},
        {"start": "2027-01-01T00:00:00Z", "end": "2027-04-03T00:00:01Z"},
        {"start": "yesterday", "end": "2027-01-02T00:00:00Z"},
        {"start": "2027-01-01T00:00:00 00:00", "end": "2027-01-02T00:00:00Z"},
        {"period": "93d"},
        {"period": "2209h"},
        {"period": "0d"},
        {"period": "-1d"},
        {"period": "7"},
        {"period": "7w"},
        {"period": "1.5h"},
        {"period": "7d", "status": "succeeded,failed"},
        {"period": "7d", "status": "queued"},
        {"period": "7d", "limit": "0"},
        {"period": "7d", "limit": "101"},
        {"period": "7d", "limit": "ten"},
        {"period": "7d", "limit": ["10", "20"]},
        {"period": "7d", "offset": "-1"},
        {"period": "7d", "model": [f"m{number}" for number in range(51)]},
        {"period": "7d", "client_request_id": "attempt-1"},
    ],
)
def test_what_the_logs_do_not_allow_is_a_400_in_its_style(world: World, params: dict[str, Any]):
    answer = world.http.get(LOGS, params=params)
    assert answer.status_code == 400, answer.text
    refusal = answer.json()
    assert set(refusal) == {"message", "path", "requestId", "statusCode", "timestamp"}
    assert refusal["path"] == LOGS and refusal["statusCode"] == 400 and refusal["message"]


def test_more_than_the_limit_a_minute_is_a_429_that_says_when_to_come_again(tmp_path: Path):
    world = World(tmp_path, logs_per_minute=3)
    for _ in range(3):
        rows(world)
        world.clock.now += 1
    refused = world.http.get(LOGS, params={"period": "1d"})
    assert refused.status_code == 429 and refused.headers["Retry-After"] == "57"
    world.clock.now += 57
    assert rows(world) == []
    world.clock.now -= 100_000  # a clock that is put back locks nobody out
    assert rows(world) == []


def test_without_a_key_nothing_is_told(world: World):
    for path in (LOGS, TRANSACTIONS):
        answer = world.http.get(path, params={"period": "1d"}, headers={"Authorization": ""})
        assert answer.status_code == 401 and answer.json()["path"] == path


def test_a_cursor_leads_through_all_of_the_account_also_where_entries_land_meanwhile(world: World):
    ids = [submit(world) for _ in range(5)]
    world.finish()
    answer = ask(world, TRANSACTIONS, limit=2)
    found = answer["data"]
    for _ in range(2):
        submit(world)  # newer than what is being read
        world.finish()
        assert answer["pagination"]["has_more"] is True
        answer = ask(world, TRANSACTIONS, limit=2, cursor=answer["pagination"]["next_cursor"])
        found += answer["data"]
    assert answer["pagination"] == {"next_cursor": None, "has_more": False}
    assert [entry["reference_id"] for entry in found] == [*reversed(ids), None]
    assert found[-1]["direction"] == "TOPUP" and found[-1]["amount"] == {"usd": 1000, "credits": 2_000_000_000}


def test_a_cursor_is_accepted_only_as_it_was_issued(world: World):
    for _ in range(3):
        submit(world)
    world.finish()
    cursor = ask(world, TRANSACTIONS, limit=1)["pagination"]["next_cursor"]
    assert len(entries(world, cursor=cursor)) == 3
    example = "eyJ2IjoxLCJjIjoiMjAyNi0wOC0xN1QxMDowMDowMC4wMDBaIn0"
    for wrong in (
        cursor[:-1],
        cursor + "=",
        cursor[:5] + ("A" if cursor[5] != "A" else "B") + cursor[6:],
        "",
        "0",
        example,
    ):
        assert world.http.get(TRANSACTIONS, params={"cursor": wrong}).status_code == 400, wrong


def test_the_account_is_filtered_by_direction_type_and_time(world: World):
    opened = world.clock.now
    world.clock.now += 100
    first = submit(world)
    world.clock.now += 3600
    second = submit(world)
    world.finish()

    def found(**params: Any) -> list[str | None]:
        return [entry["reference_id"] for entry in entries(world, **params)]

    assert found() == [second, first, None]
    assert found(direction="CHARGE") == found(type="MODEL_USAGE") == [second, first]
    assert found(direction="TOPUP") == found(type="INIT") == [None]
    assert found(direction="TOPUP", type="MODEL_USAGE") == found(type="REFUND") == found(type="PAYMENT") == []
    landed = opened + 102
    assert found(**{"from": stamp(landed), "to": stamp(landed + 1)}) == [first]
    assert found(**{"from": stamp(landed + 0.5)}) == [second]
    assert found(to=stamp(landed)) == [None], "before this moment"
    assert found(**{"from": stamp(opened), "to": stamp(opened + 1)}) == [None]


@pytest.mark.parametrize(
    "params",
    [
        {"from": "2027-01-01T00:00:00"},
        {"to": "2027-01-01"},
        {"from": "2027-01-01T00:00:00Z", "to": "2027-01-01T00:00:00Z"},
        {"direction": "charge"},
        {"direction": ["CHARGE", "TOPUP"]},
        {"type": "USAGE"},
        {"limit": "0"},
        {"limit": "101"},
        {"offset": "1"},
        {"start": "2027-01-01T00:00:00Z"},
    ],
)
def test_what_the_account_does_not_allow_is_a_400_in_its_style(world: World, params: dict[str, Any]):
    answer = world.http.get(TRANSACTIONS, params=params)
    assert answer.status_code == 400 and answer.json()["path"] == TRANSACTIONS


@pytest.mark.skipif(not SCHEMAS.exists(), reason="shared/providers is not beside the checkout")
@pytest.mark.parametrize(("path", "document"), [(LOGS, "logs-v2.json"), (TRANSACTIONS, "billing-transactions-v2.json")])
def test_every_answer_validates_against_the_published_schema(world: World, path: str, document: str):
    import jsonschema

    operation = json.loads((SCHEMAS / document).read_text())["paths"][path]["get"]
    schema = _without_nullable(operation["responses"]["200"]["content"]["application/json"]["schema"])
    validator = jsonschema.Draft202012Validator(schema)
    window = {"period": "1d"} if path == LOGS else {}
    validator.validate(ask(world, path, **window))
    for prompt, attempt in (("a", "attempt-1"), ("b [fail]", None), ("c", "attempt-3")):
        submit(world, attempt, prompt=prompt)
    world.finish()
    for params in ({}, {"limit": 1}):
        answer = ask(world, path, **window, **params)
        assert answer["data"]
        validator.validate(answer)
    documented = {parameter["name"] for parameter in operation["parameters"]}
    for name in documented:
        refusal = world.http.get(path, params={name: "£"}).json()
        assert "should not exist" not in refusal.get("message", ""), "each documented parameter is known"


def _without_nullable(schema: Any) -> Any:
    """OpenAPI 3.0's `nullable` as JSON Schema; and nothing that the description does not name."""
    if isinstance(schema, list):
        return [_without_nullable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _without_nullable(value) for key, value in schema.items() if key != "nullable"}
    if schema.get("nullable") is True:
        plain["type"] = [plain["type"], "null"]
    if plain.get("type") == "object":
        plain["additionalProperties"] = False
    return plain
