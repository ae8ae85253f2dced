"""The generated year against its providers' books: each planted error is found and named, and nothing else is; without one,
nothing is found at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, date, timedelta
from pathlib import Path

import pytest

from wan_pipeline.reconciliation.reconciling import Verdict
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline_tests.reports.year import SMALL, Year
from wan_pipeline_tests.reports.year_findings import PROVIDERS, books_of, check_findings, reconciled
from wan_pipeline_tests.reports.year_planting import ERRORS, plant
from wan_pipeline_tests.reports.year_sums import days_of, months_of
from wan_pipeline_tests.reports.year_writing import write_year


@contextmanager
def written(url: str, year: Year) -> Generator[Ledger]:
    """The year in a ledger, looked at ten days after its end."""
    write_year(url, year)
    later = year.end.replace(tzinfo=UTC) + timedelta(days=10)
    with Ledger.open(url, clock=lambda: later) as ledger:
        yield ledger


@pytest.fixture(params=["sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """The small year."""
    sqlite = f"sqlite:///{tmp_path / 'year.sqlite'}"
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with written(url, SMALL) as opened:
        yield opened


def test_books_without_an_error_agree_with_the_ledger_to_the_last_line(ledger: Ledger, tmp_path: Path) -> None:
    lines = books_of(SMALL)
    months = list(reconciled(ledger, tmp_path / "bucket", months_of(SMALL), lines))
    assert [finding.words for month in months for finding in month.findings] == []
    assert {month.verdict for month in months} == {Verdict.EXPLAINED}
    comparisons = [comparison for month in months for comparison in month.comparisons]
    usage = [line for line in lines if line.kind != "topup"]
    assert sum(comparison.line_count for comparison in comparisons) == len(usage)
    theirs = sum(comparison.balance.theirs.nanos for comparison in comparisons)
    assert theirs == sum(line.nanos if line.kind == "charge" else -line.nanos for line in usage)


def test_every_planted_error_is_found_and_named_and_nothing_else_is(ledger: Ledger, tmp_path: Path) -> None:
    lines, planted = plant(SMALL, SMALL.each_job(), books_of(SMALL), of_each=4)
    assert Counter((each.provider, each.error) for each in planted) == {
        (provider, error): 4 for provider in PROVIDERS for error in ERRORS
    }
    check_findings(reconciled(ledger, tmp_path / "bucket", months_of(SMALL), lines), planted)


def test_day_by_day_the_errors_are_found_each_on_its_day(tmp_path: Path) -> None:
    year = Year(jobs=1200, days=25, last_day=date(2026, 11, 10))
    lines, planted = plant(year, year.each_job(), books_of(year), of_each=3)
    with written(f"sqlite:///{tmp_path / 'year.sqlite'}", year) as ledger:
        check_findings(reconciled(ledger, tmp_path / "bucket", days_of(year), lines), planted)
