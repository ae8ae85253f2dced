"""A report made again says what has changed since: which figures, by how much, and which jobs did it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from wan_pipeline.bucket import Bucket, open_bucket
from wan_pipeline.money import Money
from wan_pipeline.reports import CostReport, Period, make
from wan_pipeline.reports.changes import Change, changes_since
from wan_pipeline.reports.record import read_published
from wan_pipeline.reports.report import period_report
from wan_pipeline.spend.records import EntryKind, JobState
from wan_pipeline.spend.tables import jobs
from wan_pipeline_tests.reports.ledgers import DAY, LedgerJob, append, at, ledger_of, write
from wan_pipeline_tests.reports.test_sums import _jobs

PERIOD = Period.day(DAY)


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return open_bucket(str(tmp_path))


def _made(engine: Engine, bucket: Bucket, period: Period = PERIOD) -> CostReport:
    return make(engine, bucket, period)[0]


def _page(bucket: Bucket, ending: str = "html") -> str:
    return bucket.read(f"{PERIOD.key}.{ending}").decode()


def _told(change: Change) -> dict[str, tuple[object, object]]:
    return {each.figure: (each.before, each.after) for each in change.figures}


def test_a_late_correction_is_told_with_the_figures_and_the_job(bucket: Bucket) -> None:
    job = LedgerJob(shot="spring/cat")
    ledger = ledger_of(job, LedgerJob(shot="spring/dog"))
    assert _made(ledger, bucket).changes == ()
    assert "Changed since" not in _page(bucket)

    later = _made(ledger, bucket).as_of + timedelta(seconds=1)
    append(ledger, [(job.id, EntryKind.ADJUSTMENT, -25_000_000, later)])
    report = _made(ledger, bucket)

    (change,) = report.changes
    assert change.late
    assert _told(change) == {
        "charged": (Money.usd("0.25"), Money.usd("0.225")),
        "billed": (Money.usd("0.25"), Money.usd("0.225")),
    }
    (cause,) = change.causes
    assert (cause.job, cause.shot) == (job.id, "spring/cat")
    assert cause.what == "adjustment of -0.025 USD"
    for ending in ("html", "md"):
        page = _page(bucket, ending)
        assert f"Changed since {change.since:%Y-%m-%d %H:%M} UTC" in page
        assert job.id in page
        assert "-0.025" in page


def test_nothing_changed_nothing_told_and_what_was_told_stays_told(bucket: Bucket) -> None:
    job = LedgerJob()
    ledger = ledger_of(job)
    first = _made(ledger, bucket)
    append(ledger, [(job.id, EntryKind.CHARGE, 1)], moment=first.as_of + timedelta(seconds=1))
    second = _made(ledger, bucket)
    third = _made(ledger, bucket)
    assert len(second.changes) == 1
    assert third.changes == second.changes  # nothing new; the page still says that the day was once published otherwise

    append(ledger, [(job.id, EntryKind.CHARGE, 2)], moment=third.as_of + timedelta(seconds=1))
    fourth = _made(ledger, bucket)
    assert [_told(change)["billed"] for change in fourth.changes] == [
        (Money(125_000_001), Money(125_000_003)),
        (Money(125_000_000), Money(125_000_001)),
    ]
    assert _page(bucket).count("<h2>Changed since") == 2


def test_a_refund_changes_the_day_that_it_took_place_on_and_names_the_job_of_another_day(bucket: Bucket) -> None:
    job = LedgerJob(shot="of/another/day", submitted_at=at(days=-3), claimed_at=at(days=-3))
    ledger = ledger_of(job)
    first = _made(ledger, bucket)
    append(ledger, [(job.id, EntryKind.REFUND, 5, first.as_of + timedelta(seconds=1), at(6))])
    (change,) = _made(ledger, bucket).changes
    assert _told(change) == {"billed": (Money(0), Money(-5)), "refunded": (Money(0), Money(5))}
    (cause,) = change.causes
    assert cause.job == job.id
    assert "refund of 0.000000005 USD of the job submitted at 2026-03-11" in cause.what


def test_a_job_whose_state_alone_has_changed_is_named(bucket: Bucket) -> None:
    ledger = ledger_of(LedgerJob(state=JobState.SUBMITTED))
    first = _made(ledger, bucket)
    with ledger.begin() as connection:
        connection.execute(jobs.update().values(state="stored", updated_at=first.as_of + timedelta(seconds=1)))
    (change,) = _made(ledger, bucket).changes
    assert _told(change)["in_flight"] == (1, 0)
    assert [cause.what for cause in change.causes] == ["is stored now"]


def test_growth_while_a_day_lasts_is_told_once_and_no_job_is_blamed(tmp_path: Path) -> None:
    bucket = open_bucket(str(tmp_path))
    now = period_report(ledger_of(), Period.day(DAY)).as_of
    today = Period.day(now.date())
    first = LedgerJob(submitted_at=now, claimed_at=now)
    ledger = ledger_of(first)
    _made(ledger, bucket, today)
    write(ledger, LedgerJob(shot="b", submitted_at=now, claimed_at=now))
    (change,) = _made(ledger, bucket, today).changes
    assert not change.late
    assert _told(change)["jobs"] == (1, 2)
    assert change.causes == ()
    assert _made(ledger, bucket, today).changes == ()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"version": 99}',
        b'{"version": 1, "as_of": "yesterday", "is_over": true, "totals": [], "changes": []}',
        b'{"version": 1, "as_of": "2026-03-15T00:00:00", "is_over": true, "totals": [], "changes": []}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_of_before_is_told_and_replaced(bucket: Bucket, damage: bytes) -> None:
    ledger = ledger_of(LedgerJob())
    bucket.write(f"{PERIOD.key}.json", damage, "application/json")
    report = _made(ledger, bucket)
    assert report.changes == ()
    assert report.unreadable is not None
    assert f"{PERIOD.key}.json" in report.unreadable
    assert "cannot be compared with" in _page(bucket)
    assert _made(ledger, bucket).unreadable is None


@pytest.mark.parametrize("broken", ["csv", "html", "json"])
def test_a_publication_that_broke_off_is_told_again(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    job = LedgerJob()
    ledger = ledger_of(job)
    first = _made(ledger, bucket)
    append(ledger, [(job.id, EntryKind.CHARGE, 1)], moment=first.as_of + timedelta(seconds=1))
    write_one = type(bucket).write

    def breaks_off(self: Bucket, key: str, data: bytes, content_type: str) -> object:
        if key.endswith(f".{broken}"):
            raise KeyboardInterrupt
        return write_one(self, key, data, content_type)

    monkeypatch.setattr(type(bucket), "write", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        _made(ledger, bucket)
    monkeypatch.undo()
    assert len(_made(ledger, bucket).changes) == 1


@settings(max_examples=20, deadline=None)
@given(before=_jobs, after=_jobs, month=st.booleans())
def test_what_was_published_reads_back_and_the_changes_lead_from_it_to_what_is_now(
    before: list[LedgerJob], after: list[LedgerJob], month: bool
) -> None:
    period = Period.month(DAY) if month else PERIOD
    old, new = (period_report(ledger_of(*wanted), period) for wanted in (before, after))
    published = read_published(old.to_json())
    assert published.as_of == old.as_of
    totals = {kind: new.total(simulated=kind) for kind in new.kinds}
    assert published.totals == {kind: old.total(simulated=kind) for kind in old.kinds}
    changes = changes_since(published, totals, [], new.as_of)
    for simulated in (False, True):
        mine = {each.figure: each for each in (changes[0].figures if changes else ()) if each.simulated is simulated}
        for name in ("jobs", "seconds", "charged", "billed", "wasted", "unknown"):
            then, now = (getattr(report.total(simulated=simulated), name) for report in (old, new))
            if then == now:
                assert name not in mine
            else:
                assert (mine[name].before, mine[name].after) == (then, now)
    told = CostReport(period=period, as_of=new.as_of, rows=new.rows, changes=changes)
    assert read_published(told.to_json()).changes == changes


def test_the_json_has_amounts_as_strings_and_no_float_anywhere() -> None:
    report = period_report(ledger_of(LedgerJob(entries=((EntryKind.CHARGE, 1),))), PERIOD)

    def refuse(text: str) -> float:
        raise AssertionError(f"a float: {text}")

    found = json.loads(report.to_json(), parse_float=refuse)
    assert found["totals"][0]["billed_usd"] == "0.000000001"
    assert found["totals"][0]["usd_per_second"] == "0.00"
