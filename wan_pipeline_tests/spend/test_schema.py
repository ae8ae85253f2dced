"""Opening a ledger: new, old, newer than the program, unreachable; and that the migrations make what tables.py says."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from wan_pipeline.money import ZERO
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.spend import schema
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Budgets, SubmitLimits
from wan_pipeline.spend.tables import POSTGRES_SCHEMA, attempts, jobs, metadata, owners
from wan_pipeline_tests.spend.samples import NO_LIMIT, NOON, PRICE, bought, job_in, request_for


def test_the_migrations_make_what_the_tables_say(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "version_table": schema.VERSION_TABLE}
        )
        assert compare_metadata(context, metadata) == []


def test_the_migrations_make_what_create_all_makes_to_the_last_trigger(empty_url: str) -> None:
    """Checks, defaults and triggers too, which alembic does not compare."""
    with Ledger.open(empty_url) as ledger:
        migrated = _catalog(ledger.engine)
        with ledger.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("DROP FUNCTION money_entries_append_only() CASCADE"))
            metadata.drop_all(connection)
        metadata.create_all(ledger.engine)
        assert _catalog(ledger.engine) == migrated
        assert {"money_entries_no_delete", "money_entries_append_only"} & set(migrated)


def _catalog(engine: sa.Engine) -> dict[str, Any]:
    """Every table, view, index and trigger with its definition; in a table the order of the lines does not matter."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            rows = connection.execute(
                sa.text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'ledger_version'")
            )
            return {name: _parts(sql) for name, sql in rows}
        queries = (
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'wan_ledger'::regnamespace AND contype != 'n'",
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'wan_ledger'",
            "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
            "SELECT 'view ' || viewname, definition FROM pg_views WHERE schemaname = 'wan_ledger'",
            "SELECT table_name || '.' || column_name, data_type || is_nullable || coalesce(column_default, '')"
            " || coalesce(character_maximum_length, 0) FROM information_schema.columns WHERE table_schema = 'wan_ledger'",
        )
        found = {name: text for query in queries for name, text in connection.execute(sa.text(query))}
        return {name: text for name, text in found.items() if "ledger_version" not in name}


def _parts(sql: str) -> list[str]:
    """What stands between the outermost brackets, in any order: a column that was added later stands at the end."""
    head, bracket, rest = " ".join(sql.split()).partition("(")
    if not bracket or not head.startswith("CREATE TABLE"):
        return [" ".join(sql.split())]
    parts, depth = [""], 0
    for character in rest.rpartition(")")[0]:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [head, *sorted(part.strip() for part in parts)]


def test_the_versions_written_down_are_the_migrations_there_are() -> None:
    config = Config()
    config.set_main_option("script_location", "wan_pipeline.spend:migrations")
    found = [revision.revision for revision in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(found)) == schema.VERSIONS


def test_opening_twice_keeps_what_is_there(empty_url: str) -> None:
    with Ledger.open(empty_url) as ledger:
        job = bought(ledger).job
    with Ledger.open(empty_url) as ledger:
        ledger.check()
        assert ledger.job(job.id) == job


def test_threads_of_one_process_may_create_different_ledgers_at_once(tmp_path: Path) -> None:
    """alembic keeps what it is about in globals."""

    def create(number: int) -> None:
        with Ledger.open(f"sqlite:///{tmp_path / f'{number}.sqlite'}") as ledger:
            ledger.check()

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(create, range(6))) == [None] * 6


