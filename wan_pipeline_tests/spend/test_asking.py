"""A question in SQL reads, whatever stands in it; and it is told plainly what it may not."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from wan_pipeline.problems import ConfigurationError
from wan_pipeline.spend.asking import AskingError, asked
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import JobState
from wan_pipeline.spend.tables import metadata
from wan_pipeline_tests.spend.samples import NOON, bought, job_in, request_for

WRITES = (
    "INSERT INTO takes SELECT * FROM takes",
    "UPDATE jobs SET billed_nanos = 0",
    "DELETE FROM alerts",
    "DROP TABLE looks",
    "CREATE TABLE mine (n int)",
    "CREATE TEMP TABLE mine AS SELECT 1",
    "ALTER TABLE jobs ADD COLUMN mine int",
    "TRUNCATE jobs",
    "VACUUM",
    "BEGIN",
    "COMMIT",
    "PRAGMA query_only = OFF",
    "PRAGMA journal_mode = DELETE",
    "SELECT * FROM pragma_journal_mode('delete')",
    "SET TRANSACTION READ WRITE",
    "SET default_transaction_read_only = off",
    "WITH gone AS (DELETE FROM alerts RETURNING *) SELECT * FROM gone",
    "WITH one AS (SELECT 1) DELETE FROM alerts",
    "WITH one AS (SELECT 1) INSERT INTO callbacks SELECT 'a', 'b', 'c' FROM one",
    "EXPLAIN ANALYZE DELETE FROM alerts",
    "SELECT * INTO mine FROM jobs",
    "SELECT nextval('money_entries_id_seq')",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "SELECT 1; DELETE FROM alerts",
    "SELECT 1; COMMIT; DELETE FROM alerts",
    "SELECT 1 /* ; */; ROLLBACK; DELETE FROM alerts; --",
    "SELECT 'it''s' || E'\\'; DELETE FROM alerts; --'; DELETE FROM alerts",
    "SELECT $$ ; $$; DELETE FROM alerts",
    "REINDEX",
    "DO $$ BEGIN DELETE FROM alerts; END $$",
    "CALL something()",
    "LISTEN x",
    "LOCK TABLE jobs",
    "SELECT * FROM jobs FOR UPDATE",
    "GRANT ALL ON jobs TO public",
)
REACHES = (
    "ATTACH DATABASE '{path}' AS other",
    "VACUUM INTO '{path}'",
    "SELECT load_extension('{path}')",
    "SELECT * FROM pragma_database_list",
    "SELECT readfile('{path}')",
    "SELECT writefile('{path}', 'x')",
    "COPY jobs TO '{path}'",
    "COPY jobs TO PROGRAM 'cat > {path}'",
    "COPY (SELECT 1) TO PROGRAM 'cat > {path}'",
    "SELECT pg_read_file('{path}')",
    "SELECT PG_READ_BINARY_FILE('{path}')",
    "SELECT \"pg_read_file\"('{path}')",
    "SELECT pg_catalog.pg_read_file('{path}')",
    "SELECT U&\"\\0070g_read_file\"('{path}')",
    "SELECT u&\"pg!005fread_file\" UESCAPE '!' ('{path}')",
    "SELECT query_to_xml('select ' || 'p' || 'g_read_file(''{path}'')', true, true, '')",
    "SELECT * FROM ts_stat('select ' || 'p' || 'g_ls_dir(''/'')')",
    "SELECT pg_ls_dir('/')",
    "SELECT lo_import('{path}')",
    "SELECT * FROM dblink('host=127.0.0.1', 'select 1') AS t(n int)",
    "SELECT pg_terminate_backend(1)",
    "SELECT pg_advisory_lock(1)",
    "SELECT rolpassword FROM pg_authid",
    "EXPLAIN (ANALYZE) SELECT pg_sleep(1)",
)


def ask(url: str, sql: str, timeout_s: float = 10.0) -> list[Sequence[Any]]:
    with asked(url, sql, timeout_s) as answer:
        return list(answer.rows)


def everything(url: str) -> dict[str, list[Any]]:
    with Ledger.open(url) as ledger, ledger.engine.connect() as connection:
        return {table.name: sorted(map(repr, connection.execute(sa.select(table)))) for table in metadata.sorted_tables}


@pytest.fixture
def url(ledger_url: str) -> str:
    """A ledger in which there is something to spoil."""
    with Ledger.open(ledger_url) as ledger:
        job_in(ledger, JobState.STORED)
        ledger.alerts.raise_new([("waste", "2026-12", "much")], simulated=False, now=NOON)
    return ledger_url


def test_what_would_write_is_refused_and_nothing_has_changed(url: str) -> None:
    before = everything(url)
    for sql in WRITES:
        for text in (sql, f"-- a comment\n{sql};", f"/* one */ {sql}"):
            with pytest.raises(AskingError) as refused:
                ask(url, text)
            assert str(refused.value)
    assert everything(url) == before
    with Ledger.open(url) as ledger:
        ledger.check()
        assert bought(ledger, request_for("next", "next")), "and nobody holds a lock"


@pytest.fixture
def writer(postgres_ledger: str) -> Iterator[str]:
    """The URL of a user who may write to everything, and is no superuser."""
    engine = sa.create_engine(postgres_ledger, poolclass=sa.NullPool)
    statements = (
        "CREATE ROLE writer LOGIN",
        "GRANT ALL ON SCHEMA wan_ledger TO writer",
        "GRANT ALL ON ALL TABLES IN SCHEMA wan_ledger TO writer",
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA wan_ledger TO writer",
    )
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    try:
        yield sa.make_url(postgres_ledger).set(username="writer").render_as_string(hide_password=False)
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP OWNED BY writer")
            connection.exec_driver_sql("DROP ROLE writer")


def test_who_may_write_to_everything_cannot_by_a_question(writer: str) -> None:
    before = everything(writer)
    for sql in (*WRITES, "WITH new AS (INSERT INTO callbacks VALUES ('a', 'p', now()) RETURNING *) SELECT * FROM new"):
        with pytest.raises(AskingError):
            ask(writer, sql)
    assert everything(writer) == before


def test_what_reaches_beyond_the_tables_is_refused(url: str, tmp_path: Path) -> None:
    secret, written = tmp_path / "secret.txt", tmp_path / "written"
    secret.write_text("s3cret")
    for sql in REACHES:
        with pytest.raises(AskingError) as refused:
            ask(url, sql.format(path=written if " TO " in sql or "write" in sql or "INTO" in sql else secret))
        assert "s3cret" not in str(refused.value)
    assert not written.exists()


def test_where_the_ledgers_user_is_a_superuser_a_question_is_asked_by_another(postgres_ledger: str) -> None:
    assert ask(postgres_ledger, "SELECT current_user, session_user <> current_user") == [("pg_read_all_data", True)]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DELETE FROM jobs", "DELETE is refused. A question reads: one SELECT"),
        ("SELECT 1; SELECT 2", "one statement at a time: leave out what follows the first ;"),
        ("", "there is no SQL in it"),
        ("-- nothing but a comment", "there is no SQL in it"),
        ("SELECT nonesuch FROM jobs", "nonesuch.*docs/ledger.md has every table, view and column"),
        ("SELECT * FROM nowhere", "nowhere.*docs/ledger.md has every table, view and column"),
        ("SELECT \udcff", "no UTF-8"),
        ("SELECT 'a\x00b'", "NUL"),
    ],
)
def test_a_question_that_cannot_be_answered_is_told_why(url: str, sql: str, said: str) -> None:
    with pytest.raises(AskingError, match=said):
        ask(url, sql)


def test_reading_is_answered_with_names_and_values(url: str) -> None:
    with asked(url, "\n SELECT shot, take, 'a%b;' AS text, NULL AS empty FROM charge_lines ; \n") as answer:
        assert answer.columns == ("shot", "take", "text", "empty")
        assert [tuple(row) for row in answer.rows] == [("cat", 1, "a%b;", None)]
    assert ask(url, "VALUES (1, 2)") == [(1, 2)]
    assert ask(
        url, "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5000) SELECT n FROM r"
    ) == [(n,) for n in range(1, 5001)]
    assert ask(url, "SELECT 1 WHERE 1 = 0") == []


def test_a_question_without_end_is_ended(url: str) -> None:
    endless = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r"
    with pytest.raises(AskingError, match=r"no answer within 0.3 s"):
        ask(url, endless, 0.3)


def test_while_an_answer_is_read_jobs_are_bought_and_do_not_show_in_it(url: str) -> None:
    """A report that takes its time keeps nobody from buying, and is of one moment."""
    many = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5000) SELECT shot FROM jobs, r"
    with asked(url, many) as answer:
        first = next(answer.rows)
        done = threading.Thread(target=_buy, args=(url,), daemon=True)
        done.start()
        done.join(10)
        assert not done.is_alive(), "the purchase waits for the reader"
        assert {row[0] for row in [first, *answer.rows]} == {"cat"}
    assert len(ask(url, "SELECT 1 FROM jobs")) == 2


def _buy(url: str) -> None:
    with Ledger.open(url) as ledger:
        bought(ledger, request_for("dog", "a dog"), now=NOON + timedelta(hours=1))


def test_a_ledger_out_of_reach_is_told_without_its_password() -> None:
    with pytest.raises(ConfigurationError, match="Is the server up") as caught:
        ask("postgresql+psycopg2://wan:s3cret@127.0.0.1:1/ledger", "SELECT 1")
    assert "s3cret" not in str(caught.value)


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(AskingError, match="cannot be read"):
        ask(f"sqlite:///{tmp_path / 'none.sqlite'}", "SELECT 1")
    assert list(tmp_path.iterdir()) == []
