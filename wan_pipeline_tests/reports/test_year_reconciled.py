"""The generated year against its providers' books: each planted error is found and named, and nothing else is; without one,
nothing is found at all.

`-m long`: on the whole year of a million jobs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, timedelta
from pathlib import Path

import pytest

from wan_pipeline.bucket import open_bucket
from wan_pipeline.money import Money
from wan_pipeline.reconciliation.findings import Finding, Kind
from wan_pipeline.reconciliation.reconciling import Reconciler, Reconciliation, Verdict
from wan_pipeline.reports.period import Period
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline_tests.reports.year import Year
from wan_pipeline_tests.reports.year_books import (
    INVOICED,
    SOURCES,
    BookLine,
    connected,
    lines_of,
    statement_lines,
    topups,
)
from wan_pipeline_tests.reports.year_invoices import write_invoices
from wan_pipeline_tests.reports.year_jobs import YearJob
from wan_pipeline_tests.reports.year_planting import (
    A_NANO_OFF,
    DOUBLED,
    ERRORS,
    FOREIGN,
    MISSING,
    WRONG_DAY,
    Planted,
    plant,
)
from wan_pipeline_tests.reports.year_writing import write_year

SMALL = Year(jobs=3000, days=70, last_day=date(2026, 11, 19))
PROVIDERS = (INVOICED, *SOURCES)
KINDS = {
    MISSING: Kind.MISSING_THERE,
    DOUBLED: Kind.DOUBLED,
    A_NANO_OFF: Kind.OTHER_AMOUNT,
    WRONG_DAY: Kind.WRONG_DAY,
    FOREIGN: Kind.MISSING_HERE,
}


def months_of(year: Year) -> list[Period]:
    return [Period.month(first) for first in sorted({day.replace(day=1) for day in year.every_day})]


def books_of(year: Year, jobs: Iterable[YearJob]) -> list[BookLine]:
    since = year.end - timedelta(days=year.days)
    return [*topups(since, year.end), *(line for job in jobs for line in lines_of(job))]


def days_of(year: Year) -> list[Period]:
    return [Period.day(day) for day in year.every_day]


def reconciled(ledger: Ledger, folder: Path, periods: list[Period], lines: list[BookLine]) -> list[Reconciliation]:
    """Every period of every provider, corrected by nobody. The lines of the books were kept by earlier reconciliations."""
    bucket = open_bucket(str(folder))
    write_invoices(bucket, lines)
    ledger.statements.add(statement_lines(line for line in lines if line.provider in SOURCES))
    reconciler = Reconciler(ledger, bucket, connected(lines), simulated=False)
    invoices = reconciler.invoices()
    assert not invoices.refused
    return [
        reconciler.reconcile(provider, month, invoices, dry_run=True) for month in periods for provider in PROVIDERS
    ]


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
    jobs = SMALL.all_jobs()
    lines = books_of(SMALL, jobs)
    months = reconciled(ledger, tmp_path / "bucket", months_of(SMALL), lines)
    assert [finding.words for month in months for finding in month.findings] == []
    assert {month.verdict for month in months} == {Verdict.EXPLAINED}
    usage = [line for line in lines if line.kind != "topup"]
    assert sum(comparison.line_count for month in months for comparison in month.comparisons) == len(usage)
    billed = sum(comparison.balance.theirs.nanos for month in months for comparison in month.comparisons)
    assert billed == sum(line.nanos if line.kind == "charge" else -line.nanos for line in usage)


def test_every_planted_error_is_found_and_named_and_nothing_else_is(ledger: Ledger, tmp_path: Path) -> None:
    jobs = SMALL.all_jobs()
    lines, planted = plant(SMALL, jobs, books_of(SMALL, jobs), of_each=6)
    assert Counter((each.provider, each.error) for each in planted) == {
        (provider, error): 6 for provider in PROVIDERS for error in ERRORS
    }
    check(reconciled(ledger, tmp_path / "bucket", months_of(SMALL), lines), planted)


def test_day_by_day_the_errors_are_found_each_on_its_day(tmp_path: Path) -> None:
    year = Year(jobs=1200, days=25, last_day=date(2026, 11, 10))
    jobs = year.all_jobs()
    lines, planted = plant(year, jobs, books_of(year, jobs), of_each=3)
    with written(f"sqlite:///{tmp_path / 'year.sqlite'}", year) as ledger:
        check(reconciled(ledger, tmp_path / "bucket", days_of(year), lines), planted)


def check(months: list[Reconciliation], planted: list[Planted]) -> None:
    """Each planted error is one finding, of its kind, on its day, which names the job, or the line, or both."""
    found = [(month, finding) for month in months for finding in month.findings]
    unnamed = {_name(each): each for each in planted}
    surplus: list[str] = []
    for month, finding in found:
        each = unnamed.pop(_name_of(finding), None)
        if each is None:
            surplus.append(finding.words)
            continue
        assert finding.day == each.day
        assert month.period.since.date() <= each.day < month.period.until.date()
        assert (each.job_id or each.line_id) in finding.words
        if each.error != MISSING:
            assert each.line_id in finding.words
        if each.error == A_NANO_OFF:
            assert abs(finding.difference.nanos) == 1
    assert (surplus, list(unnamed.values())) == ([], [])
    for month in months:
        for comparison in month.comparisons:
            steps = comparison.balance.lines
            assert Money.total(amount for _, amount in steps[:-1]) == steps[-1][1]


def _name(each: Planted) -> tuple[Kind, str, str | None]:
    return KINDS[each.error], each.provider, each.job_id or each.line_id


def _name_of(finding: Finding) -> tuple[Kind, str, str | None]:
    return finding.kind, finding.provider, finding.job.id if finding.job else finding.lines[0].line_id
