"""What doctor says of the bucket's event notifications."""

from __future__ import annotations

from collections.abc import Iterator

from wan_pipeline.bucket.events import EventQueue, no_events
from wan_pipeline.cli.findings import Finding
from wan_pipeline.settings import Settings


def told_events(settings: Settings) -> Iterator[Finding]:
    """Raises ConfigurationError where the queue cannot be used."""
    if settings.bucket_events_url is None:
        return
    if not settings.bucket_url.startswith("s3://"):
        raise no_events(settings.bucket_url)
    waiting = EventQueue(settings.bucket_events_url).check()
    listed = f"the bucket is listed at {settings.bucket_listing_at:%H:%M} UTC and when the sensor's process begins"
    yield Finding("events", "ok", f"the queue answers, about {waiting} messages wait; {listed}")
