"""Where a finished video can be fetched, and until when."""

from __future__ import annotations

from wan_pipeline.simulator.books import Job
from wan_pipeline.simulator.service import Service


class Results:
    """Gives result URLs. A job's URL is the same at every poll: it expires so long after the job was ready."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def url(self, job: Job, base_url: str) -> str:
        """The URL below `base_url`. A job whose URL was dead when it was fetched gives another one from then on."""
        dead = job.mishap in ("gone", "gone always") and self._service.books.misses(job.id) > 0
        path = f"/files/{job.id}.1.mp4" if dead else f"/files/{job.id}.mp4"
        expires_s = int(job.ready_at.timestamp() + self._service.config.ttl_s(job.provider))
        return f"{base_url}{path}?{self._service.signer.query(path, expires_s)}"
