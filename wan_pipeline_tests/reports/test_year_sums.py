"""The sums of the generated year, to the nano-dollar, by day and by month and in every breakdown: the ledger's own, those of
the views for analysts and those of the reports are the same, and they are what the year was made to come to.

`-m long`: on the whole year of a million jobs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from wan_pipeline.money import Money
from wan_pipeline.reports.figures import Figures
from wan_pipeline.reports.period import Period
from wan_pipeline.reports.report import period_report
from wan_pipeline.reports.sheet import DIMENSIONS, Dimension
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline_tests.reports.year import Year
from wan_pipeline_tests.reports.year_tally import FIELDS, Key, Sums, Tally
from wan_pipeline_tests.reports.year_writing import write_year
from wan_pipeline_tests.services.postgres import PostgresServer

SMALL = Year(jobs=3000, days=70, last_day=date(2026, 11, 19))
_IN_VIEWS = {"takes": "stored", "seconds": "stored_s"}  # the same under another name


@dataclass(frozen=True)
class Written:
    """A year in a ledger, and what it was made to come to."""

    year: Year
    engine: Engine
    tally: Tally


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    """The small year, once for each database: nothing here changes it."""
    if request.param == "sqlite":
        yield from _written(f"sqlite:///{tmp_path_factory.mktemp('year') / 'year.sqlite'}", SMALL)
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        with server.database() as url:
            yield from _written(url, SMALL)


def _written(url: str, year: Year) -> Iterator[Written]:
    write_year(url, year)
    tally = Tally()
    for batch in year.batches():
        for job in batch.jobs:
            tally.add(job)
    with Ledger.open(url) as ledger:
        yield Written(year, ledger.engine, tally)


def test_the_ledgers_own_sums_are_what_the_year_was_made_to_come_to(written: Written) -> None:
    with written.engine.connect() as connection:
        count, billed, held = connection.execute(
            sa.text("SELECT count(*), sum(billed_nanos), sum(held_nanos) FROM jobs")
        ).one()
    total = written.tally.total()
    assert (count, int(billed)) == (written.year.jobs, total["charged"] - total["refunded"])
    assert int(held) == total["held"] + total["unknown"]
    assert all(total[name] for name in FIELDS)  # nothing is proven of what does not occur


def test_the_views_say_the_same_of_every_day_in_every_combination(written: Written) -> None:
    expected = {cell: dict(sums) for cell, sums in written.tally.cells.items() if any(sums.values())}
    assert _in_the_views(written.engine) == {
        cell: {name: sums.get(name, 0) for name in FIELDS} for cell, sums in expected.items()
    }


@pytest.mark.parametrize("length", ["day", "month"])
def test_the_reports_add_up_to_the_ledger_in_every_breakdown(written: Written, length: str) -> None:
    every_day = written.year.every_day
    firsts = every_day if length == "day" else sorted({day.replace(day=1) for day in every_day})
    breakdowns: list[tuple[Dimension, ...]] = [(), *((each,) for each in DIMENSIONS), DIMENSIONS]
    added: dict[tuple[Dimension, ...], dict[Key, Sums]] = {dimensions: {} for dimensions in breakdowns}
    for first in firsts:
        period = Period.day(first) if length == "day" else Period.month(first)
        report = period_report(written.engine, period)
        since, until = period.since.date(), period.until.date()
        for dimensions, sums in added.items():
            found = {key: _numbers(figures) for key, figures in report.by(*dimensions, simulated=False).items()}
            assert found == written.tally.by(dimensions, since, until), (period, dimensions)
            for key, numbers in found.items():
                so_far = sums.setdefault(key, dict.fromkeys(FIELDS, 0))
                for name, number in numbers.items():
                    so_far[name] += number
    for dimensions, sums in added.items():
        assert sums == written.tally.by(dimensions)
    total = added[()][()]
    assert total["charged"] - total["refunded"] == _billed_in(written.engine)


def _billed_in(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(sa.text("SELECT sum(billed_nanos) FROM jobs")).scalar() or 0)


def _numbers(figures: Figures) -> Sums:
    values = {name: getattr(figures, name) for name in FIELDS}
    return {name: value.nanos if isinstance(value, Money) else value for name, value in values.items()}


def _in_the_views(engine: Engine) -> dict[tuple[date, Key], Sums]:
    counts = FIELDS[: FIELDS.index("quoted_low")]
    names = {name: _IN_VIEWS.get(name, name if name in counts else f"{name}_nanos") for name in FIELDS}
    names["quoted"] = "quoted_high_nanos"
    query = f"SELECT day, {', '.join((*DIMENSIONS, *names.values()))} FROM daily_costs WHERE NOT simulated"
    with engine.connect() as connection:
        rows = connection.execute(sa.text(query)).mappings().all()
    return {
        (_day(row["day"]), tuple(row[name] for name in DIMENSIONS)): {
            name: int(row[column]) for name, column in names.items()
        }
        for row in rows
    }


def _day(value: str | date) -> date:
    return value if isinstance(value, date) else date.fromisoformat(value)
