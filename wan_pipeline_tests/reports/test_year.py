"""The generated year is a ledger as the program itself could have written it, and holds what it says it holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from wan_pipeline.money import Money
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import JobState
from wan_pipeline.spend.tables import jobs, money_entries
from wan_pipeline_tests.reports.year import SMALL, Year
from wan_pipeline_tests.reports.year_jobs import YearJob
from wan_pipeline_tests.reports.year_writing import write_year


@pytest.fixture(scope="module")
def small() -> list[YearJob]:
    return SMALL.all_jobs()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return (
        f"sqlite:///{tmp_path / 'year.sqlite'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )


def test_a_written_year_agrees_with_itself_and_is_the_one_that_was_made(url: str, small: list[YearJob]) -> None:
    write_year(url, SMALL)
    made = {job.id: job for job in small}
    with Ledger.open(url) as ledger:
        assert ledger.verify() == []
        written = ledger.jobs()
        assert len(written) == len(made) == SMALL.jobs
        for job in written:
            wanted = made[job.id]
            assert (job.shot, job.take, job.state) == (wanted.shot, wanted.take, wanted.state)
            assert (job.campaign, job.has_audio) == (wanted.campaign, wanted.offer.has_audio)
            assert job.held == Money(wanted.held)
            assert job.billed == (None if wanted.billed is None else Money(wanted.billed))
            assert job.submitted_at == _utc(wanted.submitted_at)
            assert [entry.amount.nanos for entry in ledger.entries(job.id)][:1] == [wanted.offer.quoted_high]


def test_the_same_seed_makes_the_same_year_and_another_one_another(small: list[YearJob]) -> None:
    assert SMALL.all_jobs() == small
    assert replace(SMALL, seed=2).all_jobs() != small


def test_a_year_holds_all_that_an_auditor_meets(small: list[YearJob]) -> None:
    """Else what is proven on it is proven of nothing."""
    kinds = {entry.kind for job in small for entry in job.entries}
    assert kinds == {"hold", "release", "charge", "refund", "adjustment"}
    assert {job.state for job in small} >= {
        "stored",
        "failed",
        "lost",
        "rejected",
        "ambiguous",
        "released",
        "written_off",
    }
    assert {job.state for job in small} <= set(JobState)
    assert len({job.offer.model for job in small}) == 5
    assert {job.offer.has_audio for job in small} == {True, False, None}
    assert {job.offer.resolution for job in small} == {"720p", "1080p"}
    assert len({job.campaign for job in small}) > 5
    assert any(job.take > 1 and job.repeat == 1 for job in small)  # changed and made anew
    assert any(job.repeat > 1 for job in small)  # the same request bought again
    assert any(job.duplicate_allowed and job.state == "stored" for job in small)
    assert any(job.reused_by for job in small)
    assert any(
        job.basis == "reported" and not job.offer.quoted_low <= (job.billed or 0) <= job.offer.quoted_high
        for job in small
    )


def test_some_of_it_happens_at_midnight_and_on_other_days_and_months(small: list[YearJob]) -> None:
    submitted = [job.submitted_at for job in small if job.submitted_at]
    midnights = [moment for moment in submitted if moment.time() == time()]
    assert midnights
    assert any(moment.time() == time.max for moment in submitted)
    assert any(moment.day == 1 for moment in midnights)  # at a month's end
    assert any(job.claimed_at.date() != job.day for job in small)
    refunds = [(job, entry) for job in small for entry in job.entries if entry.kind == "refund"]
    assert any(entry.took_place_at.date() > job.day for job, entry in refunds)
    assert any(
        (entry.took_place_at.month, entry.took_place_at.year) != (job.day.month, job.day.year) for job, entry in refunds
    )
    assert any(entry.took_place_at.time() == time() for _, entry in refunds)
    assert all(entry.at < SMALL.end for job in small for entry in job.entries)


def test_what_has_not_happened_by_the_years_end_has_not_happened() -> None:
    crowded = Year(jobs=20_000, days=2, last_day=date(2026, 11, 19)).all_jobs()
    assert {"submitted", "generated"} <= {job.state for job in crowded}


def test_money_entries_are_written_in_the_order_of_time(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'year.sqlite'}"
    write_year(url, SMALL)
    with Ledger.open(url) as ledger, ledger.engine.connect() as connection:
        moments = list(connection.execute(sa.select(money_entries.c.at).order_by(money_entries.c.id)).scalars())
        first = connection.execute(sa.select(sa.func.min(jobs.c.claimed_at))).scalar()
    assert moments == sorted(moments)
    assert first is not None


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


def test_a_year_has_all_its_days() -> None:
    assert [batch.day for batch in SMALL.batches()] == SMALL.every_day
    assert SMALL.every_day[-1] == SMALL.last_day
    assert SMALL.end == datetime.combine(SMALL.last_day, time()) + timedelta(days=1)


def test_the_takes_of_a_shot_follow_one_another_in_time() -> None:
    """Or which one is in use would be anybody's guess."""
    newest: dict[str, YearJob] = {}
    for job in Year(jobs=20_000, days=70, last_day=SMALL.last_day).each_job():
        before = newest.get(job.shot)
        assert job.take == (1 if before is None else before.take + 1)
        assert before is None or before.claimed_at < job.claimed_at
        newest[job.shot] = job
