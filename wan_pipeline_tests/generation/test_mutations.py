"""Each promise, broken on purpose, is noticed: the histories of test_lying_machine.py bite."""

from __future__ import annotations

import pytest
from hypothesis.strategies import SearchStrategy

from wan_pipeline_tests.generation.lying_history import (
    BREAKING,
    CORE_HISTORIES,
    DYING_BUYERS,
    LITTLE_MONEY,
    SAME_AGAIN,
    History,
)
from wan_pipeline_tests.generation.lying_mutations import MUTATIONS
from wan_pipeline_tests.generation.lying_play import Lab, Violation, search
from wan_pipeline_tests.generation.test_lying_machine import SEED

_AT_MOST = 150  # histories
_GROUNDS = {
    "a 5xx counts as a no": BREAKING,
    "the hold is ignored by the budget": LITTLE_MONEY,
    "a dead holder's job is sent again": DYING_BUYERS,
    "another job's id is taken": SAME_AGAIN,
}
_ALL_GROUNDS = {
    "core": CORE_HISTORIES,
    "money": LITTLE_MONEY,
    "again": SAME_AGAIN,
    "dying": DYING_BUYERS,
    "breaking": BREAKING,
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_broken_promise_is_noticed(mutation: str) -> None:
    lab = Lab()
    try:
        with MUTATIONS[mutation](), pytest.raises(Violation) as noticed:
            search(lab, _AT_MOST, SEED, histories=_GROUNDS.get(mutation, CORE_HISTORIES))
        print(f"noticed in history {lab.figures.histories}: {str(noticed.value)[:500]}")
    finally:
        lab.close()


@pytest.mark.parametrize("ground", _ALL_GROUNDS.values(), ids=_ALL_GROUNDS)
def test_on_the_same_grounds_nothing_is_noticed_where_nothing_is_broken(ground: SearchStrategy[History]) -> None:
    lab = Lab()
    try:
        search(lab, 25, SEED, histories=ground)
    finally:
        lab.close()
