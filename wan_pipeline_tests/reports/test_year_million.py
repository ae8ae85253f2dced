"""The whole generated year: a million jobs in 400 days. The sums and the reconciliation hold of it as of the small one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, timedelta
from pathlib import Path

import pytest

from wan_pipeline.spend.ledger import Ledger
from wan_pipeline_tests.reports.year import Year
from wan_pipeline_tests.reports.year_findings import books_of, check_findings, reconciled
from wan_pipeline_tests.reports.year_planting import ERRORS, plant
from wan_pipeline_tests.reports.year_sums import check_ledger, check_reports, check_views, days_of, months_of
from wan_pipeline_tests.reports.year_tally import Tally
from wan_pipeline_tests.reports.year_writing import write_year
from wan_pipeline_tests.services.postgres import PostgresServer

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

WHOLE = Year(jobs=1_000_000, days=400, last_day=date(2026, 11, 19))
_OF_EACH = 100  # errors of each sort, for each provider: 1,500


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def million(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Written once for each database, looked at ten days after its end."""
    if request.param == "sqlite":
        yield from _written(f"sqlite:///{tmp_path_factory.mktemp('year') / 'year.sqlite'}")
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        with server.database() as url:
            yield from _written(url)


def _written(url: str) -> Iterator[Ledger]:
    write_year(url, WHOLE)
    later = WHOLE.end.replace(tzinfo=UTC) + timedelta(days=10)
    with Ledger.open(url, clock=lambda: later) as ledger:
        yield ledger


def test_a_million_jobs_add_up_by_day_and_by_month_in_every_breakdown(million: Ledger) -> None:
    assert million.verify() == []
    tally = Tally.of(WHOLE.each_job())
    check_ledger(million.engine, tally)
    check_reports(million.engine, tally, months_of(WHOLE))
    check_reports(million.engine, tally, days_of(WHOLE))
    check_views(million.engine, tally)


def test_among_a_million_jobs_every_planted_error_is_found_and_nothing_else_is(million: Ledger, tmp_path: Path) -> None:
    lines, planted = plant(WHOLE, WHOLE.each_job(), books_of(WHOLE), of_each=_OF_EACH)
    assert len(planted) == 3 * len(ERRORS) * _OF_EACH
    check_findings(reconciled(million, tmp_path / "bucket", months_of(WHOLE), lines), planted)
