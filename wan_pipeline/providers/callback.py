"""ShortAPI's callback: the URL that ties a call to one attempt, whether a call is genuine, and which jobs it names.

ShortAPI documents neither payload nor signature nor retries, so a URL that nobody can guess has to do: its last part is
an HMAC of the attempt's id under the ShortAPI key. What such a call says is a hint and no more, to be verified by a poll.
What does not belong here: the server that receives calls (generation/receiver.py), and what is done with a hint.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, cast
from urllib.parse import quote

from pydantic import SecretStr

from wan_pipeline.providers.words import as_object, job_id_in

_ID_KEYS = ("job_id", "jobId", "id", "task_id", "taskId")
_HOLDERS = ("data", "job", "result", "task")
_MAX_DEPTH = 4
_MAX_IDS = 10


def callback_url(base_url: str, key: SecretStr, attempt_id: str) -> str:
    """Where ShortAPI is to call for this attempt: `<base>/shortapi/<attempt_id>/<token>`."""
    return f"{base_url.rstrip('/')}/shortapi/{quote(attempt_id, safe='')}/{_token(key, attempt_id)}"


def is_genuine(key: SecretStr, attempt_id: str, token: str) -> bool:
    """Whether this token is the attempt's: only who was given the URL, or has the key, knows it."""
    return hmac.compare_digest(_token(key, attempt_id).encode(), token.encode(errors="replace"))


def job_ids_in(payload: Any) -> list[str]:
    """The ids of jobs that a call's payload names, wherever an id may stand; at most ten. The payload is not documented."""
    found: list[str] = []
    _collect(payload, found, _MAX_DEPTH)
    return found[:_MAX_IDS]


def _collect(payload: Any, found: list[str], depth: int) -> None:
    if depth == 0:
        return
    if isinstance(payload, list):
        for item in cast("list[Any]", payload)[:_MAX_IDS]:
            _collect(item, found, depth - 1)
        return
    holder = as_object(payload)
    for name in _ID_KEYS:
        job_id = job_id_in(holder.get(name))
        if job_id is not None and job_id not in found:
            found.append(job_id)
    for name in _HOLDERS:
        _collect(holder.get(name), found, depth - 1)


def _token(key: SecretStr, attempt_id: str) -> str:
    secret = key.get_secret_value().strip().encode()
    return hmac.new(secret, f"wan-pipeline callback {attempt_id}".encode(), hashlib.sha256).hexdigest()
