"""Whatever a generated year is made of, whenever it ends: its sums hold, its books' errors are found, and no others are."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.spend.ledger import Ledger
from wan_pipeline_tests.reports.year import Year
from wan_pipeline_tests.reports.year_findings import books_of, check_findings, reconciled
from wan_pipeline_tests.reports.year_planting import plant
from wan_pipeline_tests.reports.year_sums import check_ledger, check_reports, check_views, days_of, months_of
from wan_pipeline_tests.reports.year_tally import Tally
from wan_pipeline_tests.reports.year_writing import write_year

_years = st.builds(
    Year,
    jobs=st.integers(200, 300),
    days=st.integers(12, 16),  # lines of the last seven are too young for an error
    seed=st.integers(0, 2**32),
    last_day=st.dates(date(2024, 2, 27), date(2025, 3, 4)),  # with a leap day and a year's end
)


@settings(max_examples=5, deadline=None)
@given(_years)
def test_sums_hold_and_errors_are_found_in_any_year(year: Year) -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/year.sqlite"
        write_year(url, year)
        later = year.end.replace(tzinfo=UTC) + timedelta(days=10)
        with Ledger.open(url, clock=lambda: later) as ledger:
            assert ledger.verify() == []
            tally = Tally.of(year.each_job())
            check_ledger(ledger.engine, tally)
            check_reports(ledger.engine, tally, days_of(year))
            check_reports(ledger.engine, tally, months_of(year))
            check_views(ledger.engine, tally)
            lines, planted = plant(year, year.each_job(), books_of(year), of_each=1, seed=year.seed)
            check_findings(reconciled(ledger, Path(folder) / "bucket", months_of(year), lines), planted)
