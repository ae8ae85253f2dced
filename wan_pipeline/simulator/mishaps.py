"""What can befall a result file, asked for by a word in the prompt; the job is charged as any other.

A transport between client and simulator can lose answers and cut connections by itself. What is here is what it cannot
do: files that are wrong although every answer is in order, and URLs that are dead although the job is well.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Literal

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Mishap = Literal["", "no video", "half", "other video", "huge", "cut", "cut always", "gone", "gone always"]

WORDS: Mapping[str, Mishap] = {
    "[no video]": "no video",  # an HTML page with status 200, each time
    "[half]": "half",  # the first half of the file, as if that were all of it, each time
    "[other video]": "other video",  # a second of 320x240 without sound, whatever was ordered
    "[huge]": "huge",  # says it is a petabyte, sends a megabyte of that and breaks off, each time
    "[cut]": "cut",  # breaks off in the middle the first time, is whole after that
    "[cut always]": "cut always",  # breaks off in the middle each time
    "[gone]": "gone",  # the URL is a 404 until the job is asked anew: it then gives another URL
    "[gone always]": "gone always",  # every URL is a 404
}
HUGE_BYTES = 10**15
_HUGE_SENT_BYTES = 1024 * 1024
_PAGE = "<!doctype html><html><head><title>Video</title></head><body><p>Your video is being prepared.</p></body></html>"


def mishap_of(prompt: str) -> Mishap:
    """What the prompt asks for: the first of the words, in their order here."""
    for word, mishap in WORDS.items():
        if word in prompt:
            return mishap
    return ""


class BrokenOffResponse(Response):
    """Declares `declared_bytes`, sends `content`, which is less, and ends.

    Over a connection that is a body cut off in the middle. In process there is no connection to cut: the body just ends.
    """

    def __init__(self, content: bytes, declared_bytes: int) -> None:
        super().__init__(content, media_type="video/mp4")
        self.headers["content-length"] = str(declared_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with suppress(Exception):  # the server says that bytes are missing, and closes the connection: as meant
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def no_video() -> Response:
    """A page where a video should be."""
    return Response(_PAGE, media_type="text/html; charset=utf-8")


def half(video: bytes) -> Response:
    """The first half of a video, with a length that agrees."""
    return Response(video[: len(video) // 2], media_type="video/mp4")


def cut(video: bytes) -> Response:
    """A video that breaks off in the middle."""
    return BrokenOffResponse(video[: len(video) // 2], len(video))


def huge(video: bytes) -> Response:
    """A video that says it is a petabyte."""
    return BrokenOffResponse(video[:_HUGE_SENT_BYTES].ljust(_HUGE_SENT_BYTES, b"\0"), HUGE_BYTES)
