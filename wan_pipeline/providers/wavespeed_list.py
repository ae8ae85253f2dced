"""WaveSpeed's list of predictions as a question about many jobs at once.

(WaveSpeed's "Common API", "Predictions": `POST /api/v3/predictions`, at most 100 rows a page, the most recent first, by
status, created_after and created_before, of the last seven days. A row is a whole prediction, with its outputs.) It is read
for what ends soon, so a page is read as it comes and proves nothing by what is not in it: what does is wavespeed_books.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Literal

from wan_pipeline.providers.base import JsonObject, ListedJob, ListedJobs, PollError, PollOutcome
from wan_pipeline.providers.looking import UnreadError, iso
from wan_pipeline.providers.wavespeed_books import PAGE, rows_of
from wan_pipeline.providers.words import as_object, job_id_in, message_in, moment_in

LIST_PATH = "/api/v3/predictions"
AHEAD_OF_POLLS_S = 300.0  # as urgent as a question about a single job that is so much overdue
_STATUS = {"succeeded": "completed", "failed": "failed"}


def list_question(ended: Literal["succeeded", "failed"] | None, made_after: datetime | None, page: int) -> JsonObject:
    """The question's body."""
    asked: JsonObject = {"page": page, "page_size": PAGE}
    if ended is not None:
        asked["status"] = _STATUS[ended]
    if made_after is not None:
        asked["created_after"] = iso(made_after)
    return asked


def read_list(
    payload: JsonObject, about: Collection[str], secrets: Collection[str], read_row: Callable[[JsonObject], PollOutcome]
) -> ListedJobs | PollError:
    """A page of the list; PollError where it is none."""
    if payload.get("code") not in (None, 200, "200"):
        return PollError(f"it answered code {payload.get('code')}: {message_in(payload) or 'without a word'}")
    try:
        rows = rows_of(payload.get("data"))
    except UnreadError as error:
        return PollError(str(error))
    found: list[ListedJob] = []
    moments: list[datetime] = []
    for row in rows:
        made_at = moment_in(row.get("created_at"))
        if made_at is not None:
            moments.append(made_at)
        job_id = job_id_in(row.get("id"), secrets)
        if job_id is not None and job_id in about:
            found.append(ListedJob(job_id, made_at, read_row(row)))
    has_more = as_object(payload.get("data")).get("has_more")
    oldest_at = min(moments) if moments and len(moments) == len(rows) else None
    return ListedJobs(tuple(found), oldest_at, is_last=has_more is False or len(rows) < PAGE)
