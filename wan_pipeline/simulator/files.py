"""The two kinds of files behind signed URLs: rendered results, and inputs uploaded as WaveSpeed's SDK does."""

from __future__ import annotations

import asyncio
import os
import re
import uuid
from pathlib import Path
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from wan_pipeline.simulator.mishaps import cut, half, huge, no_video
from wan_pipeline.simulator.render import StoppedError
from wan_pipeline.simulator.service import Service

MAX_UPLOAD_BYTES = 200 * 1024 * 1024
_LOOK_EVERY_S = 0.02
_UPLOAD_NAME = re.compile(r"[0-9a-f]{32}")


class _FileResponse(FileResponse):
    chunk_size = 1024 * 1024  # a hop into a thread for each chunk: few of them


class Files:
    """The endpoints under /files (results) and /uploads (WaveSpeed's media uploads)."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._signer = service.signer
        self._uploads = service.config.folder / "uploads"

    async def result(self, request: Request) -> Response:
        """GET /files/{name}.mp4: the video, once it is rendered. 403 after its time or with a wrong signature.

        `name` is the job's id, with `.1` behind it where the job was asked anew for a URL that was dead.
        """
        if not self._signer.allows(request, self._service.now_s()):
            return PlainTextResponse("AccessDenied: the URL has expired or its signature does not match", 403)
        job_id, _, anew = request.path_params["name"].partition(".")
        job = self._service.books.job(job_id)
        if job is None or job.state(self._service.now_s()) != "completed":
            return PlainTextResponse("NoSuchKey: there is no such file", 404)
        mishap = job.mishap if request.method == "GET" else ""
        if mishap in ("gone", "gone always") and not (mishap == "gone" and anew):
            self._service.books.count_download(job.id, missed=True)
            return PlainTextResponse("NoSuchKey: there is no such file", 404)
        if mishap == "no video":
            return no_video()
        rendering = self._service.rendering(job, awaited=True)
        while not rendering.done():  # noqa: ASYNC110 - done by a thread that belongs to no event loop
            await asyncio.sleep(_LOOK_EVERY_S)
        try:
            video = rendering.result()
            if mishap in ("cut", "cut always"):
                first = self._service.books.count_download(job.id, missed=False) == 0
                if first or mishap == "cut always":
                    return cut(await asyncio.to_thread(video.read_bytes))
            if mishap in ("half", "huge"):
                return (half if mishap == "half" else huge)(await asyncio.to_thread(video.read_bytes))
            return _FileResponse(video, media_type="video/mp4")
        except StoppedError:
            return PlainTextResponse("ServiceUnavailable: try again", 503, headers={"Retry-After": "1"})
        except Exception as error:  # noqa: BLE001 - the renderer has logged it; the asker learns that it is no 404
            return PlainTextResponse(f"InternalError: the video could not be rendered ({type(error).__name__})", 500)

    def upload_ticket(self, request: Request, filename: str) -> tuple[str, str]:
        """Where to PUT an upload, and where it can be fetched then."""
        name = re.sub(r"[^A-Za-z0-9._-]", "_", filename.rpartition("/")[2]) or "upload"
        path = f"/uploads/{uuid.uuid4().hex}/{quote(name)}"
        url = self._service.base_url(request) + path
        return f"{url}?{self._signer.query(path, int(self._service.now_s()) + 3600)}", url

    async def put_upload(self, request: Request) -> Response:
        """PUT /uploads/{id}/{name}, with the ticket's signature."""
        if not self._signer.allows(request, self._service.now_s()):
            return PlainTextResponse("AccessDenied", 403)
        target = self._upload(request)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
        size = 0
        try:
            with temporary.open("wb") as file:
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > MAX_UPLOAD_BYTES:
                        return PlainTextResponse("EntityTooLarge", 413)
                    file.write(chunk)
            os.replace(temporary, target)  # noqa: PTH105 - atomic
        except ClientDisconnect:
            return PlainTextResponse("RequestTimeout", 400)
        finally:
            temporary.unlink(missing_ok=True)
        return Response(status_code=200)

    async def get_upload(self, request: Request) -> Response:
        """GET /uploads/{id}/{name}: whoever knows the URL, as at WaveSpeed."""
        path = self._upload(request)
        return _FileResponse(path) if path.is_file() else PlainTextResponse("NoSuchKey", 404)

    def _upload(self, request: Request) -> Path:
        identity = request.path_params["id"]
        return self._uploads / (identity if _UPLOAD_NAME.fullmatch(identity) else "none")
