"""The sums of the generated year, to the nano-dollar, by day and by month and in every breakdown: the ledger's own, those of
the views for analysts, of the reports and of the FOCUS exports are the same, and they are what the year was made to come to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy.engine import Engine

from wan_pipeline.money import Money
from wan_pipeline.providers.issuing import ISSUERS
from wan_pipeline.reports.focus import focus_export
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline_tests.reports.year import SMALL
from wan_pipeline_tests.reports.year_sums import check_ledger, check_reports, check_views, days_of, months_of
from wan_pipeline_tests.reports.year_tally import FIELDS, Tally
from wan_pipeline_tests.reports.year_writing import write_year
from wan_pipeline_tests.services.postgres import PostgresServer


@dataclass(frozen=True)
class Written:
    """A year in a ledger, and what it was made to come to."""

    engine: Engine
    tally: Tally


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    """The small year, once for each database: nothing here changes it."""
    if request.param == "sqlite":
        yield from _written(f"sqlite:///{tmp_path_factory.mktemp('year') / 'year.sqlite'}")
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        with server.database() as url:
            yield from _written(url)


def _written(url: str) -> Iterator[Written]:
    write_year(url, SMALL)
    with Ledger.open(url) as ledger:
        yield Written(ledger.engine, Tally.of(SMALL.each_job()))


def test_the_ledgers_own_sums_are_what_the_year_was_made_to_come_to(written: Written) -> None:
    check_ledger(written.engine, written.tally)
    total = written.tally.total()
    assert all(total[name] for name in FIELDS)  # nothing is proven of what does not occur


def test_the_views_say_the_same_of_every_day_in_every_combination(written: Written) -> None:
    check_views(written.engine, written.tally)


def test_the_days_reports_add_up_to_the_ledger_in_every_breakdown(written: Written) -> None:
    check_reports(written.engine, written.tally, days_of(SMALL))


def test_the_months_reports_add_up_to_the_ledger_in_every_breakdown(written: Written) -> None:
    check_reports(written.engine, written.tally, months_of(SMALL))


def test_the_focus_exports_of_the_months_add_up_to_the_ledger(written: Written) -> None:
    for month in months_of(SMALL):
        export = focus_export(written.engine, month, ISSUERS)
        sums = written.tally.total(month.since.date(), month.until.date())
        assert export.billed == export.effective == Money(sums["charged"] - sums["refunded"])
        assert (export.ambiguous, export.unknown) == (sums["ambiguous"], Money(sums["unknown"]))
