"""Reading a URL's query strictly, and times as JSON APIs write them. No provider's own rules are here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import overload

from starlette.requests import Request

from wan_pipeline.simulator.orders import RefusalError

_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?", re.IGNORECASE)
_WHOLE = re.compile(r"-?[0-9]{1,15}")


class Query:
    """The parameters of a request's URL. Raises RefusalError for one it does not know, or that is given twice."""

    def __init__(self, request: Request, names: Sequence[str], repeated: Sequence[str] = ()) -> None:
        self._params = request.query_params
        for name in self._params:
            if name not in names:
                raise RefusalError(f"{name}: property {name} should not exist")
            if name not in repeated and len(self._params.getlist(name)) > 1:
                raise RefusalError(f"{name}: must be given once")

    def one(self, name: str) -> str | None:
        return self._params.get(name)

    def many(self, name: str, options: Sequence[str] | None = None) -> list[str]:
        """Every value of it, each one of `options` where there are some."""
        values = self._params.getlist(name)
        wrong = [value for value in values if not value or (options is not None and value not in options)]
        if wrong:
            raise RefusalError(
                f"{name}: must be one of {', '.join(options)}" if options else f"{name}: must not be empty"
            )
        return values

    def choice(self, name: str, options: Sequence[str]) -> str | None:
        value = self.one(name)
        if value is not None and value not in options:
            raise RefusalError(f"{name}: must be one of {', '.join(options)}")
        return value

    def whole(self, name: str, default: int, least: int, most: int | None = None) -> int:
        text = self.one(name)
        if text is None:
            return default
        if not _WHOLE.fullmatch(text):
            raise RefusalError(f"{name}: must be an integer")
        value = int(text)
        if value < least or (most is not None and value > most):
            raise RefusalError(
                f"{name}: must be {f'at least {least}' if most is None else f'between {least} and {most}'}"
            )
        return value

    def time(self, name: str, *, zone_required: bool = False) -> datetime | None:
        text = self.one(name)
        return None if text is None else iso(text, name, zone_required=zone_required)


@overload
def iso(text: str, name: str, *, zone_required: bool = ...) -> datetime: ...
@overload
def iso(text: None, name: str, *, zone_required: bool = ...) -> None: ...
def iso(text: str | None, name: str, *, zone_required: bool = False) -> datetime | None:
    """An ISO 8601 time; one without an offset is UTC, or refused. Raises RefusalError."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text) if _ISO.fullmatch(text) else None
        if at is not None and at.tzinfo is None and not zone_required:
            at = at.replace(tzinfo=UTC)
        at = at and at.astimezone(UTC) if at is not None and at.tzinfo is not None else None
    except (ValueError, OverflowError):
        at = None
    if at is None:
        offset = " with an offset" if zone_required else ""
        raise RefusalError(f"{name}: must be an ISO-8601 time{offset}")
    return at


def web_time(at: datetime) -> str:
    """The time in UTC with milliseconds: `2026-07-02T03:04:05.000Z`."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
