"""A provider's limits, counted over all processes and hosts: how many of its jobs are in flight, and how many submissions
began within the last minute. The caller holds the claims' lock, so that two never find the same room.

In flight is what was sent and is not known to have come to an end: `submitting` and `submitted`. An ambiguous job does not
count, nor one that was waited for in vain and put off (`fetches`): they may occupy nothing, and a 429 corrects that. What
does not belong here: how fast this process may go.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from wan_pipeline.spend.records import JobState, ProviderBusy, SubmitLimits
from wan_pipeline.spend.tables import attempts, jobs

_MINUTE = timedelta(seconds=60)
_LEAST_WAIT_S = 0.5
# Whose they are is asked inside the sum, so that the few jobs in these states are read by their state (from its index
# alone), and never all that a provider ever had by its name.
_MINE = (
    (jobs.c.provider == bindparam("of_provider")) & (jobs.c.simulated == bindparam("of_kind")) & (jobs.c.fetches == 0)
)
_IN_FLIGHT = sa.select(sa.func.sum(sa.case((_MINE, 1), else_=0))).where(
    jobs.c.state.in_([JobState.SUBMITTING.value, JobState.SUBMITTED.value])
)
_LATELY = (attempts.c.began_at > bindparam("since"), attempts.c.began_at <= bindparam("until"))
_BEGUN = sa.select(sa.func.count()).select_from(attempts).where(*_LATELY)
_WHOSE = (
    sa.select(attempts.c.began_at, jobs.c.provider, jobs.c.simulated)
    .join(jobs, jobs.c.id == attempts.c.job_id)
    .where(*_LATELY)
    .order_by(attempts.c.began_at)
)
_WAIT_FOR_A_PLACE_S = 2.0  # nobody knows when a job in flight will be done


def busy(
    connection: Connection, limits: SubmitLimits | None, provider: str, now: datetime, *, simulated: bool
) -> ProviderBusy | None:
    """Why nothing may be sent to this provider now; None: one submission may."""
    if limits is None:
        return None
    reasons: list[str] = []
    wait_s = _LEAST_WAIT_S
    in_flight = _in_flight(connection, provider, simulated)
    if in_flight >= limits.max_in_flight:
        reasons.append(f"{in_flight} jobs are in flight at {provider}, {limits.max_in_flight} may be")
        wait_s = _WAIT_FOR_A_PLACE_S
    begun: list[datetime] = []
    if _begun_by_all(connection, now) >= limits.submits_per_minute:  # or else it is not asked whose they are
        begun = _begun_in_the_last_minute(connection, provider, now, simulated)
    if len(begun) >= limits.submits_per_minute:
        reasons.append(
            f"{len(begun)} submissions to {provider} began in the last minute, {limits.submits_per_minute} may"
        )
        # Room comes when so many of them are a minute old that one more fits. (None may ever: look now and then.)
        leaving = begun[len(begun) - limits.submits_per_minute] if limits.submits_per_minute > 0 else now
        wait_s = max(wait_s, (leaving + _MINUTE - now).total_seconds())
    if not reasons:
        return None
    return ProviderBusy("; ".join(reasons), min(wait_s, _MINUTE.total_seconds()))


def _in_flight(connection: Connection, provider: str, simulated: bool) -> int:
    values = {"of_provider": provider, "of_kind": simulated}
    return int(connection.execute(_IN_FLIGHT, values).scalar() or 0)


def _begun_by_all(connection: Connection, now: datetime) -> int:
    """At all providers together: an index alone tells."""
    return int(connection.execute(_BEGUN, {"since": now - _MINUTE, "until": now + _MINUTE}).scalar() or 0)


def _begun_in_the_last_minute(connection: Connection, provider: str, now: datetime, simulated: bool) -> list[datetime]:
    """When they began, the oldest first. What a clock that was set back has left in the future does not count for ever."""
    values = {"since": now - _MINUTE, "until": now + _MINUTE}
    return [row[0] for row in connection.execute(_WHOSE, values) if row[1] == provider and row[2] == simulated]
