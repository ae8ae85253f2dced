"""The report on what the real ledger wrote, on both databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from wan_pipeline.money import ZERO, Money
from wan_pipeline.reports import cost_report
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Bought, Budgets, ClaimOptions, JobRequest, StoredVideo
from wan_pipeline_tests.reports.ledgers import DAY, at

NO_LIMIT = Budgets(daily=None, monthly=None, shot=None)
VIDEO = StoredVideo("file:///v.mp4", "v.mp4", "a" * 64, 1000, 5.0, None)


@pytest.fixture(params=["sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    url = f"sqlite:///{tmp_path / 'l.sqlite'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened = Ledger.open(url)
    request.addfinalizer(opened.close)
    return opened


def _claim(ledger: Ledger, shot: str, quote: str, seconds_after_midnight: int) -> Bought:
    request = JobRequest(
        shot=shot,
        provider="aimlapi",
        model="aimlapi/wan-2.6-i2v",
        request_hash=shot.ljust(64, "0"),
        own_digest="d",
        arguments={},
        inputs=(),
        duration_s=5,
        resolution="1080p",
        has_audio=True,
        campaign=None,
        quoted_low=Money.usd(quote),
        quoted_high=Money.usd(quote),
        simulated=False,
    )
    claimed = ledger.claim(request, NO_LIMIT, ClaimOptions(), now=at(seconds=seconds_after_midnight))
    assert isinstance(claimed, Bought)
    return claimed


def test_the_report_is_the_sum_of_what_the_ledger_says_of_its_jobs(ledger: Ledger) -> None:
    end = 86_399
    stored = _claim(ledger, "stored", "1.02375", -1)  # claimed the day before, accepted on the day
    ledger.mark_accepted(stored.job.id, stored.attempt_id, "p1", Money.usd("0.7875005"), now=at(seconds=1))
    ledger.mark_generated(stored.job.id, "https://cdn.example/v.mp4", None, now=at(seconds=2))
    ledger.mark_stored(stored.job.id, VIDEO, now=at(days=1))
    failed = _claim(ledger, "failed", "0.50", 10)
    ledger.mark_accepted(failed.job.id, failed.attempt_id, "p2", Money.usd("0.50"), now=at(seconds=end))
    ledger.mark_failed(failed.job.id, "refused by the safety check", ZERO, now=at(days=3))  # refunded, much later
    rejected = _claim(ledger, "rejected", "0.50", 20)
    ledger.mark_rejected(rejected.job.id, rejected.attempt_id, "no such model", now=at(seconds=21))
    ambiguous = _claim(ledger, "ambiguous", "0.25", 30)
    ledger.mark_ambiguous(ambiguous.job.id, ambiguous.attempt_id, "read timeout", now=at(seconds=31))
    waiting = _claim(ledger, "waiting", "0.125", 40)
    ledger.mark_accepted(waiting.job.id, waiting.attempt_id, "p3", None, now=at(seconds=41))
    _claim(ledger, "tomorrow", "1", 86_400)

    total = cost_report(ledger.engine, DAY).total(simulated=False)

    mine = [job for job in ledger.jobs() if job.shot != "tomorrow"]
    refund = Money.usd("0.50")
    assert total.billed - refund == Money.total(job.billed or ZERO for job in mine) == Money.usd("0.7875005")
    assert cost_report(ledger.engine, at(days=3).date()).total(simulated=False).refunded == refund
    assert total.held + total.unknown == Money.total(job.held for job in mine)
    assert (total.held, total.unknown) == (Money.usd("0.125"), Money.usd("0.25"))
    assert (total.jobs, total.takes, total.failed, total.ambiguous, total.in_flight) == (5, 1, 2, 1, 1)
    assert total.charged == Money.usd("1.2875005")
    assert total.usd_per_second == Money.usd("0.2575001")
    assert ledger.verify() == []
