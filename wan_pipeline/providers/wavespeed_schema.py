"""What WaveSpeed publishes of its models' parameters: `GET /api/v3/models`.

It lists every model with `model_id` and, below `api_schema.api_schemas`, one of type `model_run` with `api_path` and
`request_schema` (as its desktop application reads it, sure: B). What does not belong here: what follows from it
(schema_drift.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

from wan_pipeline.providers.base import JsonObject, Model, PollError
from wan_pipeline.providers.words import as_object

PATH = "/api/v3/models"
_RUN = "model_run"


@dataclass(frozen=True, slots=True)
class PublishedSchema:
    """Of one model: where it is submitted, "" where that is not said, and the JSON schema of what is sent."""

    api_path: str
    schema: JsonObject


@runtime_checkable
class SchemaTeller(Protocol):
    """A provider's client that can say what its models take."""

    async def published_schema(self, model: Model) -> PublishedSchema | PollError:
        """As it is published now. `gone`: the list was read, and the model is not in it."""
        ...

    def submit_path(self, model: Model) -> str:
        """Where a submission of this model goes."""
        ...


def read_published(payload: JsonObject, model: Model) -> PublishedSchema | PollError:
    """The model's entry in WaveSpeed's list."""
    entries = payload.get("data")
    if not isinstance(entries, list) or not entries:
        return PollError("its list of models cannot be read")
    mine = [as_object(each) for each in cast("list[Any]", entries)]
    mine = [each for each in mine if each.get("model_id") == model.upstream_id]
    if not mine:
        return PollError(f"it lists no model {model.upstream_id} any more", gone=True)
    schemas = as_object(mine[0].get("api_schema")).get("api_schemas")
    for each in cast("list[Any]", schemas) if isinstance(schemas, list) else []:
        run = as_object(each)
        schema = as_object(run.get("request_schema"))
        if run.get("type") == _RUN and as_object(schema.get("properties")):
            path = run.get("api_path")
            return PublishedSchema(path if isinstance(path, str) else "", schema)
    return PollError(f"its list of models does not say what {model.upstream_id} takes")
