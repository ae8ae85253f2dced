"""The report's page in a real browser: nothing is fetched, nobody complains, no width is too narrow, paper will do."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from wan_pipeline.reports import CostReport, cost_report
from wan_pipeline.spend.records import EntryKind
from wan_pipeline_tests.reports.ledgers import DAY, LedgerJob, at, ledger_of

CHROMIUM = shutil.which("chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu"]  # as root, and without a graphics card
_LONG = "a-very-long-name-without-any-place-to-break-it" * 4


def _reports() -> dict[str, CostReport]:
    one = cost_report(ledger_of(LedgerJob()), DAY)
    jobs = [
        LedgerJob(
            shot=f"{_LONG}/{number}" if number % 2 else f"s/{number}",
            campaign=f"campaign {number}" if number % 3 else _LONG,
            submitted_at=at(seconds=number),
            entries=(
                (EntryKind.CHARGE, 987_654_321_987 + number),
                (EntryKind.REFUND, number, at() + timedelta(hours=2)),
            ),
        )
        for number in range(300)
    ]
    return {"one job": one, "many jobs": cost_report(ledger_of(*jobs), DAY)}


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (Debian's package is called chromium)")
def test_the_page_fits_a_phone_and_paper_and_asks_the_network_for_nothing(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: asked.append(message.text))
        for name, report in _reports().items():
            file = tmp_path / f"{name}.html"
            file.write_bytes(report.to_html())
            page.goto(file.as_uri())
            assert asked.pop() == file.as_uri()
            for width in (1280, 390, 360):
                page.set_viewport_size({"width": width, "height": 800})
                assert page.evaluate("document.documentElement.scrollWidth") == width, name
            assert page.evaluate("document.documentElement.scrollHeight") < 15_000
            assert page.locator("svg rect.billed").count() == 1
            assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
        browser.close()
    assert asked == []
