"""`wan-pipeline export`: the month's charges as files, simulated and real ones apart; and what it refuses."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

from wan_pipeline_tests.cli.house import PRICE_USD, House


def test_the_months_charges_are_written_and_summed_up_and_the_kinds_lie_apart(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.put_shots(["cat", "dog"])
    house.verdicts()
    month = f"{datetime.now(UTC):%Y-%m}"

    said = house.data("export", "--month", month)
    assert (said["month"], said["simulated"], said["rows"], said["month_is_over"]) == (month, True, 2, False)
    assert said["effective_cost_usd"] == said["billed_cost_usd"] == "0.10"
    folder = tmp_path / "bucket" / "reports" / month[:4] / month[5:]
    with (folder / f"focus-{month}-simulated.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["ResourceName"]: row["BilledCost"] for row in rows} == {"cat": PRICE_USD, "dog": PRICE_USD}

    live = house.run("export", "--live")
    assert f"Charges of {month} (UTC): 0 rows" in live.stdout
    assert "The month is not over." in live.stdout
    assert (folder / f"focus-{month}.csv").read_text().count("\n") == 1  # the columns' names
    assert (folder / f"focus-{month}.parquet").exists()


def test_a_month_that_has_not_begun_and_a_day_are_refused(tmp_path: Path) -> None:
    house = House(tmp_path)
    for wrong, words in (("2999-01", "has not begun"), ("2026-01-02", "is not a month"), ("soon", "write it as")):
        refused = house.run("export", "--month", wrong)
        assert refused.returncode == 2
        assert words in refused.stderr
    assert not (tmp_path / "bucket" / "reports").exists()
