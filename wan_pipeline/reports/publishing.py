"""Puts a report's files into the bucket, below `reports/`. Run again, it replaces them."""

from __future__ import annotations

from wan_pipeline.bucket import Bucket
from wan_pipeline.reports.report import CostReport


def publish(report: CostReport, bucket: Bucket) -> dict[str, str]:
    """Writes `reports/<YYYY>/<MM>/<YYYY-MM-DD>` as .csv, .parquet, .png and .md; gives the URI of each by its ending.

    All are made before the first is written, and the page comes last, so that what it shows is there. Raises BucketError.
    """
    files = {
        "csv": (report.to_csv(), "text/csv; charset=utf-8"),
        "parquet": (report.to_parquet(), "application/vnd.apache.parquet"),
        "png": (report.chart_png(), "image/png"),
        "md": (report.to_markdown().encode(), "text/markdown; charset=utf-8"),
    }
    base = f"reports/{report.day:%Y/%m}/{report.day.isoformat()}"
    for ending, (data, content_type) in files.items():
        bucket.write(f"{base}.{ending}", data, content_type)
    return {ending: bucket.uri(f"{base}.{ending}") for ending in files}
