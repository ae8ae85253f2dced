"""What can be bought. A further model is one new file beside this one, and one line in `MODELS`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType

from wan_pipeline.problems import Problem, ProblemsError
from wan_pipeline.providers import (
    aimlapi_wan26_i2v,
    shortapi_wan26_i2v,
    shortapi_wan26_r2v,
    shortapi_wan27_i2v,
    wavespeed_wan26_flash,
)
from wan_pipeline.providers.base import Model

MODELS: tuple[Model, ...] = (
    shortapi_wan26_i2v.MODEL,
    shortapi_wan27_i2v.MODEL,
    shortapi_wan26_r2v.MODEL,
    aimlapi_wan26_i2v.MODEL,
    wavespeed_wan26_flash.MODEL,
)


def catalog_of(models: Iterable[Model]) -> Mapping[str, Model]:
    """These models by their ids. Raises ValueError where two share one, or an id is not `provider/model`."""
    by_id: dict[str, Model] = {}
    for model in models:
        provider, _, name = model.id.partition("/")
        if provider != model.provider or not name:
            raise ValueError(f"model id {model.id!r} is not {model.provider}/<name>")
        if model.id in by_id:
            raise ValueError(f"two models in the catalog are called {model.id!r}")
        by_id[model.id] = model
    return MappingProxyType(by_id)


@cache
def catalog() -> Mapping[str, Model]:
    """Every model that can be bought, by its id, e.g. `wavespeed/wan-2.6-i2v-flash`."""
    return catalog_of(MODELS)


def find_model(model_id: str, models: Mapping[str, Model] | None = None) -> Model:
    """The model of that id. Raises ProblemsError (field `model`) that lists those there are."""
    known = catalog() if models is None else models
    if model_id in known:
        return known[model_id]
    close = get_close_matches(model_id, known, n=1, cutoff=0.5)
    meant = f"Did you mean {close[0]}? " if close else ""
    raise ProblemsError(
        [Problem("", "model", model_id, "there is no such model", f"{meant}There are: {', '.join(sorted(known))}")]
    )
