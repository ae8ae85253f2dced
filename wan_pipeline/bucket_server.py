"""Serves a folder bucket over HTTP, read-only: `dev` shows posters with it, and demo mode's providers fetch inputs from it.

What belongs here: GET and HEAD of single objects, with ranges. What does not: listings, writing, S3 (which serves itself).
"""

from __future__ import annotations

import mimetypes
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from wan_pipeline.bucket.base import BucketError, ObjectNotFoundError
from wan_pipeline.bucket.folder import FolderBucket

_TYPES = {".webp": "image/webp", ".yaml": "text/plain; charset=utf-8", ".yml": "text/plain; charset=utf-8"}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # a changed file shows at once; an unchanged one costs a 304
}
_PLAIN_MEDIA = ("image/", "video/", "audio/")


def bucket_app(root_folder: Path | str) -> Starlette:
    """An ASGI application with the object `key` of the folder at `/key` (percent-encoded); everything else is a 404.

    What is in the bucket is what `FolderBucket` says: no link that leads out, no hidden unfinished file.
    """
    bucket = FolderBucket(Path(root_folder))

    def serve(request: Request) -> Response:
        key = request.path_params["key"]
        try:
            path = bucket.path(key)
            etag = f'"{bucket.stat(key).etag}"'
        except ObjectNotFoundError:
            return PlainTextResponse("there is no such object in the bucket\n", status_code=404, headers=_HEADERS)
        except BucketError as error:
            return PlainTextResponse(f"{error}\n", status_code=500, headers=_HEADERS)
        headers = {**_HEADERS, "ETag": etag}
        if etag in (each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")):
            return Response(status_code=304, headers=headers)
        kind = _TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        if not kind.startswith(_PLAIN_MEDIA) or kind == "image/svg+xml":
            # an HTML or SVG file in the bucket reaches a browser as somebody's data, not as a page with scripts
            headers["Content-Security-Policy"] = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
        return FileResponse(path, media_type=kind, headers=headers)

    return Starlette(routes=[Route("/{key:path}", serve, methods=["GET", "HEAD"])])
