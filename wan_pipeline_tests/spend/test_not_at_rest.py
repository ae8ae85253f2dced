"""What is to be done yet is found from an index, however many shots there are with which nothing is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.shot_index import SeenShot
from wan_pipeline_tests.spend.samples import NOON

SHOTS = [f"shot{number:04d}" for number in range(2_000)]
LATER = NOON + timedelta(days=1)


@pytest.fixture
def at_rest(ledger: Ledger) -> Ledger:
    ledger.index.save([SeenShot(key, "v1", True, not_before=LATER) for key in SHOTS], NOON)
    versions = ["v1"] * len(SHOTS)
    ledger.index.mark_taken_up(SHOTS, versions, NOON)
    ledger.index.mark_finished(SHOTS, versions, NOON)
    if ledger.engine.dialect.name == "postgresql":  # where autovacuum does it; nothing does for SQLite
        with ledger.engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE")
    return ledger


def test_a_few_among_many_are_found_by_the_index(at_rest: Ledger) -> None:
    index, asked = at_rest.index, list[tuple[str, Any]]()
    index.save([SeenShot(key, "v2", True, not_before=LATER) for key in ("shot0001", "shot0002", "new")], NOON)
    index.mark_taken_up(["shot0001"], ["v2"], NOON)
    index.mark_gone(["shot0003"], NOON)

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(at_rest.engine, "before_cursor_execute", note)
    assert set(index.unfinished()) == {"shot0001"}
    assert set(index.waiting_for_their_time()) == {"shot0002", "new"}
    assert len(index.waiting()) == 2
    event.remove(at_rest.engine, "before_cursor_execute", note)

    selects = [each for each in asked if "FROM" in each[0]]
    assert len(selects) == 3
    explain = "EXPLAIN QUERY PLAN " if at_rest.engine.dialect.name == "sqlite" else "EXPLAIN "
    with at_rest.engine.connect() as connection:
        for statement, parameters in selects:
            rows = connection.exec_driver_sql(explain + statement, parameters)
            assert "ix_shot_index_not_at_rest" in "\n".join(str(tuple(row)) for row in rows), statement
