"""Lines of the providers' books are kept as read, each change of one beside the last, and none is ever changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from wan_pipeline.money import Money
from wan_pipeline.spend.audit_records import Explanation, LineKind, StatementLine
from wan_pipeline.spend.audit_tables import statement_lines
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline_tests.spend.samples import NOON

LINE = StatementLine(
    "wavespeed", False, "billings", "line-1", LineKind.CHARGE, "pred-1", Money.usd("0.05"), NOON, "flash", ""
)
EXPLAINED = Explanation("f" * 64, "wavespeed", False, date(2026, 12, 5), "it differs", "rounding", "Ada", NOON)


def numbered(count: int) -> list[StatementLine]:
    return [
        replace(LINE, line_id=f"line-{number}", reference=f"pred-{number}", at=NOON + timedelta(seconds=number))
        for number in range(count)
    ]


def test_lines_read_again_are_kept_once(ledger: Ledger) -> None:
    lines = numbered(1100)
    assert ledger.statements.add(lines) == 1100
    assert ledger.statements.add(lines) == 0
    assert ledger.statements.lines("wavespeed", simulated=False) == lines


def test_of_a_line_that_changes_back_and_forth_the_last_reading_stands_and_all_are_kept(ledger: Ledger) -> None:
    other = replace(LINE, amount=Money(LINE.amount.nanos + 1))
    for line in (LINE, other, LINE, LINE, other):
        ledger.statements.add([line])
        assert ledger.statements.lines("wavespeed", simulated=False) == [line]
        assert ledger.statements.of_jobs("wavespeed", ["pred-1"], simulated=False) == [line]
    with ledger.engine.connect() as connection:
        kept = connection.execute(sa.select(statement_lines.c.amount_nanos).order_by(statement_lines.c.id)).scalars()
        assert [Money(amount) for amount in kept] == [LINE.amount, other.amount, LINE.amount, other.amount]


def test_the_same_line_id_at_another_provider_or_of_simulated_money_is_another_line(ledger: Ledger) -> None:
    others = [replace(LINE, provider="aimlapi"), replace(LINE, simulated=True)]
    assert ledger.statements.add([LINE, *others]) == 3
    assert ledger.statements.lines("wavespeed", simulated=False) == [LINE]
    assert ledger.statements.lines(None, simulated=False) == [LINE, others[0]]
    assert ledger.statements.lines("wavespeed", simulated=True) == [others[1]]


def test_lines_are_found_by_their_moment_from_the_first_to_before_the_last(ledger: Ledger) -> None:
    lines = numbered(5)
    ledger.statements.add(lines)
    found = ledger.statements.lines("wavespeed", lines[1].at, lines[3].at, simulated=False)
    assert found == lines[1:3]


@pytest.mark.parametrize("verb", ["UPDATE statement_lines SET amount_nanos = 0", "DELETE FROM statement_lines"])
def test_no_line_is_ever_changed(ledger: Ledger, verb: str) -> None:
    ledger.statements.add([LINE])
    with pytest.raises(DatabaseError, match="appended, never changed"), ledger.engine.begin() as connection:
        connection.execute(sa.text(verb))
    assert ledger.statements.lines("wavespeed", simulated=False) == [LINE]


def test_what_was_said_last_of_a_finding_counts_and_all_of_it_is_kept(ledger: Ledger) -> None:
    later = replace(EXPLAINED, reason="support agreed", who="Grace", at=NOON + timedelta(days=1))
    ledger.statements.explain([EXPLAINED])
    ledger.statements.explain([later])
    assert ledger.statements.explanations(["f" * 64, "e" * 64]) == {"f" * 64: later}
    day = EXPLAINED.day
    assert ledger.statements.explained("wavespeed", day, day, simulated=False) == [EXPLAINED, later]
    assert ledger.statements.explained("wavespeed", day, day, simulated=True) == []
    assert ledger.statements.explained("aimlapi", day, day, simulated=False) == []
    assert ledger.statements.explained("wavespeed", day + timedelta(days=1), date.max, simulated=False) == []
