"""ShortAPI's invoices of the generated year as files of the bucket: one for each month, and the mapping that describes them.

They are written as invoices are: a heading above the titles, semicolons, decimal commas, a line of totals below.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from wan_pipeline.bucket import Bucket
from wan_pipeline.money import Money
from wan_pipeline_tests.reports.year_books import INVOICED, BookLine

FOLDER = f"invoices/{INVOICED}"
MAPPING = """\
provider: shortapi
columns:
  line_id: Position
  reference: Job
  amount: Betrag USD
  date: Zeit (UTC)
  kind: Art
  model: Modell
amounts: {decimal_comma: true}
dates: {format: iso, time_zone: UTC}
kinds: {charge: Nutzung, refund: Gutschrift}
delimiter: ";"
skip_rows: 2
skip_last_rows: 1
"""
_KINDS = {"charge": "Nutzung", "refund": "Gutschrift"}


def write_invoices(bucket: Bucket, lines: Iterable[BookLine]) -> list[str]:
    """The files' keys. A line lies in the file of the month that its own date is in."""
    months: defaultdict[str, list[BookLine]] = defaultdict(list)
    for line in lines:
        if line.provider == INVOICED:
            months[f"{line.at:%Y-%m}"].append(line)
    bucket.write(f"{FOLDER}/mapping.yaml", MAPPING.encode(), "text/yaml")
    for month, of_month in months.items():
        bucket.write(f"{FOLDER}/{month}.csv", _csv(month, of_month).encode(), "text/csv")
    return [f"{FOLDER}/{month}.csv" for month in months]


def _csv(month: str, lines: list[BookLine]) -> str:
    total = sum(line.nanos if line.kind == "charge" else -line.nanos for line in lines)
    return "\n".join(
        [
            f"Rechnung {month};;;;;",
            ";;;;;",
            "Position;Job;Art;Modell;Betrag USD;Zeit (UTC)",
            *(_row(line) for line in lines),
            f"Summe;;;;{_comma(total)};",
            "",
        ]
    )


def _row(line: BookLine) -> str:
    amount = line.nanos if line.kind == "charge" else -line.nanos
    at = line.at.isoformat(timespec="microseconds")
    return f"{line.line_id};{line.reference};{_KINDS[line.kind]};{line.model};{_comma(amount)};{at}"


def _comma(nanos: int) -> str:
    return str(Money(nanos)).replace(".", ",")
