"""Writes a generated year into a new ledger: for the benchmarks, and for whoever wants to look at a large one.

python -m benchmarks.year sqlite:////tmp/year.sqlite [--jobs 1000000] [--days 400] [--seed 1] [--last-day 2026-11-19]
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from datetime import date

from wan_pipeline_tests.reports.year import Year
from wan_pipeline_tests.reports.year_writing import write_year


def main() -> int:
    usual = Year()
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("url", help="as WAN_LEDGER_URL")
    options.add_argument("--jobs", type=int, default=usual.jobs)
    options.add_argument("--days", type=int, default=usual.days)
    options.add_argument("--seed", type=int, default=usual.seed)
    options.add_argument("--last-day", type=date.fromisoformat, default=usual.last_day, help="[yesterday]")
    given = options.parse_args()
    year = Year(given.jobs, given.days, given.seed, given.last_day)
    began = time.monotonic()
    write_year(given.url, year)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{year.jobs:,} jobs, {year.first_day} to {year.last_day}, in {time.monotonic() - began:.1f} s, {peak_mb:.0f} MB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
