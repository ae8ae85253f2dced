"""Where a finished video can be fetched, and until when."""

from __future__ import annotations

from starlette.requests import Request

from wan_pipeline.simulator.books import Job
from wan_pipeline.simulator.service import Service
from wan_pipeline.simulator.signing import Signer


class Results:
    """Gives result URLs. A job's URL is the same at every poll: it expires `result_ttl_s` after the job was ready."""

    def __init__(self, service: Service, signer: Signer) -> None:
        self._service = service
        self._signer = signer

    def url(self, job: Job, request: Request) -> str:
        path = f"/files/{job.id}.mp4"
        expires_s = int(job.ready_at.timestamp() + self._service.config.result_ttl_s)
        return f"{self._service.base_url(request)}{path}?{self._signer.query(path, expires_s)}"
