"""The FinOps Foundation's released validator finds no failed rule in an export, and would find one.

focus-validator 1.0.0 knows FOCUS 1.0, and asks for five columns under names that neither 1.0 nor 1.2 has: `InvoiceIssuer`,
`Provider`, `Publisher`, `ResourceID` and `ChargeType`. They are added here, as copies of the columns that have their values;
all else is what the published CSV says. The columns of 1.2 that 1.0 does not have are no matter to it. It has its rules with
it: a proxy that nobody serves keeps it from asking anywhere.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pyarrow.csv as arrow_csv
import pytest

from wan_pipeline_tests.reports.focus.months import export_of, month_of_all_kinds

ASKED_FOR = {
    "InvoiceIssuer": "InvoiceIssuerName",
    "Provider": "ProviderName",
    "Publisher": "PublisherName",
    "ResourceID": "ResourceId",
    "ChargeType": "ChargeCategory",
}
RULES = 133
PLACE = Path(sys.prefix) / "focus-validator"  # .ci/focus-validator


def _verdict(csv_file: bytes, folder: Path) -> ElementTree.Element:
    text = arrow_csv.ConvertOptions(column_types=dict.fromkeys(_names(csv_file), "string"), strings_can_be_null=True)
    table = arrow_csv.read_csv(io.BytesIO(csv_file), convert_options=text)
    for name, original in ASKED_FOR.items():
        table = table.append_column(name, table[original])
    arrow_csv.write_csv(table, folder / "export.csv")
    done = subprocess.run(
        [
            *(PLACE / "bin" / "focus-validator", "--data-file", folder / "export.csv", "--validate-version", "1.0"),
            *("--output-type", "unittest", "--output-destination", folder / "verdict.xml"),
        ],
        # It looks for its list of currencies below the folder that it is started in.
        cwd=next((PLACE / "lib").glob("python3*")) / "site-packages",
        env=os.environ | {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return ElementTree.parse(folder / "verdict.xml").getroot()


def _names(csv_file: bytes) -> list[str]:
    return [name.strip('"') for name in csv_file.decode().partition("\n")[0].split(",")]


needs_it = pytest.mark.skipif(
    not (PLACE / "installed").exists(), reason="the validator is not installed: .ci/focus-validator"
)


@needs_it
def test_the_foundations_validator_finds_no_failed_rule_in_an_export_of_every_kind_of_line(tmp_path: Path) -> None:
    verdict = _verdict(export_of(month_of_all_kinds()).to_csv(), tmp_path)
    assert [case.get("name") for case in verdict.iter("testcase") if len(case)] == []
    counts = {name: int(verdict.get(name, "-1")) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": RULES, "failures": 0, "errors": 0, "skipped": 0}


@needs_it
def test_the_validator_would_tell_of_a_wrong_value(tmp_path: Path) -> None:
    wrong = export_of(month_of_all_kinds()).to_csv().replace(b'"AI and Machine Learning"', b'"Pictures"')
    verdict = _verdict(wrong, tmp_path)
    failed = [case.get("name", "") for case in verdict.iter("testcase") if len(case)]
    assert [name.partition(" ")[0] for name in failed] == ["ServiceCategory_Enum"]
