"""`wan-pipeline export`: the month's charges as files, simulated and real ones apart; and what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path

from wan_pipeline.spend.ledger import Ledger
from wan_pipeline_tests.cli.house import House
from wan_pipeline_tests.reports.ledgers import LedgerJob, write


def test_the_months_charges_are_written_and_summed_up_and_the_kinds_lie_apart(tmp_path: Path) -> None:
    house = House(tmp_path)
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite") as ledger:
        write(ledger.engine, *[LedgerJob(shot=shot, simulated=shot != "real") for shot in ("cat", "dog", "real")])

    said = house.data("export", "--month", "2026-03")
    assert (said["month"], said["simulated"], said["rows"], said["month_is_over"]) == ("2026-03", True, 2, True)
    assert said["effective_cost_usd"] == said["billed_cost_usd"] == "0.25"
    folder = tmp_path / "bucket" / "reports" / "2026" / "03"
    with (folder / "focus-2026-03-simulated.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["ResourceName"]: row["BilledCost"] for row in rows} == {"cat": "0.125", "dog": "0.125"}

    live = house.run("export", "--live", "--month", "2026-03")
    assert "Charges of 2026-03 (UTC): 1 row\nBilledCost 0.125 USD, EffectiveCost 0.125 USD" in live.stdout
    assert (folder / "focus-2026-03.csv").read_text().count("\n") == 2
    assert (folder / "focus-2026-03.parquet").exists()

    running = house.run("export")
    assert "0 rows" in running.stdout
    assert "The month is not over." in running.stdout


def test_a_month_that_has_not_begun_and_a_day_are_refused(tmp_path: Path) -> None:
    house = House(tmp_path)
    for wrong, words in (("2999-01", "has not begun"), ("2026-01-02", "is not a month"), ("soon", "write it as")):
        refused = house.run("export", "--month", wrong)
        assert refused.returncode == 2
        assert words in refused.stderr
    assert not (tmp_path / "bucket" / "reports").exists()
