"""A ledger of an earlier version, with what it knew of jobs and money, opened by this program."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DBAPIError

from wan_pipeline.money import ZERO
from wan_pipeline.spend.database import Database, parse_url
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Job, JobState, Reused, Standing
from wan_pipeline.spend.tables import POSTGRES_SCHEMA, attempts, jobs, money_entries, owners, shot_index, takes
from wan_pipeline_tests.spend.samples import NO_LIMIT, NOON, PRICE, expect, joined, request_for

S = JobState
SECOND = timedelta(seconds=1)
# What became of the attempt, what is held and what was billed, by the job's state.
KNOWN: dict[JobState, tuple[str | None, bool, bool]] = {
    S.RESERVED: ("refused", True, False),
    S.SUBMITTED: ("accepted", True, False),
    S.STORED: ("accepted", False, True),
    S.FAILED: ("accepted", False, True),
    S.REJECTED: ("rejected", False, False),
    S.AMBIGUOUS: ("ambiguous", True, False),
    S.RELEASED: ("ambiguous", False, False),
    S.WRITTEN_OFF: ("ambiguous", False, True),
}


@pytest.fixture
def old_url(empty_url: str) -> str:
    """A ledger as version 0001 left it: a job in each state that lasts, their money, and two shots in the index."""
    database = Database(parse_url(empty_url))
    try:
        database.write(lambda connection: _make_0001(connection, postgres=database.is_postgres))
    finally:
        database.close()
    return empty_url


def _make_0001(connection: sa.Connection, *, postgres: bool) -> None:
    if postgres:
        connection.execute(sa.text(f"CREATE SCHEMA {POSTGRES_SCHEMA}"))
    config = Config()
    config.set_main_option("script_location", "wan_pipeline.spend:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")
    assert "sent_at" not in {column["name"] for column in sa.inspect(connection).get_columns("jobs")}
    life = {"registered_at": NOON, "heartbeat_at": NOON, "released_at": NOON}
    connection.execute(owners.insert().values(id="o", host="h", host_id="h", pid=1, process_started="1", **life))
    for state in KNOWN:
        _write(connection, state)
    for key, taken_up in (("made", "v1"), ("new", None)):
        values = {"key": key, "version": "v1", "taken_up_version": taken_up, "ready": True}
        connection.execute(shot_index.insert().values(first_seen_at=NOON, version_seen_at=NOON, **values))


def _write(connection: sa.Connection, state: JobState) -> None:
    """Names the columns of 0001 and no other."""
    outcome, held, billed = KNOWN[state]
    request = request_for(state, state)
    job_id, attempt_id = f"j-{state}", f"a-{state}"
    both = {"shot": request.shot, "take": 1, "own_digest": request.own_digest, "request_hash": request.request_hash}
    values: dict[str, Any] = {
        **both,
        "id": job_id,
        "provider": request.provider,
        "model": request.model,
        "repeat": 1,
        "fingerprint": request.request_hash,
        "state": state.value,
        "arguments": request.arguments,
        "inputs": list(request.inputs),
        "duration_s": 5,
        "resolution": "720p",
        "quoted_low_nanos": PRICE.nanos,
        "quoted_high_nanos": PRICE.nanos,
        "held_nanos": PRICE.nanos if held else 0,
        "billed_nanos": PRICE.nanos if billed else None,
        "basis": "quoted" if billed else None,
        "provider_job_id": f"p-{state}" if outcome == "accepted" else None,
        "attempt_id": attempt_id,
        "owner": "o",
        "retryable": False,
        "video_uri": "file:///v.mp4" if state is S.STORED else None,
        "simulated": False,
        "claimed_at": NOON,
        "updated_at": NOON + 9 * SECOND,
    }
    connection.execute(jobs.insert().values(values))
    connection.execute(takes.insert().values(**both, job_id=job_id, reused=False, created_at=NOON))
    for n, each in ((1, f"{attempt_id}-first"), (2, attempt_id)):
        end = {"ended_at": NOON + (n + 2) * SECOND, "outcome": outcome if n == 2 else "refused"}
        row = {"id": each, "job_id": job_id, "n": n, "owner": "o", "began_at": NOON + n * SECOND}
        connection.execute(attempts.insert().values(**row, **end))
    kinds = ["hold", *(["charge"] if billed else []), *([] if held else ["release"])]
    for kind in kinds:
        basis = None if kind == "release" else "quoted"
        entry = {"job_id": job_id, "kind": kind, "amount_nanos": PRICE.nanos, "basis": basis}
        connection.execute(money_entries.insert().values(**entry, at=NOON, note="of 0001"))


def test_an_upgraded_ledger_agrees_with_itself_and_knows_what_it_knew(old_url: str) -> None:
    with Ledger.open(old_url) as ledger:
        ledger.check()
        assert ledger.verify() == []
        for job in ledger.jobs():
            outcome, held, billed = KNOWN[job.state]
            assert (job.held, job.billed) == (PRICE if held else ZERO, PRICE if billed else None)
            assert job.sent_at == NOON + 2 * SECOND
            assert job.doubted_at == (NOON + 4 * SECOND if outcome == "ambiguous" else None)
            assert (job.looks, job.fetches, job.duplicate_allowed, job.next_fetch_at) == (0, 0, None, None)
            assert [attempt.account for attempt in ledger.attempts(job.id)] == [None, None], "nobody wrote it down"
        assert ledger.senders(simulated=False) == []
        assert len(ledger.jobs()) == len(KNOWN)
        assert ledger.budget_use(NOON, simulated=False).day.used == PRICE * 6


def test_an_upgraded_ledger_goes_on_where_it_was(old_url: str) -> None:
    with Ledger.open(old_url) as ledger:
        now = NOON + timedelta(minutes=1)
        assert [job.shot for job in ledger.ambiguous(simulated=False, due=True, now=now)] == ["ambiguous"]
        assert {job.shot for job in ledger.orphans(simulated=False)} == {"reserved", "submitted"}
        joined(ledger.claim(request_for("submitted", "submitted"), NO_LIMIT), mine=True)
        expect(Reused, ledger.claim(request_for("stored", "stored"), NO_LIMIT))
        for state in ("released", "written_off", "ambiguous"):
            expect(Standing, ledger.claim(request_for(state, state), NO_LIMIT))
        found = ledger.resolve_found("j-ambiguous", "p-1", "seen")
        assert found.state is S.SUBMITTED
        with pytest.raises(DBAPIError, match="appended, never changed"), ledger.engine.begin() as connection:
            connection.execute(sa.delete(money_entries))
        assert ledger.verify() == []


def test_what_was_taken_up_before_the_upgrade_is_not_taken_up_again(old_url: str) -> None:
    with Ledger.open(old_url) as ledger:
        rows = ledger.index.load()
    assert {key: row.finished_version for key, row in rows.items()} == {"made": "v1", "new": None}
    assert {row.times_taken_up for row in rows.values()} == {0}


def test_old_rows_read_as_jobs_that_were_bought_now(old_url: str, ledger_url: str) -> None:
    """Nothing of a row's form tells when it was written."""

    def kinds(job: Job) -> dict[str, type]:
        return {name: type(getattr(job, name)) for name in ("looks", "fetches", "sent_at", "claimed_at", "held")}

    with Ledger.open(old_url) as old, Ledger.open(ledger_url) as new:
        new.claim(request_for(), NO_LIMIT)
        assert kinds(old.jobs()[0]) == kinds(new.jobs()[0])
