"""Each promise, broken on purpose, is noticed: the histories of test_lying_machine.py bite."""

from __future__ import annotations

import pytest

from wan_pipeline_tests.generation.lying_mutations import MUTATIONS
from wan_pipeline_tests.generation.lying_play import Lab, Violation, search
from wan_pipeline_tests.generation.test_lying_machine import SEED

_AT_MOST = 200  # histories


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_broken_promise_is_noticed(mutation: str) -> None:
    lab = Lab()
    try:
        with MUTATIONS[mutation](), pytest.raises(Violation) as noticed:
            search(lab, _AT_MOST, SEED)
        print(f"noticed in history {lab.figures.histories}: {str(noticed.value)[:500]}")
    finally:
        lab.close()
