"""Until when a result can be had: what its signed URL says, in the ways that the usual stores write it.

What does not belong here: a provider's own rule, which stands with its client.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

from wan_pipeline.providers.words import moment_in

_FURTHEST = timedelta(days=3650)  # what lies beyond is no expiry, but a number in milliseconds or a joke
# How a signed URL tells when it was signed, and for how many seconds: AWS, Google, Alibaba.
_SIGNED = (("x-amz-date", "x-amz-expires"), ("x-goog-date", "x-goog-expires"), ("x-oss-date", "x-oss-expires"))


def expiry_of(url: str, now: datetime) -> datetime | None:
    """The moment at which the URL expires; None where it does not say, or says what cannot be: a URL that was given just
    now and expired already tells of a clock that is wrong, and a video is not let go of for that."""
    try:
        query = {name.lower(): value for name, value in parse_qsl(urlsplit(url).query)}
    except ValueError:
        return None
    moments = [moment for moment in _moments(query) if now < moment < now + _FURTHEST]
    return min(moments, default=None)


def _moments(query: dict[str, str]) -> list[datetime]:
    found: list[datetime] = []
    if (expires_s := _whole(query.get("expires"))) is not None:  # AWS's older way, Google's, Alibaba's, CloudFront's
        found.append(datetime.fromtimestamp(expires_s, UTC))
    for date, seconds in _SIGNED:
        signed_at, lasts_s = moment_in(query.get(date)), _whole(query.get(seconds))
        if signed_at is not None and lasts_s is not None:
            found.append(signed_at + timedelta(seconds=lasts_s))
    if (end := moment_in(query.get("se"))) is not None:  # Azure's
        found.append(end)
    return found


def _whole(text: str | None) -> int | None:
    """Whole seconds, as far as they can be a moment's."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 11 else None
