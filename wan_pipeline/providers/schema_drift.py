"""What a provider publishes of a model's parameters, held against the document that this house buys by.

What is only added there is no drift: nothing of it is sent. What does not belong here: how it is read (wavespeed_schema.py),
and what was refused already (drift.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from wan_pipeline.providers.base import Model
from wan_pipeline.providers.document import DocumentModel
from wan_pipeline.providers.drift import Drift, file_of
from wan_pipeline.providers.wavespeed_schema import PublishedSchema
from wan_pipeline.providers.words import as_object

_FEW = 100


def schema_drift(model: Model, published: PublishedSchema, submit_path: str) -> Drift | None:
    """What is sent and would not be taken any more, or is required and not sent; None: all of it fits."""
    if not isinstance(model, DocumentModel):
        return None
    found = list(_differences(model, published, submit_path))
    if not found:
        return None
    remedy = f"compare the provider's present document with {file_of(model)}, which says what is sent"
    return Drift(model.id, f"its provider publishes other parameters: {'; '.join(found)}", remedy)


def _differences(model: DocumentModel, published: PublishedSchema, submit_path: str) -> Iterator[str]:
    ours = as_object(model.arguments.model_json_schema().get("properties"))
    theirs = as_object(published.schema.get("properties"))
    if published.api_path and published.api_path != submit_path:
        yield f"it is submitted to {published.api_path}, not to {submit_path}"
    for name in ours:
        if name not in theirs:
            yield f"there is no {name} any more"
    required = published.schema.get("required")
    for name in cast("list[Any]", required) if isinstance(required, list) else []:
        if isinstance(name, str) and name not in ours:
            yield f"{name} is required, and not sent"
    for name, here in ours.items():
        yield from _of_one(name, as_object(here), as_object(theirs.get(name)))


def _of_one(name: str, here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[str]:
    options = there.get("enum")
    if isinstance(options, list) and options:
        lacking = [str(each) for each in _values(here) if each not in options]
        if lacking:
            yield f"{name} does not take {', '.join(lacking)}"
    for bound, beyond in (("minimum", "below"), ("maximum", "above")):
        ours, theirs = _number(here.get(bound)), _number(there.get(bound))
        if ours is not None and theirs is not None and (theirs > ours if bound == "minimum" else theirs < ours):
            yield f"{name} is not taken {beyond} {theirs}, the document says {ours}"


def _values(here: Mapping[str, Any]) -> Sequence[object]:
    """All that may be sent, where that is a few values."""
    low, high = here.get("minimum"), here.get("maximum")
    if isinstance(low, int) and isinstance(high, int) and high - low <= _FEW:
        return range(low, high + 1)
    return here.get("enum", ())


def _number(value: Any) -> Decimal | None:
    return Decimal(value) if isinstance(value, (int, Decimal)) and not isinstance(value, bool) else None
