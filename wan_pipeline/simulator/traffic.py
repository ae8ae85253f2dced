"""How often each provider was asked what, since this simulator began: submissions, polls, lists, downloads, the rest.

Counted in memory, for those who measure a client; what has to outlive the process is in the books.
"""

from __future__ import annotations

import re
from collections import Counter
from threading import Lock
from typing import Literal

from starlette.types import ASGIApp, Receive, Scope, Send

Asked = Literal["submission", "poll", "list", "download", "other"]

_FILES = "files"  # results are at one address, whoever made them
# Method and path, in the order in which they are looked at.
_KINDS: tuple[tuple[str, str, str, Asked], ...] = (
    ("POST", r"/api/v1/job/create", "shortapi", "submission"),
    ("GET", r"/api/v1/job/query", "shortapi", "poll"),
    ("POST", r"/v2/video/generations", "aimlapi", "submission"),
    ("GET", r"/v2/video/generations", "aimlapi", "poll"),
    ("GET", r"/v2/logs", "aimlapi", "list"),
    ("POST", r"/api/v3/predictions", "wavespeed", "list"),
    ("GET", r"/api/v3/predictions/[^/]+(?:/result)?", "wavespeed", "poll"),
    ("POST", r"/api/v3/alibaba/.+", "wavespeed", "submission"),
    ("GET", r"/files/.+", _FILES, "download"),
    ("[A-Z]+", r"/v2/.+", "aimlapi", "other"),
    ("[A-Z]+", r"/api/v1/.+", "shortapi", "other"),
    ("[A-Z]+", r"/api/v3/.+", "wavespeed", "other"),
)
_PATTERNS: tuple[tuple[re.Pattern[str], str, Asked], ...] = tuple(
    (re.compile(f"{method} {path}"), who, asked) for method, path, who, asked in _KINDS
)


class Traffic:
    """Requests by whom they were sent to and what they asked for, whatever was answered."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Asked]] = Counter()
        self._lock = Lock()  # the simulator may serve several event loops at once

    def note(self, method: str, path: str) -> None:
        """Counts a request; one that is no provider's (the simulator's own pages) is none."""
        line = f"{method} {path}"
        for pattern, who, asked in _PATTERNS:
            if pattern.fullmatch(line):
                with self._lock:
                    self._counts[who, asked] += 1
                return

    def as_json(self) -> dict[str, dict[Asked, int]]:
        """E.g. `{"wavespeed": {"submission": 3, "poll": 12}, "files": {"download": 3}}`."""
        with self._lock:
            counts = sorted(self._counts.items())
        told: dict[str, dict[Asked, int]] = {}
        for (who, asked), count in counts:
            told.setdefault(who, {})[asked] = count
        return told


class Counted:
    """ASGI middleware: each HTTP request is noted before it is answered."""

    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        self._app = app
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application's own answer."""
        if scope["type"] == "http":
            self._traffic.note(scope["method"], scope["path"])
        await self._app(scope, receive, send)
