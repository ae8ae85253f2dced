"""What WaveSpeed publishes of its model's parameters: what is sent and would not be taken is drift, what is added is not."""

from __future__ import annotations

import asyncio
import json
from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

from wan_pipeline.providers.base import PollError, ProviderLimits
from wan_pipeline.providers.catalog import find_model
from wan_pipeline.providers.schema_drift import schema_drift
from wan_pipeline.providers.wavespeed import WaveSpeedClient
from wan_pipeline.providers.wavespeed_schema import PublishedSchema, SchemaTeller, read_published
from wan_pipeline_tests.providers.ordering import AIMLAPI, WAVESPEED
from wan_pipeline_tests.providers.tiny_server import KEY, QUICK, Behaviour, client_of, says, serving

FLASH = find_model(WAVESPEED)
PATH = "/api/v3/alibaba/wan-2.6/image-to-video-flash"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["image", "prompt"],
    "properties": {
        "image": {"type": "string"},
        "audio": {"type": "string"},
        "prompt": {"type": "string"},
        "negative_prompt": {"type": "string"},
        "resolution": {"type": "string", "enum": ["720p", "1080p"], "default": "720p"},
        "duration": {"type": "integer", "minimum": 2, "maximum": 15, "default": 5},
        "shot_type": {"type": "string", "enum": ["single", "multi"]},
        "enable_prompt_expansion": {"type": "boolean"},
        "enable_audio": {"type": "boolean"},
        "seed": {"type": "integer", "minimum": -1, "maximum": 2147483647},
    },
}


def listed(schema: Any, path: str = PATH) -> dict[str, Any]:
    run = {"type": "model_run", "method": "POST", "api_path": path, "request_schema": schema}
    mine = {"model_id": FLASH.upstream_id, "base_price": 0.125, "api_schema": {"api_schemas": [{"type": "other"}, run]}}
    return {"code": 200, "message": "success", "data": [{"model_id": "a/b", "api_schema": {}}, mine]}


def drift_of(changed: dict[str, Any], path: str = PATH) -> str | None:
    """The words, once the published schema is changed so (a property of None: removed)."""
    schema = deepcopy(SCHEMA)
    schema["required"] += changed.pop("required", [])
    for name, rule in changed.items():
        schema["properties"][name] = rule
        if rule is None:
            del schema["properties"][name]
    published = read_published(listed(schema, path), FLASH)
    assert isinstance(published, PublishedSchema)
    drift = schema_drift(FLASH, published, PATH)
    return None if drift is None else drift.detail


def test_the_documents_own_parameters_are_no_drift_nor_is_what_is_added() -> None:
    assert drift_of({}) is None
    assert drift_of({"camera": {"type": "string"}, "resolution": {"enum": ["480p", "720p", "1080p", "4k"]}}) is None
    assert drift_of({"duration": {"type": "integer", "minimum": 1, "maximum": Decimal("30.0")}}) is None
    assert drift_of({"duration": {"enum": list(range(2, 16))}}) is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seed": None}, "there is no seed any more"),
        ({"required": ["aspect_ratio"]}, "aspect_ratio is required, and not sent"),
        ({"resolution": {"enum": ["720p"]}}, "resolution does not take 1080p"),
        ({"duration": {"enum": [5, 10, *range(11, 16)]}}, "duration does not take 2, 3, 4, 6, 7, 8, 9"),
        ({"duration": {"minimum": 5, "maximum": 15}}, "duration is not taken below 5, the document says 2"),
        ({"duration": {"minimum": 2, "maximum": 10}}, "duration is not taken above 10, the document says 15"),
    ],
)
def test_what_is_sent_and_would_not_be_taken_is_named(changed: dict[str, Any], words: str) -> None:
    assert drift_of(changed) == f"its provider publishes other parameters: {words}"


def test_another_address_is_named() -> None:
    assert "it is submitted to /api/v3/x, not to" in str(drift_of({}, "/api/v3/x"))


@pytest.mark.parametrize(
    "payload",
    [{}, {"data": []}, {"data": {"model_id": "x"}}, listed(None), listed({"properties": []}), {"data": [1, None]}],
)
def test_a_list_that_cannot_be_read_proves_nothing(payload: dict[str, Any]) -> None:
    assert isinstance(read_published(payload, FLASH), PollError)


def test_a_model_that_is_listed_no_more_is_gone() -> None:
    answer = read_published({"data": [{"model_id": "a/b"}]}, FLASH)
    assert isinstance(answer, PollError)
    assert answer.gone
    assert "lists no model alibaba/wan-2.6/image-to-video-flash any more" in answer.reason


def test_the_client_reads_it_by_a_get_and_knows_where_it_submits() -> None:
    async def run(*behaviours: Behaviour) -> tuple[PublishedSchema | PollError, list[str]]:
        async with serving(*behaviours) as server, client_of("wavespeed", server.url, patience=QUICK) as client:
            assert isinstance(client, SchemaTeller)
            assert client.submit_path(FLASH) == PATH
            said = await client.published_schema(FLASH)
            return said, [f"{each.method} {each.target}" for each in server.received]

    said, received = asyncio.run(run(says(200, listed(SCHEMA))))
    assert said == PublishedSchema(PATH, json.loads(json.dumps(SCHEMA)))
    assert received == ["GET /api/v3/models"]
    refused, _ = asyncio.run(run(says(401, {"message": f"no {KEY}"})))
    assert isinstance(refused, PollError)
    assert KEY not in refused.reason


def test_another_providers_model_is_not_asked_about() -> None:
    async def run() -> object:
        async with WaveSpeedClient("http://h", SecretStr(KEY), ProviderLimits(1, 1)) as client:
            return await client.published_schema(find_model(AIMLAPI))

    with pytest.raises(ValueError, match="is not bought from wavespeed"):
        asyncio.run(run())
