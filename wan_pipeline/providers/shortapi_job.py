"""The request body that all of ShortAPI's models share.

`callback_url` stands in each of the documents' samples as the literal text "CALLBACK_URL" and in no parameter table. It is
no part of the request: the client adds one for each attempt, where there is an address to call (callback.py).
"""

from __future__ import annotations

from collections.abc import Callable

from wan_pipeline.providers.base import JsonObject


def envelope(upstream_id: str) -> Callable[[JsonObject], JsonObject]:
    """The arguments become `{"model": ..., "args": {...}}`."""

    def wrap(arguments: JsonObject) -> JsonObject:
        return {"model": upstream_id, "args": arguments}

    return wrap
