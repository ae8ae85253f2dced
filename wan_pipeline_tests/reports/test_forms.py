"""The same figures in every form: table, page, picture, CSV, Parquet, and the files in the bucket."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sqlalchemy.engine import Engine

from wan_pipeline.bucket import open_bucket
from wan_pipeline.money import Money
from wan_pipeline.reports import (
    CostReport,
    CostRow,
    Figures,
    Period,
    cost_report,
    monthly_report,
    period_report,
    publish,
)
from wan_pipeline.reports.figures import AMOUNTS, COUNTS
from wan_pipeline.spend.records import EntryKind, JobState
from wan_pipeline_tests.reports.ledgers import DAY, LedgerJob, append, empty_ledger, ledger_of

_money = st.integers(-(10**15), 10**15).map(Money)
_counts = st.integers(0, 10**6)
_names = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
_figures = st.builds(Figures, **dict.fromkeys(COUNTS, _counts), **dict.fromkeys(AMOUNTS, _money))
_rows = st.lists(
    st.builds(
        CostRow,
        simulated=st.booleans(),
        provider=_names,
        model=_names,
        resolution=st.sampled_from(["720p", "1080p"]),
        sound=st.sampled_from(["sound", "silent", "not said"]),
        campaign=st.none() | _names,
        figures=_figures,
    ),
    max_size=5,
).map(tuple)


def _report(rows: tuple[CostRow, ...]) -> CostReport:
    return CostReport(period=Period.day(DAY), as_of=datetime(2026, 3, 15, tzinfo=UTC), rows=rows)


def _from_csv(data: bytes) -> list[dict[str, Any]]:
    """Every value as what it means, by Python's own csv module."""
    rows = []
    for line in csv.DictReader(io.StringIO(data.decode(), newline="")):
        row: dict[str, Any] = dict(line)
        for name, text in line.items():
            if name.endswith(("_usd", "_per_second")):
                row[name] = Decimal(text) if text else None
            elif name in COUNTS:
                row[name] = int(text)
        row["simulated"] = {"true": True, "false": False}[line["simulated"]]
        row["day"] = datetime.strptime(line["day"], "%Y-%m-%d").date()  # noqa: DTZ007
        row["campaign"] = line["campaign"] or None
        rows.append(row)
    return rows


@settings(max_examples=30, deadline=None)
@given(_rows)
def test_csv_and_parquet_read_back_are_the_rows_exactly(rows: tuple[CostRow, ...]) -> None:
    report = _report(rows)
    table = pq.read_table(io.BytesIO(report.to_parquet()))
    from_parquet = table.to_pylist()
    assert _from_csv(report.to_csv()) == from_parquet
    assert [
        (row["simulated"], row["provider"], row["model"], row["campaign"], row["seconds"], row["billed_usd"])
        for row in from_parquet
    ] == [
        (row.simulated, row.provider, row.model, row.campaign, row.figures.seconds, row.figures.billed.dollars)
        for row in rows
    ]
    assert str(table.schema.field("billed_usd").type) == "decimal128(38, 9)"


def test_csv_writes_the_smallest_amount_as_a_plain_decimal() -> None:
    report = cost_report(ledger_of(LedgerJob(entries=((EntryKind.CHARGE, 1),))), DAY)
    assert b",0.000000001," in report.to_csv()


def _mixed_ledger() -> Engine:
    hold = ((EntryKind.HOLD, 425_000_000),)
    return ledger_of(
        LedgerJob(shot="a"),
        LedgerJob(shot="b", model="wavespeed/wan-2.6-i2v-flash", resolution="1080p", campaign=None),
        LedgerJob(
            shot="c", provider="aimlapi", model="aimlapi/wan-2.6-i2v", entries=((EntryKind.CHARGE, 787_500_500),)
        ),
        LedgerJob(shot="d", provider="shortapi", model="shortapi/wan-2.7-i2v", state=JobState.SUBMITTED, entries=hold),
        LedgerJob(shot="e", provider="shortapi", model="shortapi/wan-2.6-r2v", state=JobState.AMBIGUOUS, entries=hold),
        LedgerJob(shot="f", provider="shortapi", model="shortapi/wan-2.6-r2v", state=JobState.REJECTED, entries=()),
    )


def _mixed() -> CostReport:
    return cost_report(_mixed_ledger(), DAY)


def test_the_table_writes_amounts_exactly_and_ends_with_their_sum() -> None:
    table = _mixed().table_markdown()
    assert "0.7875005" in table
    assert "**1.0375005**" in table.splitlines()[-1]  # 0.125 + 0.125 + 0.7875005
    assert "**0.425**" in table.splitlines()[-1]


def test_the_page_says_what_is_unknown_and_what_is_simulated() -> None:
    page = _mixed().to_markdown()
    assert f"# Cost report for {DAY}" in page
    assert "Unknown: up to 0.425 USD (for 1 job without an answer" in page
    assert "Simulated" not in page
    simulated = cost_report(ledger_of(LedgerJob(simulated=True)), DAY).to_markdown()
    assert "Simulated: no money was spent" in simulated
    assert "Live" not in simulated


