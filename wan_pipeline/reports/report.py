"""The daily cost report: made from the ledger, and had as a table, a page, a picture or a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from sqlalchemy.engine import Engine

from wan_pipeline.reports.figures import CostRow, JobCost, ShotCost
from wan_pipeline.reports.reading import jobs_of
from wan_pipeline.reports.sheet import CostSheet, grouped, total_of

DEAREST = 10


@dataclass(frozen=True, slots=True)
class CostReport(CostSheet):
    """A day's costs, and the ways they can be had."""

    def table_markdown(self) -> str:
        """The rows as a Markdown table, with a line of totals for each kind."""
        from wan_pipeline.reports.markdown import table

        return table(self)

    def to_markdown(self) -> str:
        """The whole report as a page; it shows the chart from the file `<date>.png` beside it."""
        from wan_pipeline.reports.markdown import page

        return page(self)

    def chart_png(self) -> bytes:
        """What is billed, by model, as a picture."""
        from wan_pipeline.reports.chart import draw

        return draw(self)

    def to_csv(self) -> bytes:
        """The rows (no totals: sums over the file are right), UTF-8, amounts as plain decimals."""
        from wan_pipeline.reports.files import csv_file

        return csv_file(self)

    def to_parquet(self) -> bytes:
        """The same rows, amounts as decimal128(38, 9)."""
        from wan_pipeline.reports.files import parquet_file

        return parquet_file(self)


def cost_report(engine: Engine, day: date) -> CostReport:
    """The report on a UTC day, from the ledger's tables; a day without jobs has a report too, without rows."""
    as_of = datetime.now(UTC)
    jobs = jobs_of(engine, day)
    rows = [
        CostRow(*key, figures=total_of(job.figures for job in group))
        for key, group in grouped(
            jobs, lambda job: (job.simulated, job.provider, job.model, job.resolution, job.campaign or None)
        ).items()
    ]
    rows.sort(key=lambda row: (row.simulated, row.provider, row.model, row.resolution, row.campaign or ""))
    return CostReport(day=day, as_of=as_of, rows=tuple(rows), dearest=tuple(_dearest(jobs)))


def _dearest(jobs: Iterable[JobCost]) -> list[ShotCost]:
    shots = [
        ShotCost(
            *key, models=tuple(sorted({job.model for job in group})), figures=total_of(job.figures for job in group)
        )
        for key, group in grouped(jobs, lambda job: (job.simulated, job.shot)).items()
    ]
    # What may have been billed without our knowing counts with what was; the shot's name decides a tie.
    shots.sort(
        key=lambda shot: (-(shot.figures.billed + shot.figures.unknown).nanos, -shot.figures.held.nanos, shot.shot)
    )
    return [
        shot
        for simulated in (False, True)
        for shot in [each for each in shots if each.simulated is simulated][:DEAREST]
    ]
