"""Puts a report's files into the bucket, below `reports/`; and makes a report that knows what was published before."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy.engine import Engine

from wan_pipeline.bucket import Bucket, ObjectNotFoundError
from wan_pipeline.reports.changes import Published
from wan_pipeline.reports.period import Period
from wan_pipeline.reports.record import UnreadableError, read_published
from wan_pipeline.reports.report import CostReport, period_report
from wan_pipeline.spend.records import Budgets


def make(
    engine: Engine, bucket: Bucket, period: Period, budgets: Budgets | None = None
) -> tuple[CostReport, dict[str, str]]:
    """The report on a day or a month, published, and the URI of each of its files; what has changed since it was published
    before is told in it. Raises ValueError for a period that has not begun, BucketError."""
    published, unreadable = published_before(bucket, period)
    report = period_report(engine, period, budgets=budgets, published=published)
    if unreadable is not None:
        report = replace(report, unreadable=unreadable)
    return report, publish(report, bucket)


def published_before(bucket: Bucket, period: Period) -> tuple[Published | None, str | None]:
    """What the bucket's report on the period says, or why that cannot be read; neither: there is none. Raises
    BucketError."""
    key = f"{period.key}.json"
    try:
        return read_published(bucket.read(key)), None
    except ObjectNotFoundError:
        return None, None
    except UnreadableError as error:
        return None, f"{key}: {error}"


def publish(report: CostReport, bucket: Bucket) -> dict[str, str]:
    """Writes `reports/<YYYY>/<MM>/<YYYY-MM-DD>` (or `<YYYY-MM>`) as .csv, .parquet, .png, .md, .html and .json, and
    `…-differences.csv`; gives the URI of each by its ending. Run again, it replaces them.

    All are made before the first is written; the pages come after what they show, and the JSON, with which the next making
    is compared, last: a publication that broke off is told again. Raises BucketError.
    """
    files = {
        "csv": (".csv", report.to_csv(), "text/csv; charset=utf-8"),
        "differences_csv": ("-differences.csv", report.differences_csv(), "text/csv; charset=utf-8"),
        "parquet": (".parquet", report.to_parquet(), "application/vnd.apache.parquet"),
        "png": (".png", report.chart_png(), "image/png"),
        "md": (".md", report.to_markdown().encode(), "text/markdown; charset=utf-8"),
        "html": (".html", report.to_html(), "text/html; charset=utf-8"),
        "json": (".json", report.to_json(), "application/json"),
    }
    base = report.period.key
    for ending, data, content_type in files.values():
        bucket.write(base + ending, data, content_type)
    return {name: bucket.uri(base + ending) for name, (ending, _, _) in files.items()}
