"""A ledger that was lost, made anew from what manifests tell: nothing there is bought again, and nothing true is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Bought, Job, JobState, RestoredTake, Reused, Standing
from wan_pipeline_tests.spend.samples import (
    NEW_TAKE,
    NO_LIMIT,
    NOON,
    PRICE,
    bought,
    expect,
    finish,
    job_in,
    request_for,
)

S = JobState


@pytest.fixture
def lost(tmp_path: Path, sqlite_template: Path) -> Iterator[Ledger]:
    """The ledger that the manifests were written from."""
    path = tmp_path / "lost.sqlite"
    path.write_bytes(sqlite_template.read_bytes())
    with Ledger.open(f"sqlite:///{path}") as opened:
        yield opened


def plain(value: object) -> Any:
    if isinstance(value, Money):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return value.value if isinstance(value, Enum) else value


def manifest(job: Job, shot: str | None = None, take: int | None = None, **changes: Any) -> RestoredTake:
    """As generation/manifest.py writes it, and JSON gives it back."""
    of_the_process = {"owner", "retryable", "next_look_at", "next_fetch_at"}
    row = {item.name: plain(getattr(job, item.name)) for item in fields(job) if item.name not in of_the_process}
    shot, take = shot or job.shot, take or job.take
    key = f"videos/{shot}/take-{take}.json"
    return RestoredTake(key, shot, take, job.own_digest, shot != job.shot, json.loads(json.dumps(row)) | changes)


def test_a_restored_ledger_knows_the_videos_and_what_they_cost_and_buys_none_again(
    ledger: Ledger, lost: Ledger
) -> None:
    quoted = job_in(lost, S.STORED)
    purchase = bought(lost, request_for("dog", "a dog", campaign="spring"))
    reported = lost.mark_accepted(purchase.job.id, purchase.attempt_id, "p", Money.usd("0.17"))
    reported = finish(lost, reported, S.STORED)
    twin = expect(Reused, lost.claim(request_for("its twin"), NO_LIMIT)).take
    wanted = [manifest(quoted, "its twin", twin.take), manifest(quoted), manifest(reported)]
    assert ledger.restore(wanted, now=NOON) == [(item.key, None) for item in wanted]
    assert ledger.verify() == []
    for job in (quoted, reported):
        again = ledger.job(job.id)
        assert replace(again, owner=job.owner, updated_at=job.updated_at) == job
        (entry,) = ledger.entries(job.id)
        assert (entry.amount, entry.basis, entry.note) == (
            job.billed,
            job.basis,
            f"restored from videos/{job.shot}/take-1.json",
        )
        assert [(a.id, a.n, a.outcome) for a in ledger.attempts(job.id)] == [(job.attempt_id, 1, "accepted")]
    assert [(t.take, t.reused, t.job_id) for t in ledger.takes("its twin")] == [(1, True, quoted.id)]
    month = ledger.budget_use(quoted.claimed_at, simulated=False).month
    assert (month.held, month.billed) == (ZERO, PRICE + Money.usd("0.17"))
    for shot, prompt in (("cat", "a cat"), ("dog", "a dog"), ("its twin", "a cat"), ("a third", "a cat")):
        assert isinstance(ledger.claim(request_for(shot, prompt), NO_LIMIT), Reused)
    assert ledger.orphans(simulated=False) == []


def test_restoring_again_changes_nothing(ledger: Ledger, lost: Ledger) -> None:
    wanted = [manifest(job_in(lost, S.STORED))]
    ledger.restore(wanted)
    before = (ledger.jobs(), ledger.entries(), ledger.takes("cat"))
    assert ledger.restore(wanted) == [(wanted[0].key, None)]
    assert (ledger.jobs(), ledger.entries(), ledger.takes("cat")) == before


def test_a_whole_ledger_is_left_as_it_is_whatever_a_manifest_says_of_its_jobs(ledger: Ledger) -> None:
    job = job_in(ledger, S.STORED)
    before = (ledger.jobs(), ledger.entries(), ledger.takes("cat"), ledger.attempts(job.id))
    assert ledger.restore([manifest(job, billed="9.00", video_uri="s3://elsewhere")])[0][1] is None
    assert (ledger.jobs(), ledger.entries(), ledger.takes("cat"), ledger.attempts(job.id)) == before


@pytest.mark.parametrize("state", [state for state in S if state is not S.STORED])
def test_an_older_copy_of_the_ledger_is_not_brought_forward_and_says_where_a_person_is_needed(
    ledger: Ledger, state: JobState
) -> None:
    """A backup from before the video was stored. What is at the provider is collected again; the rest is told."""
    job = job_in(ledger, state)
    ((_, problem),) = ledger.restore([manifest(job, state="stored", **_stored(), billed="0.20", basis="quoted")])
    assert ledger.job(job.id) == job
    if state in (S.SUBMITTED, S.GENERATED):
        assert problem is None
    else:
        assert problem == f"the ledger has job {job.id} as {state}, this manifest as stored"


def _stored() -> dict[str, Any]:
    words = {"video_uri": "file:///v.mp4", "video_key": "videos/cat/take-1.mp4", "video_sha256": "f" * 64}
    return {**words, "video_bytes": 5, "stored_at": NOON.isoformat()}


def test_what_contradicts_the_ledger_is_refused_with_the_reason_and_takes_nothing_with_it(
    ledger: Ledger, lost: Ledger
) -> None:
    mine = job_in(ledger, S.STORED)
    theirs = job_in(lost, S.STORED)
    elsewhere = job_in(lost, S.STORED, request_for("cat", "a dog", own="own-2"))
    fine = job_in(lost, S.STORED, request_for("cow", "a cow"))
    assert theirs.id != mine.id
    other_hash = manifest(fine, id=mine.id)
    answers = ledger.restore(
        [manifest(theirs), other_hash, manifest(fine, take=2), manifest(fine), manifest(elsewhere, take=1)]
    )
    problems = [problem for _, problem in answers]
    assert problems[0] == f"the ledger has purchase 1 of this very request as job {mine.id}"
    assert problems[1] == f"the ledger has another request as job {mine.id}"
    assert problems[2] is None, "one video may be two takes of a shot"
    assert problems[3] is None
    assert problems[4] == f"the ledger has job {mine.id} as take 1 of cat"
    assert {job.id for job in ledger.jobs()} == {mine.id, fine.id}
    assert ledger.verify() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", None),
        ("id", "x" * 33),
        ("state", "submitted"),
        ("state", "paid"),
        ("fingerprint", "0" * 64),
        ("repeat", 0),
        ("repeat", "1"),
        ("take", True),
        ("take", 10**30),
        ("quoted_high", 0.2),
        ("quoted_high", "0.10"),
        ("billed", None),
        ("billed", "-1"),
        ("billed", "1e300"),
        ("basis", "guessed"),
        ("claimed_at", "2026-12-05T12:00:00"),
        ("claimed_at", "yesterday"),
        ("claimed_at", 5),
        ("stored_at", None),
        ("arguments", "none"),
        ("simulated", 0),
        ("provider", ""),
        ("video_key", None),
        ("video_bytes", "many"),
        ("video_duration_s", "5 s"),
        ("campaign", "a\x00b"),
        ("looks", -1),
    ],
)
def test_a_manifest_that_says_nonsense_is_refused_and_the_next_one_restored(
    ledger: Ledger, lost: Ledger, name: str, value: object
) -> None:
    item = manifest(job_in(lost, S.STORED))
    bad = replace(item, job={**item.job, name: value})
    good = manifest(job_in(lost, S.STORED, request_for("dog", "a dog")))
    (_, problem), (_, fine) = ledger.restore([bad, good])
    assert problem is not None
    assert fine is None
    assert [job.shot for job in ledger.jobs()] == ["dog"]
    assert ledger.takes("cat") == []


@pytest.mark.parametrize("beside", [{"take": 0}, {"take": 10**30}, {"take": True}, {"shot": ""}, {"own_digest": None}])
def test_what_stands_beside_the_job_is_read_as_strictly(ledger: Ledger, lost: Ledger, beside: dict[str, Any]) -> None:
    ((_, problem),) = ledger.restore([replace(manifest(job_in(lost, S.STORED)), **beside)])
    assert problem is not None
    assert ledger.jobs() == []


def test_a_manifest_of_before_0002_is_enough(ledger: Ledger, lost: Ledger) -> None:
    job = job_in(lost, S.STORED)
    new = {"sent_at", "doubted_at", "looks", "result_expires_at", "fetches", "kept_key", "duplicate_allowed"}
    item = manifest(job)
    old = replace(item, job={name: value for name, value in item.job.items() if name not in new})
    assert ledger.restore([old]) == [(item.key, None)]
    assert ledger.job(job.id).sent_at == job.submitted_at


def test_the_video_of_a_shot_whose_own_manifest_is_gone_comes_back_with_its_reuse(ledger: Ledger, lost: Ledger) -> None:
    job = job_in(lost, S.STORED)
    assert ledger.restore([manifest(job, "its twin", 1)])[0][1] is None
    assert [take.job_id for shot in ("cat", "its twin") for take in ledger.takes(shot)] == [job.id, job.id]
    assert ledger.restore([manifest(job)])[0][1] is None


def test_what_was_bought_several_times_is_numbered_on_from_what_is_known(ledger: Ledger, lost: Ledger) -> None:
    job_in(lost, S.FAILED, billed=ZERO)  # of which no manifest tells
    second = lost.claim(request_for(), NO_LIMIT, NEW_TAKE)
    purchase = expect(Bought, second)
    job = finish(lost, lost.mark_accepted(purchase.job.id, purchase.attempt_id, "p", None), S.STORED)
    assert (job.take, job.repeat) == (2, 2)
    ledger.restore([manifest(job)])
    new = bought(ledger, options=NEW_TAKE).job
    assert (new.take, new.repeat) == (3, 3)


def test_what_was_kept_for_inspection_is_restored_as_the_loss_that_it_is(ledger: Ledger, lost: Ledger) -> None:
    job = lost.mark_lost(job_in(lost, S.GENERATED).id, "no video", "videos/cat/take-1.unplayable")
    assert ledger.restore([manifest(job)])[0][1] is None
    assert ledger.wasted(simulated=False).lost == PRICE
    expect(Standing, ledger.claim(request_for(), NO_LIMIT))


def test_nobodys_transaction_is_lost_to_a_row_that_the_database_refuses(ledger: Ledger, lost: Ledger) -> None:
    """The same attempt as another job's: only the database notices."""
    one, two = (job_in(lost, S.STORED, request_for(name, name)) for name in ("one", "two"))
    answers = ledger.restore([manifest(one), manifest(two, attempt_id=one.attempt_id)])
    assert answers[0][1] is None
    assert (answers[1][1] or "").startswith("the ledger cannot hold it: ")
    with ledger.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM jobs")).scalar() == 1