def test_an_upgrade_that_breaks_off_leaves_nothing_half_done(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("alembic.op.create_index", cut)
    with pytest.raises(KeyboardInterrupt):
        Ledger.open(empty_url)
    monkeypatch.undo()
    with Ledger.open(empty_url) as ledger:
        bought(ledger)


def test_a_ledger_newer_than_the_program_is_left_alone(empty_url: str) -> None:
    with Ledger.open(empty_url) as ledger, ledger.engine.begin() as connection:
        connection.execute(sa.text("UPDATE ledger_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="version 9999, which is newer than this program"):
        Ledger.open(empty_url)


def test_a_database_can_be_shared_with_dagster(postgres_url: str) -> None:
    """Dagster's storage has tables `jobs` and `alembic_version` of its own."""
    engine = sa.create_engine(postgres_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE jobs (id int)"))
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num text)"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('dagster')"))
    with Ledger.open(postgres_url) as ledger:
        bought(ledger)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM public.alembic_version")).scalar() == "dagster"
        assert connection.execute(sa.text("SELECT count(*) FROM public.jobs")).scalar() == 0
        assert connection.execute(sa.text(f"SELECT count(*) FROM {POSTGRES_SCHEMA}.jobs")).scalar() == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql+psycopg2://wan:s3cret@127.0.0.1:1/ledger", "Is the server up"),
        ("postgresql://wan:s3cret@127.0.0.1:1/ledger?password=s3cret", "Is the server up"),
        ("sqlite:////proc/nowhere/ledger.sqlite", "must name a file in a folder that can be written to"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("mysql://wan:s3cret@host/db", "not supported"),
        ("no url: s3cret", "not a database URL"),
        ("postgresql://wan:s3cret@host:port/db", "not a database URL"),
    ],
)
def test_a_ledger_that_cannot_be_used_is_told_with_the_remedy_and_without_the_password(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        Ledger.open(url)
    assert "WAN_LEDGER_URL" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in str(caught.value.__cause__)


def test_check_says_what_has_become_of_a_ledger(tmp_path: Path) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger.check()
    with ledger.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE ledger_version"))
    with pytest.raises(ConfigurationError, match="no ledger's tables"):
        ledger.check()
    ledger.close()


def test_opening_sets_up_no_logging(empty_url: str) -> None:
    before = (logging.getLogger().handlers[:], logging.getLogger().level, logging.getLogger("alembic").handlers[:])
    Ledger.open(empty_url).close()
    after = (logging.getLogger().handlers[:], logging.getLogger().level, logging.getLogger("alembic").handlers[:])
    assert after == before


def test_an_up_to_date_ledger_opens_without_alembic(sqlite_template: Path) -> None:
    script = (
        "import sys; from wan_pipeline.spend.ledger import Ledger;"
        f"Ledger.open('sqlite:///{sqlite_template}').close(); print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_commit_on_sqlite_is_on_the_disk_and_readers_do_not_wait(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger, ledger.engine.connect() as connection:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        values = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
    assert values == ["wal", 2, 1, 30_000]


def test_a_commit_on_postgres_is_on_the_disk_whatever_the_server_is_set_to(postgres_url: str) -> None:
    engine = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    name = sa.make_url(postgres_url).database
    for configured, used in (("off", "on"), ("remote_apply", "remote_apply")):
        with engine.connect() as connection:
            connection.execute(sa.text(f"ALTER DATABASE {name} SET synchronous_commit = '{configured}'"))
        with Ledger.open(postgres_url) as ledger, ledger.engine.connect() as connection:
            assert connection.execute(sa.text("SHOW synchronous_commit")).scalar() == used
            assert connection.execute(sa.text("SHOW transaction_isolation")).scalar() == "read committed"


def test_moments_come_back_as_they_went_in_and_compare_in_time(ledger: Ledger) -> None:
    moments = [
        datetime(999, 1, 2, 3, 4, 5, tzinfo=UTC),
        NOON,
        NOON + timedelta(microseconds=1),
        NOON.astimezone(timezone(timedelta(hours=-7))) + timedelta(seconds=1),
        datetime(2262, 4, 11, 23, 47, 16, 854_775, tzinfo=UTC),
    ]
    for number, moment in enumerate(moments):
        bought(ledger, request_for(str(number), str(number)), now=moment)
    newest_first = ledger.jobs()
    assert [job.claimed_at for job in newest_first] == list(reversed(moments))
    assert all(job.claimed_at.utcoffset() == timedelta(0) for job in newest_first)
    assert [job.shot for job in ledger.jobs(since=NOON, limit=2)] == ["4", "3"]
    if ledger.engine.dialect.name == "sqlite":
        with ledger.engine.connect() as connection:
            texts = connection.execute(sa.text("SELECT claimed_at, date(claimed_at) FROM jobs WHERE shot = '1'")).one()
        assert tuple(texts) == ("2026-12-05T12:00:00.000000Z", "2026-12-05")


def test_what_is_asked_often_is_answered_from_an_index(ledger: Ledger) -> None:
    """Of a million rows nobody may read all."""
    with ledger.engine.begin() as connection:
        _many_jobs(connection, 3000)
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("ANALYZE"))
    since, until = NOON, NOON + timedelta(minutes=1)
    newest = sa.select(jobs).order_by(jobs.c.claimed_at.desc()).limit(5)
    for query in (
        newest,
        newest.where(jobs.c.state == "submitted"),
        newest.where(jobs.c.shot == "shot-7"),
        sa.select(sa.func.sum(jobs.c.held_nanos)).where(jobs.c.claimed_at >= since, jobs.c.claimed_at < until),
        sa.select(jobs).where(jobs.c.submitted_at >= since, jobs.c.submitted_at < until),
        sa.select(jobs).where(jobs.c.request_hash == f"{7:064}").order_by(jobs.c.repeat.desc()).limit(1),
        sa.select(jobs).where(jobs.c.provider_job_id == "p-7"),
        *_asked_by(ledger),
    ):
        with ledger.engine.connect() as connection:
            explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
            if isinstance(query, tuple):
                text, parameters = query
            else:
                text = str(query.compile(connection, compile_kwargs={"literal_binds": True})).replace("%", "%%")
                parameters = ()
            plan = "\n".join(str(tuple(row)) for row in connection.exec_driver_sql(explain + text, parameters))
        assert not re.search(r"Seq Scan on (jobs|attempts)|SCAN (jobs|attempts)(?! USING)", plan), f"{text}\n{plan}"
        assert "INDEX" in plan.upper(), f"{text}\n{plan}"
    with ledger.engine.begin() as connection:
        _empty(connection)


def _empty(connection: sa.Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.execute(sa.text("DROP TRIGGER money_entries_no_delete"))
    else:
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
    for table in reversed(metadata.sorted_tables):
        connection.execute(sa.delete(table))


def _asked_by(ledger: Ledger) -> list[Any]:
    """The statements of one claim with every budget and limit, and of what recovery asks: all that reads jobs or attempts,
    but by their keys. As the database was given them, with their parameters."""
    asked: list[Any] = []

    def remember(connection: object, cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith("SELECT") and {"jobs", "attempts"} & set(statement.split()):
            asked.append((statement, parameters))

    everything = Budgets(PRICE, PRICE, PRICE, {"spring": PRICE}, {"wavespeed": PRICE})
    sa.event.listen(ledger.engine, "before_cursor_execute", remember)
    try:
        request = request_for("cat", "a cat", campaign="spring", quoted_high=ZERO)
        ledger.claim(request, everything, limits=SubmitLimits(10_000, 10_000), now=NOON)
        ledger.ambiguous(simulated=False, due=True)
        ledger.orphans(simulated=False)
        ledger.known_provider_jobs("wavespeed", ["p-7"])
        ledger.add_callback("a-7", ["p-7"])
        ledger.hints("a-7")
        ledger.looks("j7")
        ledger.sent_with("a-7")
    finally:
        sa.event.remove(ledger.engine, "before_cursor_execute", remember)
    assert len(asked) > 12
    return asked


def _many_jobs(connection: sa.Connection, count: int) -> None:
    connection.execute(
        owners.insert().values(
            id="o", host="h", host_id="h", pid=1, process_started="1", registered_at=NOON, heartbeat_at=NOON
        )
    )
    rows = [
        {
            "id": f"j{n}",
            "shot": f"shot-{n}",
            "take": 1,
            "provider": "wavespeed",
            "model": "p/m",
            "request_hash": f"{n:064}",
            "repeat": 1,
            "fingerprint": f"{n:064}",
            "own_digest": "o",
            "state": "submitted" if n % 100 == 0 else "stored",
            "arguments": {},
            "inputs": [],
            "duration_s": 5,
            "resolution": "720p",
            "quoted_low_nanos": 0,
            "quoted_high_nanos": 0,
            "held_nanos": 0,
            "provider_job_id": f"p-{n}",
            "attempt_id": f"a-{n}",
            "campaign": "spring" if n % 10 == 0 else None,
            "retryable": False,
            "simulated": False,
            "claimed_at": NOON + timedelta(days=n),
            "submitted_at": NOON + timedelta(days=n),
            "updated_at": NOON,
        }
        for n in range(count)
    ]
    connection.execute(jobs.insert(), rows)
    sent = [{"id": f"a-{n}", "job_id": f"j{n}", "n": 1, "owner": "o", "began_at": NOON} for n in range(count)]
    for row, job in zip(sent, rows, strict=True):
        row |= {"began_at": job["claimed_at"], "ended_at": job["claimed_at"], "outcome": "accepted"}
    connection.execute(attempts.insert(), sent)


def test_questions_give_what_they_are_asked_for(ledger: Ledger, other: Ledger) -> None:
    made = {state: job_in(ledger, state, request_for(state, state)) for state in schema_states()}
    assert {job.id for job in ledger.jobs()} == {job.id for job in made.values()}
    assert [job.id for job in ledger.jobs(made["stored"].state)] == [made["stored"].id]
    assert {job.shot for job in ledger.jobs({made["stored"].state, made["failed"].state})} == {"stored", "failed"}
    assert [job.shot for job in ledger.jobs(shot="lost")] == ["lost"]
    assert ledger.jobs(simulated=True) == []
    assert len(made) == len(ledger.jobs())
    assert {job.shot for job in other.open_jobs()} == {"reserved", "submitting", "submitted", "generated"}
    many = [f"shot-{n}" for n in range(2000)]
    assert [job.shot for job in other.open_jobs([*many, "submitted", "stored"])] == ["submitted"]
    assert other.open_jobs([]) == []
    assert other.claim(request_for("stored", "stored"), NO_LIMIT)


def schema_states() -> list[Any]:
    from wan_pipeline_tests.spend.test_states import REACHABLE

    return REACHABLE


def test_the_time_is_that_of_the_clock_it_was_opened_with(ledger_url: str) -> None:
    """Tests jump it; on PostgreSQL too, where it is the server's otherwise."""
    moments = [NOON]
    with Ledger.open(ledger_url, clock=lambda: moments[-1]) as ledger:
        assert ledger.now() == bought(ledger).job.claimed_at == NOON
        moments.append(NOON + timedelta(hours=5))
        assert ledger.now() == bought(ledger, request_for("dog", "a dog")).job.sent_at == moments[-1]
    with Ledger.open(ledger_url) as ledger:
        assert abs(ledger.now() - datetime.now(UTC)) < timedelta(minutes=1)
