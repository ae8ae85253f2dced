"""Alerts to a webhook (WAN_ALERT_WEBHOOK_URL): a POST of JSON that Slack accepts, with fields for programs beside `text`.

Each alert is sent once, as far as can be: it is taken in the ledger before it is sent, by one process of all, for a minute.
A process that dies in between leaves it to whoever comes after that minute; the same where the webhook's answer was lost.
So it arrives at least once, and a second time only after a death or a lost answer.

The URL is a secret: whoever knows it can write there. It is in no log, no error, and no row. What does not belong here: what
gives cause for an alert.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr

from wan_pipeline.spend.alerts import Alerts
from wan_pipeline.spend.audit_records import Alert

POST_S = 4.0  # for one POST, whatever it waits for
TICK_S = 6.0  # after which no further one is begun
MANY = 10  # of one kind at once: from there on, they are told in one message
_LEASE = timedelta(minutes=1)
_FIRST_WAIT = timedelta(minutes=1)  # doubles with each failure
_LONGEST_WAIT = timedelta(hours=1)
_TOO_MANY_REQUESTS = 429


@dataclass(frozen=True, slots=True)
class Sending:
    """What became of the alerts that were due. `error`: the last failure's, where there was one."""

    sent: int
    failed: int
    error: str | None


@dataclass(frozen=True, slots=True)
class _Answer:
    """`error` None: it was taken. `wait`: what the webhook asks for. `is_away`: it makes no sense to try another now."""

    error: str | None
    wait: timedelta | None = None
    is_away: bool = False


def send_due(alerts: Alerts, url: SecretStr, *, simulated: bool, now: datetime) -> Sending:
    """Sends what is due, the oldest first, for a few seconds at most; the rest, and what fails, is due again later."""
    began, sent, failed, error = time.monotonic(), 0, 0, None
    for parcel in _parcels(alerts.unsent(now, simulated=simulated)):
        if time.monotonic() - began > TICK_S:
            break
        mine = set(alerts.take([alert.id for alert in parcel], now, now + _LEASE))
        ours = [alert for alert in parcel if alert.id in mine]
        if not ours:
            continue
        ids = [alert.id for alert in ours]
        answer = _post(url, payload(ours))
        if answer.error is None:
            alerts.mark_sent(ids, now)
            sent += len(ours)
            continue
        failed, error = failed + len(ours), answer.error
        tries = max(alert.tries for alert in ours)
        wait = min(_FIRST_WAIT * 2 ** min(tries, 10), _LONGEST_WAIT)
        alerts.mark_unsent(ids, answer.error, now + max(wait, min(answer.wait or wait, _LONGEST_WAIT)))
        if answer.is_away:
            break
    return Sending(sent, failed, error)


def payload(alerts: Sequence[Alert]) -> dict[str, Any]:
    """One message: of one alert, or of many of the same kind."""
    first = alerts[0]
    if len(alerts) == 1:
        subject, message = first.subject, first.message
        if first.cleared_at is not None:
            message += f" (no more since {first.cleared_at:%Y-%m-%d %H:%M} UTC)"
    else:
        subject = f"{len(alerts)} subjects"
        some = ", ".join(alert.subject for alert in alerts[:MANY])
        more = f" and {len(alerts) - MANY} more" if len(alerts) > MANY else ""
        message = (
            f"{len(alerts)} alerts of the kind {first.kind} at once: {some}{more}. `wan-pipeline alerts` lists them"
        )
    kind = "simulated, no money was spent: " if first.simulated else ""
    return {
        # Slack reads <…> and & in it: a shot's name is to call nobody.
        "text": f"wan-pipeline: {kind}{message}".replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"),
        "kind": first.kind,
        "subject": subject,
        "message": message,
        "simulated": first.simulated,
        "raised_at": first.raised_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }


def _parcels(due: Sequence[Alert]) -> Iterator[Sequence[Alert]]:
    """One by one in their order; of a kind of which many are due, all together in the place of its first."""
    by_kind: dict[str, list[Alert]] = {}
    for alert in due:
        by_kind.setdefault(alert.kind, []).append(alert)
    for alert in due:
        of_kind = by_kind[alert.kind]
        if len(of_kind) <= MANY:
            yield [alert]
        elif alert is of_kind[0]:
            yield of_kind


def _post(url: SecretStr, body: dict[str, Any]) -> _Answer:
    """In a thread of its own: the name's resolution, and an answer that drips, know no end."""
    answers: list[_Answer] = []
    thread = threading.Thread(target=lambda: answers.append(_exchange(url, body)), name="wan-webhook", daemon=True)
    thread.start()
    thread.join(POST_S)
    return answers[0] if answers else _Answer(f"no answer within {POST_S:g} s", is_away=True)


def _exchange(url: SecretStr, body: dict[str, Any]) -> _Answer:
    import httpx

    for name in ("httpx", "httpcore"):  # they log the whole URL, the one at INFO, the other at DEBUG
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with (
            httpx.Client(timeout=POST_S, follow_redirects=False) as client,
            client.stream("POST", url.get_secret_value(), json=body) as response,
        ):
            status, after = response.status_code, response.headers.get("Retry-After", "")
    except Exception as error:  # noqa: BLE001 - its words may hold the URL: it is told by its name alone
        return _Answer(f"not reached ({type(error).__name__})", is_away=True)
    if 200 <= status < 300:
        return _Answer(None)
    wait = timedelta(seconds=int(after)) if after.isdecimal() and len(after) < 6 else None
    return _Answer(f"HTTP {status}", wait, is_away=status == _TOO_MANY_REQUESTS or status >= 500)
