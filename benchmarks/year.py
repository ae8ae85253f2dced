"""Writes a generated year into a new ledger: for the benchmarks, and for whoever wants to look at a large one.

python -m benchmarks.year sqlite:////tmp/year.sqlite [--jobs 1000000] [--days 400] [--seed 1] [--last-day 2026-11-19]
        [--books FOLDER]

With --books its providers' books of the last 150 days too: the lines that a program reads into the ledger's statements,
ShortAPI's invoices into a bucket in this folder.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from datetime import date, timedelta
from pathlib import Path

from wan_pipeline.bucket import open_bucket
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline_tests.reports.year import Year
from wan_pipeline_tests.reports.year_books import SOURCES, lines_of, statement_lines, topups
from wan_pipeline_tests.reports.year_invoices import write_invoices
from wan_pipeline_tests.reports.year_writing import write_year

_BOOKS_DAYS = 150


def write_books(url: str, year: Year, folder: Path) -> None:
    """Every line of every provider's books, as an earlier reconciliation would have kept it."""
    since = year.end - timedelta(days=_BOOKS_DAYS)
    lines = [line for job in year.each_job() if job.claimed_at >= since for line in lines_of(job)]
    lines += topups(since, year.end)
    with Ledger.open(url) as ledger:
        ledger.statements.add(statement_lines(line for line in lines if line.provider in SOURCES))
    write_invoices(open_bucket(str(folder)), lines)


def main() -> int:
    usual = Year()
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("url", help="as WAN_LEDGER_URL")
    options.add_argument("--jobs", type=int, default=usual.jobs)
    options.add_argument("--days", type=int, default=usual.days)
    options.add_argument("--seed", type=int, default=usual.seed)
    options.add_argument("--last-day", type=date.fromisoformat, default=usual.last_day, help="[yesterday]")
    options.add_argument("--books", type=Path, metavar="FOLDER", help="a bucket for the invoices")
    given = options.parse_args()
    year = Year(given.jobs, given.days, given.seed, given.last_day)
    began = time.monotonic()
    write_year(given.url, year)
    if given.books:
        write_books(given.url, year, given.books)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{year.jobs:,} jobs, {year.first_day} to {year.last_day}, in {time.monotonic() - began:.1f} s, {peak_mb:.0f} MB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
