"""docs/ledger.md: every table, view and column is in it and none is invented, and its examples are run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from wan_pipeline.bucket import open_bucket
from wan_pipeline.money import Money
from wan_pipeline.reports.period import Period
from wan_pipeline.reports.publishing import make
from wan_pipeline.spend import views
from wan_pipeline.spend.asking import AskingError, asked
from wan_pipeline.spend.audit_tables import alerts
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import JobState
from wan_pipeline_tests.spend.samples import NO_LIMIT, bought, corrected, job_in, request_for, video

BEFORE = datetime(2026, 3, 1, 12, tzinfo=UTC)
DOCUMENT = (Path(__file__).parents[2] / "docs/ledger.md").read_text()


def sections() -> dict[str, list[str]]:
    """By table or view: the columns that its section lists."""
    found: dict[str, list[str]] = {}
    for part in DOCUMENT.split("\n### ")[1:]:
        name = re.match(r"`(\w+)`\n", part)
        if name:
            cells = re.findall(r"^\| (`.*?) \|", part.partition("\n## ")[0], re.MULTILINE)
            found[name[1]] = [column for cell in cells for column in re.findall(r"`(\w+)`", cell)]
    return found


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)


def test_every_table_view_and_column_is_in_the_document_and_none_is_invented(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        inspector = sa.inspect(connection)
        there = {
            name: [column["name"] for column in inspector.get_columns(name)]
            for name in [*inspector.get_table_names(), *inspector.get_view_names()]
            if name != "ledger_version"
        }
    listed = sections()
    assert {name: sorted(columns) for name, columns in listed.items()} == {
        name: sorted(columns) for name, columns in there.items()
    }
    assert set(views.NAMES) <= set(listed)
    assert alerts.name in listed


def test_every_question_of_the_document_is_answered(ledger: Ledger, ledger_url: str) -> None:
    job = job_in(ledger, JobState.STORED)
    job_in(ledger, JobState.AMBIGUOUS, request_for("dog", "dog"))
    corrected(ledger, job.id, Money.usd("0.30"), "invoice")
    corrected(ledger, job.id, Money.usd("0.25"), "refund r-1", datetime(2020, 1, 1, tzinfo=UTC))
    answers: list[list[Any]] = []
    for question in blocks("sql"):
        question = question.replace("2026-12", f"{datetime.now(UTC):%Y-%m}")
        question = question.replace("60ac7c34-3224-4b14-8e7d-0aa0db708325", f"p-{job.id}")
        with asked(ledger_url, question) as answer:
            answers.append([tuple(row) for row in answer.rows])
    assert len(answers) == 7
    month, wasted, video_of, entries, refunds, over, unknown = answers
    assert month[0][2:4] == (300_000_000, 0)
    assert wasted == []
    assert video_of[0][:2] == ("cat", 1)
    assert [row[1] for row in entries] == ["hold", "charge", "release", "adjustment", "refund"]
    assert [(row[0], row[3]) for row in refunds] == [(job.id, -50_000_000)]
    assert [(row[0], row[3]) for row in over] == [(job.id, 50_000_000)]
    assert [tuple(map(str, row[:3])) for row in unknown] == [("wavespeed", "1", "200000000")]


def test_what_an_analyst_does_with_pandas_and_duckdb_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    amounts = ("0.1", "0.2", "0.000000001", *["999999.954740993"] * 9)
    with Ledger.open(f"sqlite:///{tmp_path}/.wan/ledger.sqlite") as ledger:
        for number, amount in enumerate(amounts):
            request = request_for(f"s{number}", f"s{number}", quoted_high=Money.usd(10**7))
            purchase = bought(ledger, request, now=BEFORE)
            job_id = purchase.job.id
            ledger.mark_accepted(job_id, purchase.attempt_id, f"p{number}", Money.usd(amount), now=BEFORE)
            ledger.mark_generated(job_id, "https://cdn.invalid/v.mp4", now=BEFORE)
            ledger.mark_stored(job_id, video(), now=BEFORE)
        bucket = open_bucket(str(tmp_path / ".wan/bucket"), None)
        make(ledger.engine, bucket, Period.day(BEFORE.date()), NO_LIMIT)
    exact = sum(map(Decimal, amounts), Decimal(0))
    assert sum(map(float, amounts)) != float(exact), "floats would do"
    names: dict[str, Any] = {}
    for program in blocks("python"):
        exec(program, names)
    assert names["billed_usd"].to_dict() == {("2026-03", "wavespeed"): exact}
    assert names["by_month"] == [("2026-03", exact)]
    assert names["by_model"] == [("wavespeed/wan-2.6-i2v-flash", exact, Decimal(0))]


@pytest.fixture
def analyst(postgres_ledger: str) -> Iterator[str]:
    """The URL of the BI tool's user, made as the document says."""
    engine = sa.create_engine(postgres_ledger, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in blocks("sql postgresql")[0].strip().split(";\n"):
            connection.exec_driver_sql(statement)
    try:
        yield sa.make_url(postgres_ledger).set(username="analyst").render_as_string(hide_password=False)
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP OWNED BY analyst")
            connection.exec_driver_sql("DROP ROLE analyst")


def test_the_bi_tools_user_reads_the_views_and_writes_nothing(analyst: str) -> None:
    with asked(analyst, "SELECT count(*) >= 0 FROM daily_costs") as answer:
        assert list(answer.rows) == [(True,)]
    engine = sa.create_engine(analyst, poolclass=sa.NullPool)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) >= 0 FROM charge_lines").scalar()
        connection.rollback()
        connection.exec_driver_sql("SET default_transaction_read_only = off")
        connection.commit()
        for statement in ("DELETE FROM alerts", "UPDATE jobs SET held_nanos = 0", "DROP VIEW daily_costs"):
            with pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
                connection.exec_driver_sql(statement)
            connection.rollback()
    with pytest.raises(AskingError, match="refused"):
        with asked(analyst, "SELECT pg_read_file('/etc/passwd')"):
            pass
