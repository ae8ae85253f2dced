"""Holds the reports and the views for analysts against the generated year's tally. What differs is an AssertionError."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from wan_pipeline.money import Money
from wan_pipeline.reports.figures import Figures
from wan_pipeline.reports.period import Period
from wan_pipeline.reports.report import period_report
from wan_pipeline.reports.sheet import DIMENSIONS, Dimension
from wan_pipeline_tests.reports.year import Year
from wan_pipeline_tests.reports.year_tally import FIELDS, Key, Sums, Tally

_BREAKDOWNS: tuple[tuple[Dimension, ...], ...] = ((), *((each,) for each in DIMENSIONS), DIMENSIONS)
_IN_VIEWS = {"takes": "stored", "seconds": "stored_s", "quoted": "quoted_high_nanos"}  # the same under another name


def days_of(year: Year) -> list[Period]:
    return [Period.day(day) for day in year.every_day]


def months_of(year: Year) -> list[Period]:
    return [Period.month(first) for first in sorted({day.replace(day=1) for day in year.every_day})]


def check_ledger(engine: Engine, tally: Tally) -> None:
    """The sums that the ledger itself keeps."""
    with engine.connect() as connection:
        query = sa.text("SELECT count(*), sum(billed_nanos), sum(held_nanos) FROM jobs")
        jobs, billed, held = connection.execute(query).one()
    total = tally.total()
    assert (jobs, int(billed)) == (total["jobs"], total["charged"] - total["refunded"])
    assert int(held) == total["held"] + total["unknown"]


def check_reports(engine: Engine, tally: Tally, periods: Sequence[Period]) -> None:
    """Each period's report is its part of the tally in every breakdown, and all together are the whole of it."""
    added: list[dict[Key, Sums]] = [{} for _ in _BREAKDOWNS]
    for period in periods:
        report = period_report(engine, period)
        since, until = period.since.date(), period.until.date()
        for each in report.days:  # of a month
            assert _numbers(each.figures) == tally.total(each.day, each.day + timedelta(days=1)), each.day
        for dimensions, sums in zip(_BREAKDOWNS, added, strict=True):
            found = {key: _numbers(figures) for key, figures in report.by(*dimensions, simulated=False).items()}
            assert found == tally.by(dimensions, since, until), (period, dimensions)
            for key, numbers in found.items():
                so_far = sums.setdefault(key, dict.fromkeys(FIELDS, 0))
                for name, number in numbers.items():
                    so_far[name] += number
    for dimensions, sums in zip(_BREAKDOWNS, added, strict=True):
        assert sums == tally.by(dimensions)


def check_views(engine: Engine, tally: Tally) -> None:
    """Every day in every combination of dimensions."""
    expected = {
        (day, key): {name: sums.get(name, 0) for name in FIELDS}
        for day, cells in tally.days.items()
        for key, sums in cells.items()
        if any(sums.values())
    }
    assert _in_the_views(engine) == expected


def _numbers(figures: Figures) -> Sums:
    values = {name: getattr(figures, name) for name in FIELDS}
    return {name: value.nanos if isinstance(value, Money) else value for name, value in values.items()}


def _in_the_views(engine: Engine) -> dict[tuple[date, Key], Sums]:
    counts = FIELDS[: FIELDS.index("quoted_low")]
    columns = {name: _IN_VIEWS.get(name, name if name in counts else f"{name}_nanos") for name in FIELDS}
    query = f"SELECT day, {', '.join((*DIMENSIONS, *columns.values()))} FROM daily_costs WHERE NOT simulated"
    with engine.connect() as connection:
        rows = connection.execute(sa.text(query)).mappings().all()
    return {
        (_day(row["day"]), tuple(row[name] for name in DIMENSIONS)): {
            name: int(row[column]) for name, column in columns.items()
        }
        for row in rows
    }


def _day(value: str | date) -> date:
    return value if isinstance(value, date) else date.fromisoformat(value)
