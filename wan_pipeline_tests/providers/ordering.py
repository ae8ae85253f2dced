"""What several of these tests need: orders in one line, and what the documents allow in a body, read a second time."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from wan_pipeline.problems import Problem, ProblemsError
from wan_pipeline.providers.base import CommonSettings, Order, Role, Slot
from wan_pipeline.providers.catalog import find_model

SHORTAPI_26, SHORTAPI_27, SHORTAPI_R2V = "shortapi/wan-2.6-i2v", "shortapi/wan-2.7-i2v", "shortapi/wan-2.6-r2v"
AIMLAPI, WAVESPEED = "aimlapi/wan-2.6-i2v", "wavespeed/wan-2.6-i2v-flash"
ALL = (SHORTAPI_26, SHORTAPI_27, SHORTAPI_R2V, AIMLAPI, WAVESPEED)

# Every parameter of each document, and those of them that bear on the price or on what is made.
DOCUMENTED: dict[str, set[str]] = {
    SHORTAPI_26: {
        "prompt",
        "negative_prompt",
        "image_url",
        "duration",
        "resolution",
        "audio_url",
        "shot_type",
        "prompt_extend",
        "audio",
    },
    SHORTAPI_27: {
        "prompt",
        "negative_prompt",
        "resolution",
        "duration",
        "prompt_extend",
        "first_frame_image",
        "last_frame_image",
        "driving_audio_url",
        "first_clip_video_url",
    },
    SHORTAPI_R2V: {
        "prompt",
        "negative_prompt",
        "image_urls",
        "video_urls",
        "duration",
        "resolution",
        "shot_type",
        "audio",
    },
    AIMLAPI: {
        "model",
        "prompt",
        "image_url",
        "audio_url",
        "resolution",
        "duration",
        "negative_prompt",
        "shot_type",
        "generate_audio",
        "seed",
        "enhance_prompt",
    },
    WAVESPEED: {
        "image",
        "audio",
        "prompt",
        "negative_prompt",
        "resolution",
        "duration",
        "shot_type",
        "enable_prompt_expansion",
        "enable_audio",
        "seed",
    },
}
COST_BEARING: dict[str, set[str]] = {
    SHORTAPI_26: {"duration", "resolution", "audio", "shot_type", "prompt_extend"},
    SHORTAPI_27: {"duration", "resolution", "prompt_extend"},
    SHORTAPI_R2V: {"duration", "resolution", "audio", "shot_type"},
    AIMLAPI: {"duration", "resolution", "generate_audio", "shot_type", "enhance_prompt"},
    WAVESPEED: {"duration", "resolution", "enable_audio", "shot_type", "enable_prompt_expansion", "seed"},
}
ENOUGH_INPUTS = {model: "videos" if model == SHORTAPI_R2V else "first_frame" for model in ALL}


def slots_of(text: str) -> list[Slot]:
    """`"first_frame audio"`, `"videos*2 images"`."""
    found: list[Slot] = []
    for part in text.split():
        role, _, count = part.partition("*")
        found += [Slot(Role(role), index) for index in range(int(count or 1))]
    return found


def order_of(model_id: str, inputs: str | None = None, **settings: Any) -> Order:
    """An order; every setting given counts as written in the shot's own file."""
    settings = {"prompt": "A cat looks up."} | settings
    slots = slots_of(ENOUGH_INPUTS[model_id] if inputs is None else inputs)
    return find_model(model_id).order(CommonSettings(**settings), slots, frozenset(settings))


def body_of(model_id: str, order: Order) -> dict[str, Any]:
    references = {slot: f"https://bucket.test/{slot}" for slot in order.slots}
    return find_model(model_id).body(order, references)


def arguments_of(model_id: str, inputs: str | None = None, **settings: Any) -> dict[str, Any]:
    """The part of the body that the document lists parameters for."""
    body = body_of(model_id, order_of(model_id, inputs, **settings))
    return body["args"] if model_id.startswith("shortapi/") else body


def problems_of(model_id: str, inputs: str | None = None, **settings: Any) -> tuple[Problem, ...]:
    """The problems of what must not be ordered."""
    with pytest.raises(ProblemsError) as caught:
        order_of(model_id, inputs, **settings)
    return caught.value.problems


def shared(*parts: str) -> Path:
    """A file of the folder `shared` beside the checkout; the test is skipped where it is not there."""
    path = Path(__file__).parents[3].joinpath("shared", *parts)
    if not path.exists():
        pytest.skip(f"{Path('shared', *parts)} is not beside the checkout")
    return path


@cache
def _published() -> jsonschema.Draft7Validator:
    document = json.loads(shared("providers", "aimlapi", "wan2.6-i2v.json").read_text())
    content = document["paths"]["/v2/video/generations"]["post"]["requestBody"]["content"]
    return jsonschema.Draft7Validator(content["application/json"]["schema"])


def check_published_schema(body: dict[str, Any]) -> None:
    """An AI/ML API body against the OpenAPI description that AI/ML API publishes."""
    _published().validate(json.loads(json.dumps(body)))
    assert body.keys() <= _published().schema["properties"].keys()
