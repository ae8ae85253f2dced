"""Does the ledger agree with itself? Recomputes what its rows keep from what follows from the rest. Changes nothing.

For `doctor` and the tests. What does not belong here: comparing with a provider's books (reconciliation).
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from wan_pipeline.money import Money
from wan_pipeline.spend import totals
from wan_pipeline.spend.records import ENDED_STATES, OPEN_STATES, Difference, EntryKind, JobState
from wan_pipeline.spend.tables import attempts, jobs, money_entries, takes

_SIGN_IN_HELD = {EntryKind.HOLD: 1, EntryKind.RELEASE: -1}
_SIGN_IN_BILLED = {EntryKind.CHARGE: 1, EntryKind.REFUND: -1, EntryKind.ADJUSTMENT: 1}


def differences(connection: Connection) -> list[Difference]:
    """Everything that is not as it must be; empty for a sound ledger."""
    return [
        *_sums(connection),
        *_states(connection),
        *_attempts(connection),
        *_sent(connection),
        *_taken_once(connection),
        *_takes(connection),
        *totals.differences(connection),
    ]


def _sums(connection: Connection) -> list[Difference]:
    """held, billed and basis are what the entries say."""
    kind, amount = money_entries.c.kind, money_entries.c.amount_nanos
    about_bill = kind.in_([key.value for key in _SIGN_IN_BILLED])

    def signed(signs: dict[EntryKind, int]) -> sa.ColumnElement[int]:
        return sa.case(*[(kind == key.value, sign * amount) for key, sign in signs.items()], else_=0)

    books = (
        sa.select(
            money_entries.c.job_id,
            sa.func.sum(signed(_SIGN_IN_HELD)).label("held"),
            sa.case((sa.func.sum(sa.case((about_bill, 1), else_=0)) > 0, sa.func.sum(signed(_SIGN_IN_BILLED)))).label(
                "billed"
            ),
            sa.func.max(sa.case((about_bill, money_entries.c.id))).label("last"),
        )
        .group_by(money_entries.c.job_id)
        .subquery()
    )
    last = money_entries.alias("last")
    held = sa.func.coalesce(books.c.held, 0)
    query = (
        sa.select(
            jobs.c.id,
            jobs.c.held_nanos,
            jobs.c.billed_nanos,
            jobs.c.basis,
            held.label("held"),
            books.c.billed,
            last.c.basis.label("last_basis"),
        )
        .select_from(jobs.outerjoin(books, books.c.job_id == jobs.c.id).outerjoin(last, last.c.id == books.c.last))
        .where(
            (jobs.c.held_nanos != held)
            | jobs.c.billed_nanos.is_distinct_from(books.c.billed)
            | jobs.c.basis.is_distinct_from(last.c.basis)
        )
    )
    found: list[Difference] = []
    for row in connection.execute(query).mappings():
        pairs = (
            ("held", _usd(row["held_nanos"]), _usd(row["held"])),
            ("billed", _usd(row["billed_nanos"]), _usd(row["billed"])),
            ("basis", str(row["basis"]), str(row["last_basis"])),
        )
        found += [Difference(row["id"], f"{what} against the entries", a, b) for what, a, b in pairs if a != b]
    return found


def _states(connection: Connection) -> list[Difference]:
    """What is under way or ambiguous is held or billed; what has ended holds nothing; what was made or lost is billed; and
    what only one state has is nowhere else."""
    doubted = (JobState.AMBIGUOUS, JobState.RELEASED, JobState.WRITTEN_OFF)
    under_way = _in(*OPEN_STATES, JobState.AMBIGUOUS)
    ended = _in(*ENDED_STATES)
    paid = _in(JobState.STORED, JobState.LOST, JobState.FAILED)
    rules: tuple[tuple[sa.ColumnElement[bool], str, sa.ColumnElement[Any], str], ...] = (
        (
            under_way & jobs.c.billed_nanos.is_(None) & (jobs.c.held_nanos != jobs.c.quoted_high_nanos),
            "hold of a job under way",
            jobs.c.held_nanos,
            "the quote's upper bound",
        ),
        (ended & (jobs.c.held_nanos != 0), "hold of a job that has ended", jobs.c.held_nanos, "0"),
        (paid & jobs.c.billed_nanos.is_(None), "bill of a job that was accepted", jobs.c.billed_nanos, "an amount"),
        (
            _in(JobState.SUBMITTED, JobState.GENERATED) & jobs.c.provider_job_id.is_(None),
            "provider's id of a job that it works on",
            jobs.c.provider_job_id,
            "an id",
        ),
        (_in(*doubted) & jobs.c.doubted_at.is_(None), "moment of the doubt", jobs.c.doubted_at, "a moment"),
        (
            ~_in(JobState.AMBIGUOUS) & jobs.c.next_look_at.is_not(None),
            "next look for a job that is not ambiguous",
            jobs.c.next_look_at,
            "none",
        ),
        (~_in(JobState.REJECTED, JobState.RELEASED) & jobs.c.retryable, "retryable", jobs.c.retryable, "False"),
        (
            jobs.c.duplicate_allowed_nanos.is_not(None)
            & (jobs.c.doubted_at.is_(None) | (jobs.c.duplicate_allowed_nanos < 0)),
            "duplicate allowed by a person",
            jobs.c.duplicate_allowed_nanos,
            "none for a job that was never ambiguous, and never less than zero",
        ),
        (
            (jobs.c.fetches != 0) & jobs.c.provider_job_id.is_(None),
            "collections of a job that was never accepted",
            jobs.c.fetches,
            "0",
        ),
        (
            ~_in(JobState.LOST) & jobs.c.kept_key.is_not(None),
            "kept for inspection, of a job that is not lost",
            jobs.c.kept_key,
            "none",
        ),
    )
    return [
        Difference(job_id, f"{what} ({state})", str(kept), expected)
        for where, what, column, expected in rules
        for job_id, state, kept in connection.execute(sa.select(jobs.c.id, jobs.c.state, column).where(where))
    ]


def _in(*states: JobState) -> sa.ColumnElement[bool]:
    return jobs.c.state.in_([str(state) for state in states])


def _attempts(connection: Connection) -> list[Difference]:
    """An attempt is open exactly while its job is being submitted by it."""
    submitting = jobs.c.state == JobState.SUBMITTING.value
    query = (
        sa.select(attempts.c.job_id, attempts.c.id, attempts.c.outcome, jobs.c.state)
        .join(jobs, jobs.c.id == attempts.c.job_id)
        .where((submitting & (jobs.c.attempt_id == attempts.c.id)) != attempts.c.outcome.is_(None))
    )
    return [
        Difference(job_id, f"attempt {attempt_id} of a {state} job", str(outcome), "open exactly while submitting")
        for job_id, attempt_id, outcome, state in connection.execute(query)
    ]


def _sent(connection: Connection) -> list[Difference]:
    """A job was sent when its latest attempt began."""
    latest = attempts.c.id == jobs.c.attempt_id
    query = (
        sa.select(jobs.c.id, jobs.c.sent_at, attempts.c.began_at)
        .outerjoin(attempts, latest)
        .where(jobs.c.sent_at.is_distinct_from(attempts.c.began_at))
    )
    return [
        Difference(job_id, "moment of sending", str(kept), str(began_at))
        for job_id, kept, began_at in connection.execute(query)
    ]


def _taken_once(connection: Connection) -> list[Difference]:
    """What a provider made under one id was bought once, by one job."""
    same = (jobs.c.provider, jobs.c.simulated, jobs.c.provider_job_id)
    twice = (
        sa.select(*same)
        .where(jobs.c.provider_job_id.is_not(None))
        .group_by(*same)
        .having(sa.func.count() > 1)
        .subquery("twice")
    )
    query = (
        sa.select(jobs.c.id, jobs.c.provider, jobs.c.provider_job_id)
        .join(
            twice,
            (twice.c.provider_job_id == jobs.c.provider_job_id)
            & (twice.c.provider == jobs.c.provider)
            & (twice.c.simulated == jobs.c.simulated),
        )
        .order_by(jobs.c.provider, jobs.c.provider_job_id, jobs.c.claimed_at, jobs.c.id)
    )
    return [
        Difference(job_id, f"provider's id ({provider})", str(kept), "an id that no other job has")
        for job_id, provider, kept in connection.execute(query)
    ]


def _takes(connection: Connection) -> list[Difference]:
    """Every job is the take it says it is."""
    own = (takes.c.shot == jobs.c.shot) & (takes.c.take == jobs.c.take) & (takes.c.job_id == jobs.c.id)
    query = sa.select(jobs.c.id, jobs.c.shot, jobs.c.take).outerjoin(takes, own).where(takes.c.shot.is_(None))
    return [
        Difference(job_id, "take", "missing", f"take {take} of {shot}")
        for job_id, shot, take in connection.execute(query)
    ]


def _usd(nanos: int | None) -> str:
    return "unsaid" if nanos is None else str(Money(int(nanos)))
