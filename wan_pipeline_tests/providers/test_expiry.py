"""Until when a result can be had is read from its URL, and never believed to be over already."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from wan_pipeline.providers.base import Succeeded
from wan_pipeline.providers.expiry import expiry_of
from wan_pipeline_tests.providers.tiny_server import MODEL_OF, client_of, says, serving

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("query", "expires"),
    [
        (f"Expires={int((NOW + HOUR).timestamp())}&Signature=a%3D", NOW + HOUR),
        ("X-Amz-Date=20260801T113000Z&X-Amz-Expires=5400&X-Amz-Signature=a", NOW + HOUR),
        ("x-goog-date=20260801T113000Z&X-Goog-Expires=5400", NOW + HOUR),
        ("x-oss-date=20260801T113000Z&x-oss-expires=5400", NOW + HOUR),
        ("sv=2024&se=2026-08-01T13:00:00Z&sig=a", NOW + HOUR),
        (f"Expires={int((NOW + 2 * HOUR).timestamp())}&se=2026-08-01T13:00:00Z", NOW + HOUR),
        ("Expires=1&Signature=a", None),  # over before it was given: somebody's clock is wrong
        ("Expires=1785585600000", None),  # milliseconds
        ("Expires=never&X-Amz-Date=soon&X-Amz-Expires=", None),
        ("X-Amz-Expires=5400", None),
        ("se=2026-08-01T13:00:00", None),  # in whose time?
        ("", None),
    ],
)
def test_a_signed_url_says_when_it_expires(query: str, expires: datetime | None) -> None:
    assert expiry_of(f"https://cdn.test/v.mp4?{query}", NOW) == expires


def test_a_url_that_cannot_be_read_says_nothing() -> None:
    assert expiry_of("http://[", NOW) is None


@pytest.mark.parametrize(
    ("provider", "body", "expires"),
    [
        ("shortapi", {"code": 0, "data": {"status": 2, "result": {"images": [{"url": "URL"}]}}}, 24 * HOUR),
        ("aimlapi", {"status": "completed", "video": {"url": "URL"}}, 24 * HOUR),
        ("wavespeed", {"data": {"status": "completed", "outputs": ["URL"]}}, 168 * HOUR),
        (
            "wavespeed",
            {"data": {"status": "completed", "outputs": ["URL"], "created_at": "2026-08-01T10:00:00.123456789Z"}},
            166 * HOUR + timedelta(microseconds=123456),
        ),
        (
            "wavespeed",
            {"data": {"status": "completed", "outputs": ["URL"], "created_at": "2020-01-01T00:00:00Z"}},
            168 * HOUR,
        ),
    ],
)
def test_a_result_says_until_when_it_can_be_had(provider: str, body: Any, expires: timedelta) -> None:
    async def poll(url: str) -> Succeeded:
        text = json.dumps(body).replace('"URL"', f'"{url}"')
        async with serving(says(200, text)) as server, client_of(provider, server.url, clock=lambda: NOW) as client:
            outcome = await client.poll(MODEL_OF[provider], "job-1")
        assert isinstance(outcome, Succeeded)
        return outcome

    assert asyncio.run(poll("https://cdn.test/v.mp4")).expires_at == NOW + expires
    signed = asyncio.run(poll(f"https://cdn.test/v.mp4?Expires={int((NOW + HOUR).timestamp())}"))
    assert signed.expires_at == NOW + HOUR