def test_money_that_no_video_came_of_is_shown_as_wasted_in_every_form() -> None:
    charge = ((EntryKind.CHARGE, 425_000_000),)
    report = cost_report(
        ledger_of(LedgerJob(), LedgerJob(shot="b", campaign="b", state=JobState.LOST, entries=charge)), DAY
    )
    assert [row["wasted_usd"] for row in _from_csv(report.to_csv())] == [Decimal("0.425"), Decimal(0)]
    assert "wasted" in report.table_markdown().splitlines()[0]
    assert "Wasted: 0.425 USD" in report.to_markdown()
    assert "wasted" not in _mixed().table_markdown()  # a column only where there is any


_HOSTILE = "a|b\n<script>alert(1)</script>\"'&{{ 7 * 7 }}"


def _hostile() -> CostReport:
    job = LedgerJob(campaign=_HOSTILE, shot=_HOSTILE, model=_HOSTILE, provider=_HOSTILE, quoted_high=1, quoted_low=1)
    ledger = ledger_of(job)
    append(ledger, [(job.id, EntryKind.REFUND, 1)])
    return cost_report(ledger, DAY)


def test_a_campaign_can_break_neither_table_nor_page() -> None:
    report = _hostile()
    lines = report.table_markdown().splitlines()
    assert len(lines) == 4  # headings, rule, the row, the total
    assert "a\\|b &lt;script>" in lines[2]
    assert "<script" not in report.to_markdown()
    html = report.to_html().decode()
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "{{ 7 * 7 }}" in html


class _Seen(HTMLParser):
    """What a page is made of: elements, what they ask for, and the text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("month", [False, True])
def test_the_html_page_needs_nothing_but_itself_and_says_what_the_others_say(month: bool) -> None:
    report = monthly_report(_mixed_ledger(), DAY) if month else _mixed()
    page = _Seen(report.to_html())
    assert page.open == []  # every element is closed
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(page.elements)
    asks = [name for name, _ in page.attributes if name in ("src", "href", "srcset", "style") or name.startswith("on")]
    assert asks == []
    css = report.to_html().decode().partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in css
    assert "@import" not in css
    assert "@media print" in css
    assert "svg" in page.elements
    for said in (f"Cost report for {report.period}", "0.7875005", "1.0375005", "up to 0.425 USD", "silent"):
        assert said in page.text
    assert "Simulated" not in page.text


@pytest.mark.parametrize("month", [False, True])
def test_a_page_stays_short_however_many_jobs_there_are(month: bool) -> None:
    jobs = [
        LedgerJob(shot=f"s/{n}", campaign=f"c{n}", entries=((EntryKind.CHARGE, n + 200_000_000),)) for n in range(400)
    ]
    period = Period.month(DAY) if month else Period.day(DAY)
    ledger = ledger_of(*jobs)
    append(ledger, [(job.id, EntryKind.REFUND, 1) for job in jobs])
    report = period_report(ledger, period)
    html, markdown = report.to_html().decode(), report.to_markdown()
    assert len(html) < 100_000
    assert len(markdown) < 60_000
    for page in (html, markdown):
        assert page.count("… 375 more") == 3  # lines, bills, refunds
        assert "… 388 more" in page  # campaigns
    assert len(report.to_csv().splitlines()) == 401
    assert len(report.differences_csv().splitlines()) == 401
    assert len(json.loads(report.to_json())["differences"]) == 400
    assert len(json.loads(report.to_json())["refunds"]) == 400


def test_todays_report_says_that_the_day_is_not_over() -> None:
    today = datetime.now(UTC).date()
    assert "the day is not over" in cost_report(empty_ledger(), today).to_markdown()
    assert "the day is not over" not in cost_report(empty_ledger(), DAY).to_markdown()


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(cost_report(empty_ledger(), DAY), id="nothing"),
        pytest.param(cost_report(ledger_of(LedgerJob()), DAY), id="one bar"),
        pytest.param(cost_report(ledger_of(LedgerJob(entries=())), DAY), id="nothing billed"),
        pytest.param(_mixed(), id="several"),
    ],
)
def test_the_chart_is_a_readable_picture_and_leaves_pyplot_alone(report: CostReport) -> None:
    picture = Image.open(io.BytesIO(report.chart_png()))
    picture.load()
    assert picture.format == "PNG"
    assert picture.width == 900
    assert 150 <= picture.height <= 600
    assert len(picture.convert("RGB").getcolors(1 << 24)) > 10  # something is drawn
    assert "matplotlib.pyplot" not in sys.modules


def test_published_files_lie_under_their_day_and_are_what_the_report_says(tmp_path: Path) -> None:
    bucket = open_bucket(str(tmp_path))
    report = _mixed()
    uris = publish(report, bucket)
    base = f"reports/2026/03/{DAY}"
    endings = ("csv", "parquet", "png", "md", "html", "json")
    assert uris == {ending: bucket.uri(f"{base}.{ending}") for ending in endings} | {
        "differences_csv": bucket.uri(f"{base}-differences.csv")
    }
    assert bucket.read(f"{base}.csv") == report.to_csv()
    assert pq.read_table(io.BytesIO(bucket.read(f"{base}.parquet"))).num_rows == len(report.rows)
    assert f"![Billed by model]({DAY}.png)" in bucket.read(f"{base}.md").decode()
    assert publish(report, bucket) == uris  # again: the same places
    assert sorted(bucket.uri(each.key) for each in bucket.list()) == sorted(uris.values())


def test_importing_reports_loads_neither_pandas_nor_matplotlib() -> None:
    code = (
        "import sys, wan_pipeline.reports; "
        "print(sorted({'pandas', 'matplotlib', 'pyarrow', 's3fs', 'dagster'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
