"""What a validated submission orders, and how one is refused: the words the provider modules and the service share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

MEGABYTE = 1024 * 1024
_SHOWN_MISTAKES = 5


@dataclass(frozen=True)
class InputLimits:
    """What a document says about an input file. Empty or None: it says nothing (`max_bytes` is then the house's)."""

    kind: Literal["image", "clip", "audio"]
    max_bytes: int
    formats: frozenset[str] = frozenset()
    min_side_px: int | None = None
    max_side_px: int | None = None
    max_aspect: float | None = None
    png_alpha: bool = True
    min_duration_s: float | None = None
    max_duration_s: float | None = None


ANY_IMAGE = InputLimits("image", 50 * MEGABYTE)
ANY_AUDIO = InputLimits("audio", 50 * MEGABYTE)


@dataclass(frozen=True)
class Input:
    """An input file as the body names it. `field` is the body's name of it."""

    field: str
    url: str
    limits: InputLimits


@dataclass(frozen=True)
class Order:
    """A body that its document allows. The first input is what the video starts with.

    `last_frame` and `audio` are the positions in `inputs` of the image it ends with and of the sound it carries.
    `sound` is what the finished video has: nothing, generated sound, or the given file's. `callback_url` is told of the
    job's end.
    """

    provider: str
    model: str
    prompt: str
    duration_s: int
    resolution: Literal["720p", "1080p"]
    sound: Literal["none", "generated", "given"]
    price_nanos: int
    inputs: tuple[Input, ...]
    last_frame: int | None = None
    audio: int | None = None
    callback_url: str | None = None


Refusal = Literal["invalid", "unauthorized", "no credit", "forbidden", "busy", "unknown"]

# The usual HTTP status of each; AI/ML API documents 403 for "no credit".
STATUSES: Mapping[Refusal, int] = {
    "invalid": 400,
    "unauthorized": 401,
    "no credit": 402,
    "forbidden": 403,
    "unknown": 404,
    "busy": 429,
}


class RefusalError(Exception):
    """A submission that is not accepted: nothing is charged. Each provider says it in its own style."""

    def __init__(
        self,
        message: str,
        kind: Refusal = "invalid",
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind: Refusal = kind
        self.retry_after_s = retry_after_s


class Body(BaseModel):
    """A JSON object of a document: no other fields, no conversions (5 is not "5", true is not "true")."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _no_null(cls, value: Any) -> Any:
        """No document says that null is a value: what is not set is left out."""
        nulls = [key for key, item in value.items() if item is None] if isinstance(value, dict) else []
        if nulls:
            raise ValueError(f"{', '.join(map(str, nulls))}: must not be null")
        return value


B = TypeVar("B", bound=Body)


def read_body(kind: type[B], value: Any, where: str = "") -> B:
    """`value` as this body. Raises RefusalError that names each wrong field."""
    if not isinstance(value, dict):
        raise RefusalError(f"{where or 'body'}: must be a JSON object")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_input=False, include_context=False)
    words: list[str] = []
    for mistake in mistakes[:_SHOWN_MISTAKES]:
        field = ".".join(str(part) for part in ((where,) if where else ()) + mistake["loc"])
        words.append(f"{field or 'body'}: {mistake['msg'].removeprefix('Value error, ')}")
    raise RefusalError("; ".join(words))


def one_of(*options: int) -> AfterValidator:
    """A whole number out of these (`Literal` would take 5.0 for 5)."""

    def check(value: int) -> int:
        if value not in options:
            raise ValueError(f"must be one of {', '.join(map(str, options))}")
        return value

    return AfterValidator(check)


def web_url(url: str) -> str:
    """`url`, when it can be fetched. For a pydantic validator: raises ValueError."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("must be an http(s) URL")
    return url


def without_query(url: str) -> str:
    """The URL as it may be kept: no query (a signature may be in it), no user, no fragment; a data URI's head alone."""
    if url.startswith("data:"):
        return url.partition(",")[0] + ",…"
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def only_host(url: str) -> str:
    """The URL's scheme and host: all of a callback's URL that may be kept, since its path may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/…"


def kept_body(body: Mapping[str, Any]) -> str:
    """The body as the books keep it: JSON, every URL without its query, every data URI without its data.

    Of a callback's URL only the host is kept.
    """
    kept = dict(body)
    if str(kept.get("callback_url", "")).startswith(("http://", "https://")):
        kept["callback_url"] = only_host(kept["callback_url"])

    def clean(value: Any) -> Any:
        if isinstance(value, str) and value.startswith(("http://", "https://", "data:")):
            return without_query(value)
        if isinstance(value, list):
            return [clean(item) for item in value]
        if isinstance(value, dict):
            return {key: clean(item) for key, item in value.items()}
        return value

    return json.dumps(clean(kept), ensure_ascii=False, separators=(",", ":"))
